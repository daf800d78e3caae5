"""Working inside a folder by handle, so that no link leads out of it and nothing is replaced by surprise.

In: a handle of an open folder and names inside it ("name" or "folder/name"). Out: files read, made, renamed and
removed there. A handle stays with the folder it was opened for, whatever is put under its path meanwhile; links are
never followed, and only plain files are removed. Knows neither packs nor downloads.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
NO_FOLDER = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
TAKEN = (errno.EEXIST, errno.ENOTEMPTY)

_RENAME_NOREPLACE, _RENAME_EXCHANGE = 1, 2  # flags of Linux's renameat2
_UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    """A handle of a folder; OSError for a link or a file."""
    handle = os.open(path, OPEN_FOLDER)
    try:
        yield handle
    finally:
        os.close(handle)


@contextlib.contextmanager
def folder_of(handle: int, name: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
    """A handle of the folder that a file is in, and the last part of its name. make: folders that are not there."""
    *folders, last = name.split("/")
    with contextlib.ExitStack() as stack:
        for folder in folders:
            if folder in ("", ".", ".."):
                raise ValueError(f"{name!r} is not a name inside a folder")
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(folder, dir_fd=handle)
            handle = os.open(folder, OPEN_FOLDER, dir_fd=handle)
            stack.callback(os.close, handle)
        yield handle, last


def read_file(handle: int, name: str, most: int) -> bytes | None:
    """At most `most` bytes of a plain file; None when there is none of that name."""
    try:
        with folder_of(handle, name) as (folder, last):
            file = os.open(last, OPEN_FILE, dir_fd=folder)
    except OSError:  # not there, or a link
        return None
    with open(file, "rb") as content:  # noqa: PTH123
        return content.read(most) if stat.S_ISREG(os.fstat(file).st_mode) else None


def write_new(handle: int, name: str, data: bytes) -> None:
    """Make a file with this content, on the disk when this returns. Raises FileExistsError."""
    with open(os.open(name, NEW_FILE, 0o666, dir_fd=handle), "wb") as file:  # noqa: PTH123
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def unlink(folder: int, name: str) -> None:
    """Remove a plain file; anything else of that name stays."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=folder)


def remove_file(handle: int, name: str) -> None:
    """Remove "name" or "folder/name", if it is a plain file in a plain folder."""
    try:
        with folder_of(handle, name) as (folder, last):
            unlink(folder, last)
    except OSError as error:
        if error.errno not in NO_FOLDER:
            raise


def remove_folder(parent: int, name: str) -> None:
    """Remove an empty folder; one that is not stays."""
    try:
        os.rmdir(name, dir_fd=parent)
    except OSError as error:
        if error.errno not in (*TAKEN, *NO_FOLDER):
            raise


def foreign(handle: int, known: Iterable[str]) -> Iterator[str]:
    """What a folder holds besides plain files called so ("name" or "folder/name"); links are never known."""
    names = set(known)
    folders = {name.partition("/")[0] for name in names if "/" in name}
    for name in os.listdir(handle):
        mode = os.stat(name, dir_fd=handle, follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode) and name in folders:
            inner = {known.partition("/")[2] for known in names if known.startswith(f"{name}/")}
            with folder_of(handle, f"{name}/") as (folder, _):
                yield from (f"{name}/{other}" for other in foreign(folder, inner))
        elif name not in names or not stat.S_ISREG(mode):
            yield name


def is_at(parent: int, name: str, handle: int) -> bool:
    """Whether the folder of this name is still the one that was opened."""
    try:
        there = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(handle))


def exchange(parent: int, one: str, other: str) -> bool:
    """Swap two folders in one step; False where kernel or file system cannot."""
    return _renameat2(parent, one, parent, other, _RENAME_EXCHANGE)


def rename_new(parent: int, old: str, to: int, new: str) -> None:
    """Rename to a name that is free. Raises FileExistsError."""
    if not _renameat2(parent, old, to, new, _RENAME_NOREPLACE):
        with contextlib.suppress(FileNotFoundError):
            os.stat(new, dir_fd=to, follow_symlinks=False)
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new)
        os.rename(old, new, src_dir_fd=parent, dst_dir_fd=to)


def _renameat2(parent: int, old: str, to: int, new: str, flags: int) -> bool:
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is None:
        return False
    if function(parent, os.fsencode(old), to, os.fsencode(new), flags) == 0:
        return True
    code = ctypes.get_errno()
    if code in _UNSUPPORTED:
        return False
    raise OSError(code, os.strerror(code), new)
