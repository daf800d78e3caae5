"""A file while it is being fetched: its bytes so far, counted and hashed as they come.

In: chunks from `hub`, in order. Out: a file under its own name, once its checksum is the published one. What
an interrupted run has written is taken up by the next; the name of a part is its checksum, so that a part
never continues another file. No link is followed, and no file written that has a second name. Knows no network.
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
from quant.folders import NO_FOLDER, folder_of, opened, rename_new

PART_SUFFIX = ".part"
_BLOCK = 1 << 20  # bytes read at once when hashing
_DIGESTS = {"sha256": re.compile("[0-9a-f]{64}"), "git-sha1": re.compile("[0-9a-f]{40}")}


@dataclass(frozen=True)
class Checksum:
    """What a file's content must hash to. algorithm: "sha256", or "git-sha1" (small files, kept in git itself)."""

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
    """Whether the file's content is the one wanted. on_bytes: told the number of bytes of each block read."""
    hasher = checksum.hasher(path.stat().st_size)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            hasher.update(block)
            on_bytes(len(block))
    return bool(hasher.hexdigest() == checksum.digest)


class PartFile:
    """A file open for appending; a context manager. size, wanted_size: bytes so far, and of the whole file.

    on_bytes: told each number of bytes that was added, those of an earlier run first; negative when they are
    thrown away. Raises DownloadError when the disk takes no more.
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
        """Throw away all bytes."""
        self._file.truncate(0)
        self._on_bytes(-self.size)
        self.size = 0
        self._hasher = self._checksum.hasher(self.wanted_size)

    def write(self, data: bytes) -> None:
        try:
            self._file.write(data)
            self._file.flush()  # what is counted is on the way to the disk, whatever happens to this process
        except OSError as error:
            raise DownloadError(
                f"{self.path.parent} cannot be written to ({(error.strerror or str(error)).lower()}): make room and "
                "run the same command again, it goes on where it stopped."
            ) from error
        self._count(data)

    def finish(self, target: Path, root: Path | None = None, *, replace: bool = True) -> bool:
        """Give the file its name, if its checksum is right; remove it otherwise. Says which.

        root: folder below which no link is followed (default: the target's own). replace: what has the name now;
        FileExistsError otherwise.
        """
        if self.size != self.wanted_size or self._hasher.hexdigest() != self._checksum.digest:
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
    """Whether a file of this name is one that this file makes."""
    return name.endswith(PART_SUFFIX) and any(p.fullmatch(name[: -len(PART_SUFFIX)]) for p in _DIGESTS.values())


def _open_own(path: Path) -> BinaryIO:
    """The part, open for reading and appending. Raises DownloadError for anything that is not a file of its own."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    problem = None
    try:
        with opened(path.parent) as folder:
            handle = os.open(path.name, flags, 0o666, dir_fd=folder)
        status = os.fstat(handle)
        if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
            return open(handle, "a+b")  # noqa: PTH123
        os.close(handle)
        problem = "has another name elsewhere" if stat.S_ISREG(status.st_mode) else "is no file"
    except OSError as error:
        if error.errno not in (*NO_FOLDER, errno.EISDIR, errno.ENXIO):
            raise
        problem = "is a link or a folder"
    raise DownloadError(f"{path} {problem}, and was not made by edgetts: remove it, and run the same command again.")


def part_path(folder: Path, checksum: Checksum) -> Path:
    return folder / (checksum.digest + PART_SUFFIX)
