"""Reads the entries of a manifest's table.

In: the plain JSON table of a manifest and the family it names. Out: a `Manifest`, or one `PackError` that lists every
unknown and missing key, value of the wrong type and impossible size. `edgetts.pack.manifest` says what the keys mean.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeGuard

from edgetts.errors import PackError
from edgetts.families import FAMILIES, Family
from edgetts.files import TENSORS_SUFFIX
from edgetts.pack.checksum import CHECKSUM
from edgetts.pack.entries import (
    DTYPES,
    FEATURES,
    MAKE_AGAIN,
    READY_VOICES,
    SCHEMES,
    TOKENIZER_FILE,
    ComponentEntry,
    FileEntry,
    Manifest,
    SchemeGroup,
)
from edgetts.pack.plain_json import listed
from edgetts.pack.plain_json import shown as _shown
from edgetts.pack.relations import read_model
from edgetts.pack.strict import printable

# Bounds far above any real pack, so that a hostile or damaged manifest cannot make the reader hang.
MAX_TEXT = 20_000  # characters of a description or license
MAX_FILES = 1_000
MAX_FILE_BYTES = 1 << 40
MAX_GROUP_SIZE = 1 << 16
# Size limit of files that are read into memory as a whole, such as tokenizer, glossary and voices.
MAX_SMALL_FILE_BYTES = 64 << 20

_FILE_NAME = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._-]{0,99}/)?[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class ManifestReader:
    """Collects all problems of one manifest before raising."""

    _TEXTS = ("name", "description", "created_by", "recipe", "license")
    _TABLES = ("model", "text", "defaults", "components", "files")
    _KEYS = ("format", "format_version", "family", *_TEXTS, "encoder_id", *_TABLES, "quality")
    _OPTIONAL = ("without",)

    def __init__(self, where: str, family: Family) -> None:
        self.where = where
        self.family = family
        self.problems: list[str] = []

    def manifest(self, table: dict[str, Any], *, is_sealed: bool) -> Manifest:
        required = {key: value for key, value in table.items() if key not in self._OPTIONAL}
        self._table(required, "", (*self._KEYS, CHECKSUM) if is_sealed else self._KEYS)
        without = table.get("without", [])
        if not isinstance(without, list) or not all(feature in FEATURES for feature in without):
            self.problems.append(f"without must be a list of {', '.join(FEATURES)}, not {_shown(without)}")
            without = []
        texts = {key: self._text(table.get(key, ""), key) for key in self._TEXTS}
        encoder_id = self._text(table.get("encoder_id", ""), "encoder_id")
        if not _SHA256.fullmatch(encoder_id):
            self.problems.append(f"encoder_id must be 64 hexadecimal digits, not {_shown(encoder_id)}")
        text = self._table(table.get("text"), "text")
        defaults = self._table(table.get("defaults"), "defaults")
        quality = None if table.get("quality") is None else self._table(table["quality"], "quality")
        files = {name: self._file(name, entry) for name, entry in self._table(table.get("files"), "files").items()}
        components = {
            name: self._component(name, entry)
            for name, entry in self._table(table.get("components"), "components", self.family.components).items()
        }
        self._refuse_other_families(components)
        if len(files) > MAX_FILES:
            self.problems.append(f"files has {len(files)} entries, more than {MAX_FILES}")
        for name in (*(c.file for c in components.values()), TOKENIZER_FILE):
            if name not in files:
                self.problems.append(f"file {_shown(name)} is used but not listed in files")
        model_table = self._table(table.get("model"), "model")
        if self.problems:
            raise PackError(f"{self.where} is not usable: " + listed(self.problems) + f"; {MAKE_AGAIN}.")
        model = read_model(self.family.model, model_table, what=f"The model table of {self.where}")
        return Manifest(
            family=self.family.name,
            **texts,
            encoder_id=encoder_id,
            model=model,
            text=text,
            defaults=defaults,
            components=components,
            files=files,
            quality=quality,
            without=tuple(without),
        )

    def _refuse_other_families(self, components: Mapping[str, Any]) -> None:
        """Raise PackError where the components are exactly those of another family."""
        other = next((f for f in FAMILIES.values() if set(f.components) == set(components)), self.family)
        if other is not self.family:
            raise PackError(
                f"{self.where} says that it describes {self.family.title}, but its components are those of "
                f"{other.title}; {MAKE_AGAIN}."
            )

    def _component(self, name: str, value: Any) -> ComponentEntry:
        path = f"components.{printable(name)}"
        table = self._table(value, path, ("file", "dtype", "schemes"))
        file = self._file_name(table.get("file"), f"{path}.file")
        dtype = table.get("dtype")
        if dtype not in DTYPES:
            self.problems.append(f"{path}.dtype must be one of {', '.join(DTYPES)}, not {_shown(dtype)}")
        groups = table.get("schemes")
        if not isinstance(groups, list):
            self.problems.append(f"{path}.schemes must be a list, not {_shown(groups)}")
            groups = []
        schemes = tuple(self._scheme(group, f"{path}.schemes[{i}]") for i, group in enumerate(groups))
        names = [name for group in schemes for name in group.tensors]
        if len(set(names)) != len(names):
            self.problems.append(f"{path}.schemes lists a tensor twice")
        return ComponentEntry(file, str(dtype), schemes)

    def _scheme(self, value: Any, path: str) -> SchemeGroup:
        table = self._table(value, path, ("scheme", "group_size", "tensors"))
        scheme, group_size, tensors = (table.get(k) for k in ("scheme", "group_size", "tensors"))
        if scheme not in SCHEMES:
            self.problems.append(f"{path}.scheme {_shown(scheme)} is unknown; known are {', '.join(SCHEMES)}")
        if group_size is not None and not (_is_int(group_size) and 0 < group_size <= MAX_GROUP_SIZE):
            self.problems.append(f"{path}.group_size must be null or positive, not {_shown(group_size)}")
        if not isinstance(tensors, list) or not all(isinstance(name, str) for name in tensors):
            self.problems.append(f"{path}.tensors must be a list of tensor names, not {_shown(tensors)}")
            tensors = []
        return SchemeGroup(str(scheme), group_size, tuple(tensors))

    def _file(self, name: str, value: Any) -> FileEntry:
        self._file_name(name, "files")
        path = f"files.{printable(name)}"
        table = self._table(value, path, ("bytes", "sha256"))
        size, digest = table.get("bytes"), table.get("sha256")
        is_large = name.endswith(TENSORS_SUFFIX) and not name.startswith(READY_VOICES)
        most = MAX_FILE_BYTES if is_large else MAX_SMALL_FILE_BYTES
        if not _is_int(size) or not 0 <= size <= most:
            self.problems.append(f"{path}.bytes must be a size up to {most}, not {_shown(size)}")
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            self.problems.append(f"{path}.sha256 must be 64 hexadecimal digits, not {_shown(digest)}")
        return FileEntry(size if _is_int(size) else 0, str(digest))

    def _file_name(self, value: Any, path: str) -> str:
        if not isinstance(value, str) or not _FILE_NAME.fullmatch(value):
            self.problems.append(f"{path} names {_shown(value)}, not a plain file name inside the pack")
        return str(value)

    def _text(self, value: Any, path: str) -> str:
        if not isinstance(value, str):
            self.problems.append(f"{path} must be text, not {_shown(value)}")
        elif len(value) > MAX_TEXT:
            self.problems.append(f"{path} has {len(value)} characters, more than {MAX_TEXT}")
        return str(value)

    def _table(self, value: Any, path: str, keys: tuple[str, ...] | None = None) -> dict[str, Any]:
        """The table at a path, "" for the manifest itself. keys: all that it must have; None: any."""
        table = value if isinstance(value, dict) else {}
        if table is not value:
            self.problems.append(f"{path} must be a table, not {_shown(value)}")
        if keys is not None:
            prefix = f"{path}." if path else ""
            self.problems += [f"unknown key {_shown(prefix + key)}" for key in table if key not in keys]
            self.problems += [f"missing key {prefix}{key}" for key in keys if key not in table]
        return table


def _is_int(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
