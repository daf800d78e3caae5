"""Renews the checksum of a pack's manifest after it was edited by hand, as recipes do:

    python -m edgetts.pack.seal PACK [PACK ...]

In: folders of packs. Out: manifests in the present format with the checksum of their content. Other files of the pack
are not checked.
"""

from __future__ import annotations

import sys
from pathlib import Path

from edgetts.errors import EdgeTTSError
from edgetts.files import replace_file
from edgetts.pack.checksum import sealed
from edgetts.pack.entries import MANIFEST_FILE
from edgetts.pack.manifest import FORMAT_VERSION, manifest_table, parse_manifest, table_text, with_new_keys


def seal(folder: Path) -> bool:
    """Renew the checksum of a pack's manifest, in the present format. True if the file changed.

    The content is validated first and the file replaced atomically. Raises PackError.
    """
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
