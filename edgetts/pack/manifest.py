"""The manifest of a model pack: what is in the folder, how it is stored, and which model it is.

In: the bytes of `manifest.json`. Out: a `Manifest`, or one `PackError` that says what is wrong. Strict:
unknown and missing keys, values of the wrong type and impossible sizes are all listed at once. Nothing
here opens a tensor file or knows a network; importing it imports no torch.

Format, one JSON table:
  format, format_version   what this is: "edgetts-pack", 3
  family                   the model family, one of `edgetts.families`; absent: IndexTTS-2
  name, description, created_by, recipe, license   for people
  encoder_id               which encoders made a voice that fits this pack
  model                    all dimensions (`edgetts.pack.config.ModelConfig`)
  text                     options of the text front end, a flat table
  defaults                 synthesis options of this model where they differ from upstream's, a flat table
  components               per component: file, dtype, and its quantized tensors, by scheme
  files                    per file: bytes and sha256
  quality                  figures measured when the pack was made, or null
  without                  features that this model lacks (of FEATURES); optional
  checksum                 sha256 of all of the above (`edgetts.pack.checksum`); version 1 has none
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgetts.distribution import UPGRADE
from edgetts.errors import PackError
from edgetts.families import FAMILIES, UNKNOWN_FAMILIES, UNNAMED_FAMILY
from edgetts.pack.checksum import CHECKSUM, checksum, sealed
from edgetts.pack.entries import MAKE_AGAIN, MANIFEST_FILE, Manifest
from edgetts.pack.manifest_reader import ManifestReader
from edgetts.pack.plain_json import InvalidJSON, read_json
from edgetts.pack.plain_json import shown as _shown
from edgetts.pack.strict import to_dict

FORMAT = "edgetts-pack"
FORMAT_VERSION = 3
_RENAMED_KEYS_UNTIL = 2  # the last format with the old spelling of some keys
_NEW_KEYS = {"licence": "license"}  # key in formats 1 and 2 -> key in format 3
UNSEALED_VERSION = 1  # without a checksum of the manifest itself
MAX_MANIFEST_BYTES = 4 << 20


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
        raise PackError(f"{folder} is not a model pack: it has no {MANIFEST_FILE}; {MAKE_AGAIN}.")
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
            f"{_shown(table.get('format'))}, not {FORMAT!r}; {MAKE_AGAIN}."
        )
    version = table.get("format_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise PackError(f"{where} has format_version {_shown(version)}, which is not a version number; {MAKE_AGAIN}.")
    if version > FORMAT_VERSION:
        raise PackError(
            f"{where} was written by a newer edgetts: its format is {_shown(version)} and this program reads "
            f"up to {FORMAT_VERSION}; upgrade edgetts with `{UPGRADE}`."
        )
    if version > UNSEALED_VERSION and table.get(CHECKSUM) != checksum(table):
        raise PackError(
            f"{where} was altered after the pack was made: its content does not match its checksum; "
            "copy or convert the pack again."
        )
    if version <= _RENAMED_KEYS_UNTIL:
        table = with_new_keys(table)
    table = {"family": UNNAMED_FAMILY, **table}
    family = table["family"]
    if not isinstance(family, str) or family not in FAMILIES:
        known = UNKNOWN_FAMILIES.get(family) if isinstance(family, str) else None
        runs = " or ".join(FAMILIES)
        if known:
            raise PackError(f"{where} describes {known}, which this version cannot run; it runs {runs}.")
        raise PackError(f"{where} describes a model of unknown family {_shown(family)}; it must be {runs}.")
    return ManifestReader(where, FAMILIES[family]).manifest(table, is_sealed=version > UNSEALED_VERSION)


def with_new_keys(table: dict[str, Any]) -> dict[str, Any]:
    """A manifest of format 1 or 2 with the keys of format 3, in the same order."""
    return {_NEW_KEYS.get(key, key): value for key, value in table.items()}


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


def manifest_table(data: bytes, where: str) -> dict[str, Any]:
    """The JSON table of a manifest, its content not checked yet. Raises PackError."""
    try:
        table = read_json(data, max_bytes=MAX_MANIFEST_BYTES)
    except InvalidJSON as error:
        raise PackError(f"{where} is damaged: {error}; {MAKE_AGAIN}.") from error
    if not isinstance(table, dict):
        raise PackError(f"{where} is damaged: it holds {_shown(table)}, not a JSON table; {MAKE_AGAIN}.")
    return table
