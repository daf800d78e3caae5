"""The manifest of a model pack: what is in the folder, how it is stored, and which model it is.

In: the bytes of `manifest.json`. Out: a `Manifest`, or one `PackError` that says what is wrong. Strict:
unknown and missing keys, values of the wrong type and impossible sizes are all listed at once. Nothing
here opens a tensor file or knows a network; importing it imports no torch.

Format, one JSON table:
  format, format_version   what this is: "edgetts-pack", 3
  family                   the model family; stage order and networks follow from it
  name, description, created_by, recipe, license   for people
  encoder_id               which encoders made a voice that fits this pack
  model                    all dimensions (`edgetts.pack.config.ModelConfig`)
  text                     options of the text front end, a flat table
  defaults                 synthesis options that suit this model better than upstream's, a flat table
  components               per component: file, dtype, and its quantized tensors, by scheme
  files                    per file: bytes and sha256
  quality                  figures measured when the pack was made, or null
  without                  features that this model lacks (of FEATURES); optional
  checksum                 sha256 of all of the above (`edgetts.pack.seal`); version 1 has none
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from edgetts.errors import PackError
from edgetts.pack.config import ModelConfig, printable, to_dict
from edgetts.pack.plain_json import UnsoundJSON, listed, read_json
from edgetts.pack.plain_json import shown as _shown
from edgetts.pack.relations import read_model
from edgetts.pack.seal import CHECKSUM, checksum, sealed, with_new_keys

FORMAT = "edgetts-pack"
FORMAT_VERSION = 3
_RENAMED_KEYS_UNTIL = 2  # the last format with the old spelling of some keys
UNSEALED_VERSION = 1  # without a checksum of the manifest itself
FAMILY = "indextts-2"
OTHER_FAMILIES = {"indextts-2.5": "IndexTTS-2.5", "indextts-1.5": "IndexTTS-1.5", "indextts-1": "IndexTTS 1"}

MANIFEST_FILE = "manifest.json"
TOKENIZER_FILE = "tokenizer.json"
GLOSSARY_FILE = "glossary.yaml"
LEXICON_FILE = "lexicon.txt"
READY_VOICES = "voices/"  # prefix of the voice files that come with the pack
TENSORS_SUFFIX = VOICE_SUFFIX = ".safetensors"

ENROLL_COMPONENTS = (
    "semantic_encoder",
    "semantic_statistics",
    "codec_encoder",
    "quantizer",
    "speaker_encoder",
    "conditioning",
)
RUN_COMPONENTS = ("quantizer", "emotion", "gpt", "s2mel", "vocoder")
COMPONENTS = tuple(dict.fromkeys(ENROLL_COMPONENTS + RUN_COMPONENTS))

EMOTION = "emotion"
FEATURES = (EMOTION,)  # that a model may lack: callers may ask for them, but its speech does not change
DTYPES = ("float32", "float16", "bfloat16")
SCHEMES = ("int8_channel", "int4_group", "nf4_group")  # besides unquantized storage; see `edgetts.pack.schemes`

# Bounds far above any real pack, so that a hostile or damaged manifest cannot make the reader hang.
MAX_MANIFEST_BYTES = 4 << 20
MAX_TEXT = 20_000  # characters of a description or license
MAX_FILES = 1_000
MAX_FILE_BYTES = 1 << 40
MAX_GROUP_SIZE = 1 << 16
# Size limit of files that are read into memory as a whole, such as tokenizer, glossary and voices.
MAX_SMALL_FILE_BYTES = 64 << 20

_FILE_NAME = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._-]{0,99}/)?[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAKE_AGAIN = "make the pack again with `edgetts convert CHECKPOINT PACK`"


@dataclass(frozen=True)
class FileEntry:
    bytes: int
    sha256: str


@dataclass(frozen=True)
class SchemeGroup:
    """Tensors of one component that are stored with one scheme."""

    scheme: str  # one of SCHEMES
    group_size: int | None  # values that share a scale along the input; None: the whole row
    tensors: tuple[str, ...]


@dataclass(frozen=True)
class ComponentEntry:
    file: str
    dtype: str  # of the large unquantized tensors; small ones may be wider
    schemes: tuple[SchemeGroup, ...]

    def scheme_of(self) -> dict[str, SchemeGroup]:
        """Scheme by name, for quantized tensors."""
        return {name: group for group in self.schemes for name in group.tensors}


@dataclass(frozen=True)
class Manifest:
    """A valid manifest. The module docstring describes the fields."""

    family: str
    name: str
    description: str
    created_by: str
    recipe: str
    license: str
    encoder_id: str
    model: ModelConfig
    text: Mapping[str, Any]
    defaults: Mapping[str, Any]
    components: Mapping[str, ComponentEntry]
    files: Mapping[str, FileEntry]
    quality: Mapping[str, Any] | None = field(default=None)
    without: tuple[str, ...] = ()

    @property
    def total_bytes(self) -> int:
        return sum(entry.bytes for entry in self.files.values())

    @property
    def s2mel_id(self) -> str:
        """Identifies the S2Mel that an adapted voice belongs to: the sha256 of its file."""
        return self.files[self.components["s2mel"].file].sha256

    def ready_voices(self) -> dict[str, str]:
        """Voices that came with the pack: name to file, in order."""
        files = sorted(f for f in self.files if f.startswith(READY_VOICES) and f.endswith(VOICE_SUFFIX))
        return {f[len(READY_VOICES) : -len(VOICE_SUFFIX)]: f for f in files}


def read_manifest(folder: Path) -> Manifest:
    """Read `folder/manifest.json`. Raises PackError with a different message for each kind of fault."""
    if not folder.exists():
        raise PackError(
            f"There is no model pack at {folder}: check the path, or make a pack with "
            "`edgetts convert CHECKPOINT PACK`."
        )
    if not folder.is_dir():
        raise PackError(f"{folder} is a file; a model pack is a folder with a {MANIFEST_FILE}: give that folder.")
    path = folder / MANIFEST_FILE
    if not path.is_file():
        if (folder / "config.yaml").is_file():
            raise PackError(
                f"{folder} is a published checkpoint, not a model pack: convert it with "
                f"`edgetts convert {folder} PACK`."
            )
        raise PackError(f"{folder} is not a model pack: it has no {MANIFEST_FILE}; {_MAKE_AGAIN}.")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise PackError(f"{path} cannot be read ({error.strerror or error}); check who may read it.") from error
    return parse_manifest(data, str(path))


def parse_manifest(data: bytes, where: str) -> Manifest:
    """Parse and check a manifest; `where` names it in errors. Raises PackError and nothing else."""
    table = manifest_table(data, where)
    if table.get("format") != FORMAT:
        raise PackError(
            f"{where} is not a manifest of a model pack: its format is "
            f"{_shown(table.get('format'))}, not {FORMAT!r}; {_MAKE_AGAIN}."
        )
    version = table.get("format_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise PackError(f"{where} has format_version {_shown(version)}, which is not a version number; {_MAKE_AGAIN}.")
    if version > FORMAT_VERSION:
        raise PackError(
            f"{where} was written by a newer edgetts: its format is {_shown(version)} and this program reads "
            f"up to {FORMAT_VERSION}; upgrade edgetts with `pip install --upgrade edgetts`."
        )
    if version > UNSEALED_VERSION and table.get(CHECKSUM) != checksum(table):
        raise PackError(
            f"{where} was altered after the pack was made: its content does not match its checksum; "
            "copy or convert the pack again."
        )
    if version <= _RENAMED_KEYS_UNTIL:
        table = with_new_keys(table)
    family = table.get("family")
    if family != FAMILY:
        known = OTHER_FAMILIES.get(family) if isinstance(family, str) else None
        if known:
            raise PackError(f"{where} describes {known}, which this version cannot run; it runs {FAMILY}.")
        raise PackError(f"{where} describes a model of unknown family {_shown(family)}; it must be {FAMILY}.")
    return _Reader(where).manifest(table, is_sealed=version > UNSEALED_VERSION)


def manifest_json(manifest: Manifest) -> str:
    """The text of `manifest.json`; `parse_manifest` reads it back to an equal manifest."""
    table = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "family": manifest.family,
        "name": manifest.name,
        "description": manifest.description,
        "created_by": manifest.created_by,
        "recipe": manifest.recipe,
        "license": manifest.license,
        "encoder_id": manifest.encoder_id,
        "model": to_dict(manifest.model),
        "text": dict(manifest.text),
        "defaults": dict(manifest.defaults),
        "components": {name: to_dict(entry) for name, entry in manifest.components.items()},
        "files": {name: to_dict(entry) for name, entry in manifest.files.items()},
        "quality": None if manifest.quality is None else dict(manifest.quality),
    }
    if manifest.without:
        table["without"] = list(manifest.without)
    return table_text(sealed(table))


def table_text(table: Mapping[str, Any]) -> str:
    """A manifest's table as the text of the file."""
    return json.dumps(table, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


class _Reader:
    """Collects all problems of one manifest before raising."""

    _TEXTS = ("name", "description", "created_by", "recipe", "license")
    _TABLES = ("model", "text", "defaults", "components", "files")
    _KEYS = ("format", "format_version", "family", *_TEXTS, "encoder_id", *_TABLES, "quality")
    _OPTIONAL = ("without",)

    def __init__(self, where: str) -> None:
        self.where = where
        self.problems: list[str] = []

    def manifest(self, table: dict[str, Any], *, is_sealed: bool) -> Manifest:
        required = {key: value for key, value in table.items() if key not in self._OPTIONAL}
        self._keys(required, (*self._KEYS, CHECKSUM) if is_sealed else self._KEYS, "")
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
        files = {
            self._file_name(name, "files"): self._file(entry, _inside("files", name))
            for name, entry in self._table(table.get("files"), "files").items()
        }
        components = {
            name: self._component(entry, _inside("components", name))
            for name, entry in self._table(table.get("components"), "components").items()
        }
        self._keys(components, COMPONENTS, "components.")
        if len(files) > MAX_FILES:
            self.problems.append(f"files has {len(files)} entries, more than {MAX_FILES}")
        for name in (*(c.file for c in components.values()), TOKENIZER_FILE):
            if name not in files:
                self.problems.append(f"file {_shown(name)} is used but not listed in files")
        model_table = self._table(table.get("model"), "model")
        if self.problems:
            raise PackError(f"{self.where} is not usable: " + listed(self.problems) + f"; {_MAKE_AGAIN}.")
        model = read_model(model_table, what=f"The model table of {self.where}")
        return Manifest(
            family=FAMILY,
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

    def _component(self, value: Any, path: str) -> ComponentEntry:
        table = self._table(value, path)
        self._keys(table, ("file", "dtype", "schemes"), f"{path}.")
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
        table = self._table(value, path)
        self._keys(table, ("scheme", "group_size", "tensors"), f"{path}.")
        scheme, group_size, tensors = (table.get(k) for k in ("scheme", "group_size", "tensors"))
        if scheme not in SCHEMES:
            self.problems.append(f"{path}.scheme {_shown(scheme)} is unknown; known are {', '.join(SCHEMES)}")
        if group_size is not None and not (_is_int(group_size) and 0 < group_size <= MAX_GROUP_SIZE):
            self.problems.append(f"{path}.group_size must be null or positive, not {_shown(group_size)}")
        if not isinstance(tensors, list) or not all(isinstance(name, str) for name in tensors):
            self.problems.append(f"{path}.tensors must be a list of tensor names, not {_shown(tensors)}")
            tensors = []
        return SchemeGroup(str(scheme), group_size, tuple(tensors))

    def _file(self, value: Any, path: str) -> FileEntry:
        table = self._table(value, path)
        self._keys(table, ("bytes", "sha256"), f"{path}.")
        size, digest = table.get("bytes"), table.get("sha256")
        most = MAX_FILE_BYTES if path.endswith(TENSORS_SUFFIX) and READY_VOICES not in path else MAX_SMALL_FILE_BYTES
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

    def _table(self, value: Any, path: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            self.problems.append(f"{path} must be a table, not {_shown(value)}")
            return {}
        return value

    def _keys(self, table: Mapping[str, Any], allowed: tuple[str, ...], prefix: str) -> None:
        self.problems += [f"unknown key {_shown(prefix + key)}" for key in table if key not in allowed]
        self.problems += [f"missing key {prefix}{key}" for key in allowed if key not in table]


def _inside(path: str, key: str) -> str:
    """The path of a value in the table, safe for a one-line message."""
    return f"{path}.{printable(key)}"


def manifest_table(data: bytes, where: str) -> dict[str, Any]:
    """The JSON table of a manifest, its content not checked yet. Raises PackError."""
    try:
        table = read_json(data, max_bytes=MAX_MANIFEST_BYTES)
    except UnsoundJSON as error:
        raise PackError(f"{where} is damaged: {error}; {_MAKE_AGAIN}.") from error
    if not isinstance(table, dict):
        raise PackError(f"{where} is damaged: it holds {_shown(table)}, not a JSON table; {_MAKE_AGAIN}.")
    return table


def _is_int(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
