"""The checksum that a manifest carries of itself, and how to renew it.

In: a manifest's table as plain JSON values. Out: the sha256 of its content, whatever its layout: keys sorted, no
spaces, the checksum itself left out. It finds damage and edits that nobody meant; it is no signature, since whoever
changes a manifest on purpose can renew it. Format 1 had none; manifests of that format are read as they are.

After a change of a pack's manifest by hand (recipes do that):

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
_NEW_KEYS = {"licence": "license"}  # of formats 1 and 2: of format 3


def checksum(table: Mapping[str, Any]) -> str:
    """sha256 of a manifest's content, as hexadecimal digits."""
    content = {key: value for key, value in table.items() if key != CHECKSUM}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def sealed(table: Mapping[str, Any]) -> dict[str, Any]:
    """The table with the checksum of its content, which comes last."""
    content = {key: value for key, value in table.items() if key != CHECKSUM}
    return {**content, CHECKSUM: checksum(content)}


def with_new_keys(table: dict[str, Any]) -> dict[str, Any]:
    """A manifest of format 1 or 2 with the keys of format 3, in the same order."""
    return {_NEW_KEYS.get(key, key): value for key, value in table.items()}


def seal(folder: Path) -> bool:
    """Give the manifest of a pack its checksum, in the present format. Whether there was anything to change.

    The content is checked as if it were read, the file is replaced as a whole, and the pack's other files are not
    looked at. Raises PackError.
    """
    from edgetts.files import replace_file
    from edgetts.pack.manifest import FORMAT_VERSION, MANIFEST_FILE, manifest_table, parse_manifest, table_text

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
