"""File operations relative to an open folder, without following links (openat style).

In: a handle of an open folder and names inside it ("name" or "folder/name"). Out: files read, created, renamed and
removed there. A handle stays with its folder even if another one takes its path; links are never followed, and only
plain files are removed. It does not know packs or downloads.
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
    """A handle of a folder. Raises OSError for a link or a file."""
    handle = os.open(path, OPEN_FOLDER)
    try:
        yield handle
    finally:
        os.close(handle)


@contextlib.contextmanager
def folder_of(handle: int, name: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
    """A handle of the folder of a file, and the last part of its name. make: create missing folders."""
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
    """At most `most` bytes of a plain file; None if there is none."""
    try:
        with folder_of(handle, name) as (folder, last):
            file = os.open(last, OPEN_FILE, dir_fd=folder)
    except OSError:  # missing, or a link
        return None
    with open(file, "rb") as content:  # noqa: PTH123
        return content.read(most) if stat.S_ISREG(os.fstat(file).st_mode) else None


def write_new(handle: int, name: str, data: bytes) -> None:
    """Create a file with this content and fsync it. Raises FileExistsError."""
    with open(os.open(name, NEW_FILE, 0o666, dir_fd=handle), "wb") as file:  # noqa: PTH123
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def unlink(folder: int, name: str) -> None:
    """Remove a plain file; leave anything else."""
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
    """Remove a folder if it is empty."""
    try:
        os.rmdir(name, dir_fd=parent)
    except OSError as error:
        if error.errno not in (*TAKEN, *NO_FOLDER):
            raise


def foreign(handle: int, known: Iterable[str]) -> Iterator[str]:
    """Entries of a folder other than the known plain files ("name" or "folder/name"); links always count."""
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
    """Whether the folder with this name is still the opened one."""
    try:
        there = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(handle))


def exchange(parent: int, one: str, other: str) -> bool:
    """Swap two folders atomically; False if kernel or file system does not support it."""
    return _renameat2(parent, one, parent, other, _RENAME_EXCHANGE)


def rename_new(parent: int, old: str, to: int, new: str) -> None:
    """Rename without replacing. Raises FileExistsError."""
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
