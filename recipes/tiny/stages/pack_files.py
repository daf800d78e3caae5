"""Adds files to an existing pack: lists them in its manifest and renews the checksum."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path

from edgetts.files import replace_file
from edgetts.pack.entries import MANIFEST_FILE, FileEntry
from edgetts.pack.load import open_pack
from edgetts.pack.manifest import manifest_json


def put_files(pack: Path, contents: Mapping[str, bytes]) -> None:
    """Add or replace files by name. Raises PackError if the pack is not valid, before or after."""
    manifest = open_pack(pack).manifest
    files = dict(manifest.files)
    for name, data in contents.items():
        replace_file(pack / name, data)
        files[name] = FileEntry(len(data), hashlib.sha256(data).hexdigest())
    changed = dataclasses.replace(manifest, files=dict(sorted(files.items())))
    replace_file(pack / MANIFEST_FILE, manifest_json(changed).encode())
    open_pack(pack, verify=True)
