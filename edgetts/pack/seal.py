"""The checksum of a manifest's own content, and how to renew it.

In: a manifest's table as plain JSON values. Out: the sha256 of its content, independent of layout: keys sorted, no
spaces, the checksum itself left out. It detects damage and accidental edits. It is not a signature: anyone can renew
it. Format 1 had no checksum; manifests of that format are read as they are.

After editing the manifest of a pack by hand, as recipes do:

    python -m edgetts.pack.seal PACK [PACK ...]
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgetts.errors import EdgeTTSError

CHECKSUM = "checksum"
_NEW_KEYS = {"licence": "license"}  # key in formats 1 and 2 -> key in format 3


def checksum(table: Mapping[str, Any]) -> str:
    """Hexadecimal sha256 of a manifest's content."""
    content = {key: value for key, value in table.items() if key != CHECKSUM}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def sealed(table: Mapping[str, Any]) -> dict[str, Any]:
    """The table with the checksum of its content as the last key."""
    content = {key: value for key, value in table.items() if key != CHECKSUM}
    return {**content, CHECKSUM: checksum(content)}


def with_new_keys(table: dict[str, Any]) -> dict[str, Any]:
    """A manifest of format 1 or 2 with the keys of format 3, in the same order."""
    return {_NEW_KEYS.get(key, key): value for key, value in table.items()}


def seal(folder: Path) -> bool:
    """Renew the checksum of a pack's manifest, in the present format. True if the file changed.

    The content is validated first and the file replaced atomically. Other files of the pack are not checked. Raises
    PackError.
    """
    from edgetts.files import replace_file
    from edgetts.pack.entries import MANIFEST_FILE
    from edgetts.pack.manifest import FORMAT_VERSION, manifest_table, parse_manifest, table_text

    path = folder / MANIFEST_FILE
    before = path.read_bytes()
    table = manifest_table(before, str(path))
    text = table_text(sealed({**with_new_keys(table), "format_version": FORMAT_VERSION}))
    parse_manifest(text.encode(), str(path))
    if text.encode() == before:
        return False
    replace_file(path, text.encode())
    return True


def main(folders: list[str]) -> int:
    """Seal the packs in these folders."""
    if not folders:
        print("Give the folders of the packs whose manifests get a new checksum.", file=sys.stderr)
        return 2
    for folder in folders:
        try:
            print(f"{folder}: {'sealed' if seal(Path(folder)) else 'was sealed already'}")
        except (EdgeTTSError, OSError) as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
