"""A partially downloaded file, counted and hashed while it is written.

In: chunks from `hub`, in order. Out: a file under its final name, once its checksum matches. The next run continues
the bytes of an interrupted one; a part is named by its checksum, so it never continues another file. Links are not
followed, and files with several hard links are not written. It does not know networks.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from edgetts.errors import DownloadError
from edgetts.quant.folders import NO_FOLDER, folder_of, opened, rename_new

PART_SUFFIX = ".part"
_BLOCK = 1 << 20  # bytes read at once when hashing
_DIGESTS = {"sha256": re.compile("[0-9a-f]{64}"), "git-sha1": re.compile("[0-9a-f]{40}")}


@dataclass(frozen=True)
class Checksum:
    """The expected hash of a file. algorithm: "sha256", or "git-sha1" (small files, kept in git itself)."""

    algorithm: str
    digest: str

    def __post_init__(self) -> None:
        pattern = _DIGESTS.get(self.algorithm)
        if pattern is None or not pattern.fullmatch(self.digest):
            raise ValueError(f"{self.digest!r} is not a {self.algorithm} digest")

    def hasher(self, size: int) -> Any:
        """A hashlib object for content of `size` bytes."""
        if self.algorithm == "sha256":
            return hashlib.sha256()
        return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)  # git hashes a header before the content

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.digest}"


def has_checksum(path: Path, checksum: Checksum, on_bytes: Callable[[int], None]) -> bool:
    """Whether the file has this checksum. on_bytes: called with the size of each block read."""
    hasher = checksum.hasher(path.stat().st_size)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            hasher.update(block)
            on_bytes(len(block))
    return bool(hasher.hexdigest() == checksum.digest)


class PartFile:
    """A file open for appending; a context manager. size, wanted_size: bytes so far, and of the whole file.

    on_bytes: called with each number of bytes added, those of an earlier run first; negative when bytes are
    discarded. Raises DownloadError when the disk is full.
    """

    def __init__(self, folder: Path, size: int, checksum: Checksum, on_bytes: Callable[[int], None]) -> None:
        self.path = part_path(folder, checksum)
        self.wanted_size = size
        self.size = 0
        self._checksum = checksum
        self._on_bytes = on_bytes
        self._hasher = checksum.hasher(size)
        self._file = _open_own(self.path)

    def __enter__(self) -> PartFile:
        try:
            self._take_up()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _take_up(self) -> None:
        if os.fstat(self._file.fileno()).st_size > self.wanted_size:
            self._file.truncate(0)
        self._file.seek(0)
        while block := self._file.read(_BLOCK):
            self._count(block)

    def _count(self, data: bytes) -> None:
        self._hasher.update(data)
        self.size += len(data)
        self._on_bytes(len(data))

    def restart(self) -> None:
        """Discard all bytes."""
        self._file.truncate(0)
        self._on_bytes(-self.size)
        self.size = 0
        self._hasher = self._checksum.hasher(self.wanted_size)

    def write(self, data: bytes) -> None:
        try:
            self._file.write(data)
            self._file.flush()  # counted bytes survive a crash of this process
        except OSError as error:
            raise DownloadError(
                f"{self.path.parent} cannot be written to ({(error.strerror or str(error)).lower()}): make room and "
                "run the same command again; it continues where it stopped."
            ) from error
        self._count(data)

    @property
    def is_right(self) -> bool:
        """Whether the bytes are all there, and have the checksum."""
        return self.size == self.wanted_size and bool(self._hasher.hexdigest() == self._checksum.digest)

    def finish(self, target: Path, root: Path | None = None, *, replace: bool = True) -> bool:
        """Rename the part to `target` if its checksum matches; else remove it. Returns whether it matched.

        root: folder below which links are not followed (default: the target's folder). replace: overwrite an existing
        file; else FileExistsError.
        """
        if not self.is_right:
            self._file.close()
            self.path.unlink()
            return False
        os.fsync(self._file.fileno())
        self._file.close()
        if root is None:
            target.parent.mkdir(parents=True, exist_ok=True)
            root = target.parent
        inside = target.relative_to(root).as_posix()
        with (
            opened(self.path.parent) as parts,
            opened(root) as handle,
            folder_of(handle, inside, make=True) as (folder, name),
        ):
            if replace:
                os.replace(self.path.name, name, src_dir_fd=parts, dst_dir_fd=folder)
            else:
                rename_new(parts, self.path.name, folder, name)
        return True


def is_part(name: str) -> bool:
    """Whether this is the name of a part file."""
    return name.endswith(PART_SUFFIX) and any(p.fullmatch(name[: -len(PART_SUFFIX)]) for p in _DIGESTS.values())


def _open_own(path: Path) -> BinaryIO:
    """The part, open for reading and appending. Raises DownloadError unless it is a plain file with one hard link."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    problem = None
    try:
        with opened(path.parent) as folder:
            handle = os.open(path.name, flags, 0o666, dir_fd=folder)
        status = os.fstat(handle)
        if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
            return open(handle, "a+b")  # noqa: PTH123
        os.close(handle)
        problem = "has another hard link" if stat.S_ISREG(status.st_mode) else "is not a file"
    except OSError as error:
        if error.errno not in (*NO_FOLDER, errno.EISDIR, errno.ENXIO):
            raise
        problem = "is a link or a folder"
    raise DownloadError(f"{path} {problem}, and was not made by edgetts: remove it, and run the same command again.")


def part_path(folder: Path, checksum: Checksum) -> Path:
    return folder / (checksum.digest + PART_SUFFIX)
