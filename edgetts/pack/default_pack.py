"""The default pack, as the user chose it: a small file in the folder of the user's data.

In: that folder. Out: the pack's name or absolute path, or None. The file is replaced atomically and read strictly: a
damaged one is an error, not another pack. Opens no pack and does not know whether there is one.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from edgetts.errors import PackError
from edgetts.files import replace_file
from edgetts.pack.plain_json import InvalidJSON, read_json

DEFAULT_FILE = "default-pack.json"
FORMAT = 1
_MAX_BYTES = 1 << 14  # a path has at most 4096 bytes
_NAME = re.compile(r"[^/\0.][^/\0]{0,254}")
_REMEDY = "choose the default again with `edgetts packs use NAME`"


def read_default(data_folder: Path) -> str | None:
    """The name or absolute path of the default pack; None if none was chosen. Raises PackError for a damaged file."""
    path = data_folder / DEFAULT_FILE
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        if path.is_symlink():
            raise PackError(f"{path} is a broken link: {_REMEDY}.") from None
        return None
    except OSError as error:
        raise PackError(f"{path} cannot be read ({(error.strerror or str(error)).lower()}): {_REMEDY}.") from None
    try:
        return _pack_of(read_json(data, max_bytes=_MAX_BYTES, max_depth=2))
    except InvalidJSON as problem:
        raise PackError(f"{path} does not name a default pack ({problem}): {_REMEDY}.") from None


def write_default(data_folder: Path, pack: str) -> None:
    """Remember a pack by name or absolute path. Raises PackError."""
    path = data_folder / DEFAULT_FILE
    table = {"format": FORMAT, "pack": pack}
    _pack_of(table)
    try:
        data_folder.mkdir(parents=True, exist_ok=True)
        replace_file(path, f"{json.dumps(table)}\n".encode())
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise PackError(f"The default pack could not be remembered in {path} ({reason}): make that writable.") from None


def forget_default(data_folder: Path) -> None:
    """Forget the choice, if there is one. Raises PackError."""
    path = data_folder / DEFAULT_FILE
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise PackError(f"{path} cannot be removed ({(error.strerror or str(error)).lower()}): remove it.") from None


def _pack_of(table: Any) -> str:
    """The value of a sound table. Raises InvalidJSON."""
    if not isinstance(table, dict) or set(table) != {"format", "pack"}:
        raise InvalidJSON("it is not a table of a format and a pack")
    if table["format"] != FORMAT or isinstance(table["format"], bool):
        raise InvalidJSON(f"its format is {table['format']!r:.40}, and this edgetts reads {FORMAT}")
    pack = table["pack"]
    if not isinstance(pack, str) or not (Path(pack).is_absolute() or _NAME.fullmatch(pack)) or "\0" in pack:
        raise InvalidJSON(f"{pack!r:.80} is neither a name nor an absolute path")
    return pack
