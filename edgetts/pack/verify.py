"""Checks that a file of a pack matches its manifest, and that it did not change since it was loaded.

In: a path and its manifest entry. Out: nothing, or a `PackError` that names the file. The size is checked every time.
The sha256 is computed at first use and cached with the file's size, times and inode, so that
later starts do not read the file again; a changed file is read again.

Not detected: a write through a shared mapping into a dirty page, which changes no time, and silent disk errors.
`edgetts info PACK --verify` reads everything again.

The files of a pack in use are mapped. Replacing or deleting them is safe: the old content stays. Overwriting them in
place is not: other content changes the sound, and reading past the end of a truncated file raises SIGBUS. This
program never does that, but `rsync --inplace` and `cp` do. `Stamp` detects it before a call and before each chunk. With
the compiled library on Linux, SIGBUS gives zeros instead of ending the process (`edgetts.pack.mapped_files`), so
that a truncated file is detected too; without it, the process dies.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgetts.errors import PackError
from edgetts.files import replace_file
from edgetts.pack.entries import FileEntry
from edgetts.pack.plain_json import InvalidJSON, read_json

CACHE_FILE = "verified.json"
_MAX_ENTRIES = 512
_MAX_CACHE_BYTES = 1 << 20
_CHUNK_BYTES = 4 << 20
_CLOCK_STEP_NS = 20_000_000  # file times advance by the kernel's tick: two writes within one get the same time
_OWNER_ONLY, _OWNER_FOLDER = 0o600, 0o700
_WRITABLE_BY_OTHERS = 0o022


@dataclass(frozen=True)
class Stamp:
    """Identity, size and times of a file."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int = field(compare=False)  # cannot be set; other links and modes change it, too

    @classmethod
    def of(cls, path: Path) -> Stamp | None:
        """The stamp of `path` now; None if there is no such file."""
        try:
            stat = path.stat()
        except OSError:
            return None
        return cls(stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)

    def was_written_into(self, now: Stamp | None) -> bool:
        """Whether the same file has new content. False if it was replaced or deleted."""
        same_file = now is not None and (now.device, now.inode) == (self.device, self.inode)
        return same_file and now != self


def check_size(path: Path, entry: FileEntry) -> Stamp:
    """The file's stamp. Raises PackError if the file is missing or its size differs from the manifest."""
    stamp = Stamp.of(path) if path.is_file() else None
    if stamp is None:
        raise PackError(f"The pack is incomplete: {path} is missing; copy or convert the pack again.")
    size = stamp.size
    if size < entry.bytes:
        raise PackError(f"{path} is truncated: it has {size} of {entry.bytes} bytes; copy or convert the pack again.")
    if size > entry.bytes:
        raise PackError(
            f"{path} does not belong to this pack: it has {size} bytes instead of {entry.bytes}; "
            "copy or convert the pack again."
        )
    return stamp


class Verifier:
    """Checks files by sha256 and caches the results in `cache_dir` (None: no cache)."""

    def __init__(self, cache_dir: Path | None) -> None:
        self._cache = None if cache_dir is None else cache_dir / CACHE_FILE

    def check(self, path: Path, entry: FileEntry, *, force: bool = False) -> Stamp:
        """The stamp of a file, from before it was read. Raises PackError if the content differs from the manifest.

        force: read the file even if a result is cached.
        """
        stamp = check_size(path, entry)
        # With ctime: an edit that restores mtime is detected.
        key, seen = str(path.resolve()), [entry.sha256, stamp.size, stamp.mtime_ns, stamp.ctime_ns, stamp.inode]
        if not force and self._cached().get(key) == seen:
            return stamp
        started_ns = time.time_ns()
        if file_sha256(path) != entry.sha256:
            raise PackError(
                f"{path} was altered after the pack was made: its sha256 differs from the manifest; "
                "copy or convert the pack again."
            )
        # Not cached if written while it was read, or so recently that a later write could have the same times.
        now = Stamp.of(path)
        is_same = now is not None and now == stamp and now.ctime_ns == stamp.ctime_ns
        if is_same and stamp.ctime_ns < started_ns - _CLOCK_STEP_NS:
            self._cache_result(key, seen)
        return stamp

    def _cached(self) -> dict[str, Any]:
        if self._cache is None:
            return {}
        # No cache yet, a damaged one, or one that other users can write: the files are read again.
        try:
            with self._cache.open("rb") as file:
                if not _is_ours(os.fstat(file.fileno())):
                    return {}
                table = read_json(file.read(_MAX_CACHE_BYTES + 1), max_bytes=_MAX_CACHE_BYTES, max_depth=2)
        except (OSError, InvalidJSON):
            return {}
        return table if isinstance(table, dict) else {}

    def _cache_result(self, key: str, seen: list[Any]) -> None:
        if self._cache is None:
            return
        table = self._cached()
        table.pop(key, None)
        table[key] = seen
        table = dict(list(table.items())[-_MAX_ENTRIES:])
        # If the cache folder cannot be written (read-only system, full disk), only time is lost.
        with contextlib.suppress(OSError):
            self._cache.parent.mkdir(parents=True, exist_ok=True, mode=_OWNER_FOLDER)
            replace_file(self._cache, json.dumps(table).encode(), mode=_OWNER_ONLY)


def _is_ours(stat: os.stat_result) -> bool:
    owner = getattr(os, "geteuid", lambda: stat.st_uid)()
    return stat.st_uid == owner and not stat.st_mode & _WRITABLE_BY_OTHERS


def file_sha256(path: Path) -> str:
    """Hexadecimal sha256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
