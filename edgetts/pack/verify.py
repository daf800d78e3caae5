"""Is a file of a pack still what its manifest says?

In: a path and its manifest entry. Out: nothing, or a `PackError` that names the file. Sizes are looked at
every time. The sha256 is computed when a file is first used and remembered in the user's cache folder with
the file's size and times, so that later starts read nothing twice; a file that changed is read again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from edgetts.errors import PackError
from edgetts.pack.manifest import FileEntry

MEMORY_FILE = "verified.json"
_MAX_REMEMBERED = 512
_CHUNK_BYTES = 4 << 20


def check_size(path: Path, entry: FileEntry) -> None:
    """Raises PackError when the file is missing or has another size than the manifest says."""
    if not path.is_file():
        raise PackError(f"The pack is incomplete: {path} is missing; copy or convert the pack again.")
    size = path.stat().st_size
    if size < entry.bytes:
        raise PackError(
            f"{path} is truncated: it has {size} of {entry.bytes} bytes; copy or convert the pack again."
        )
    if size > entry.bytes:
        raise PackError(
            f"{path} does not belong to this pack: it has {size} bytes instead of {entry.bytes}; "
            "copy or convert the pack again."
        )


class Verifier:
    """Checks content by sha256 and remembers what it has seen in `cache_dir` (None: remembers nothing)."""

    def __init__(self, cache_dir: Path | None) -> None:
        self._memory = None if cache_dir is None else cache_dir / MEMORY_FILE

    def check(self, path: Path, entry: FileEntry, *, force: bool = False) -> None:
        """Raises PackError when the content is not what the manifest says. `force`: read it in any case."""
        check_size(path, entry)
        stat = path.stat()
        # ctime cannot be set back, so an edit that restores the modification time is seen too.
        seen = [entry.sha256, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        key = str(path.resolve())
        if not force and self._remembered().get(key) == seen:
            return
        if file_sha256(path) != entry.sha256:
            raise PackError(
                f"{path} was altered since the pack was made: its sha256 is not the one in the manifest; "
                "copy or convert the pack again."
            )
        self._remember(key, seen)

    def _remembered(self) -> dict[str, Any]:
        if self._memory is None:
            return {}
        try:
            table = json.loads(self._memory.read_bytes())
        except (OSError, ValueError):  # no memory yet, or a damaged one: the files are read again
            return {}
        return table if isinstance(table, dict) else {}

    def _remember(self, key: str, seen: list[Any]) -> None:
        if self._memory is None:
            return
        table = self._remembered()
        table.pop(key, None)
        table[key] = seen
        table = dict(list(table.items())[-_MAX_REMEMBERED:])
        # A cache folder that cannot be written (read-only system, full disk) costs time, not correctness.
        with contextlib.suppress(OSError):
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._memory.parent, prefix=MEMORY_FILE)
            with os.fdopen(handle, "w") as file:
                json.dump(table, file)
            Path(name).replace(self._memory)


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
