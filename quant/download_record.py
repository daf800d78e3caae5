"""The record of a download in its folder: accepted licenses and verified files.

In: a folder, files in it, a table. Out: `edgetts-download.json`, and whether a file is unchanged since it was verified.
It does not know hubs. If the record is unreadable, files are verified again and licenses asked again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgetts.quant.folders import opened, read_file, unlink, write_new
from edgetts.quant.part_file import Checksum, has_checksum

RECORD_FILE = "edgetts-download.json"
RECORD_FORMAT = 1
_NEW_RECORD = "record.new"
_MAX_RECORD_BYTES = 1 << 20


def read_record(folder: Path) -> dict[str, Any]:
    """The record; empty if there is none or it is unreadable."""
    try:
        with opened(folder) as handle:
            record = json.loads(read_file(handle, RECORD_FILE, _MAX_RECORD_BYTES) or b"")
    except (OSError, ValueError, RecursionError):
        return {}
    right = isinstance(record, dict) and record.get("format") == RECORD_FORMAT and isinstance(record.get("files"), dict)
    return record if right else {}


def write_record(folder: Path, parts: Path, record: Mapping[str, Any]) -> None:
    """Write the record to `folder` atomically, through a temporary file in `parts`."""
    with opened(folder) as handle, opened(parts) as beside:
        unlink(beside, _NEW_RECORD)  # left by a crashed run
        write_new(beside, _NEW_RECORD, json.dumps(record, indent=1).encode())
        os.replace(_NEW_RECORD, RECORD_FILE, src_dir_fd=beside, dst_dir_fd=handle)


def is_ours(path: Path, entry: Any) -> bool:
    """Whether the file is unchanged since its entry was written.

    ctime cannot be set, so edits that restore size and mtime are detected, too.
    """
    if not isinstance(entry, dict) or path.is_symlink() or not path.is_file() or "checksum" not in entry:
        return False
    return {**entry, **_traits(path)} == entry


def was_fetched(path: Path, entry: Any) -> bool:
    """As `is_ours`, also for a file that was copied since: then its checksum is computed."""
    if is_ours(path, entry):
        return True
    if not isinstance(entry, dict) or path.is_symlink() or not path.is_file():
        return False
    algorithm, _, digest = str(entry.get("checksum")).partition(":")
    try:
        return has_checksum(path, Checksum(algorithm, digest), lambda _: None)
    except ValueError:  # the record is damaged
        return False


def _traits(path: Path) -> dict[str, int]:
    status = path.lstat()
    return {
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "ctime_ns": status.st_ctime_ns,
        "inode": status.st_ino,
    }


def entry_of(path: Path, checksum: Checksum) -> dict[str, Any]:
    return {"checksum": str(checksum), **_traits(path)}
