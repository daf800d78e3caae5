"""Writing a file so that nobody ever sees half of it.

In: a path and what shall be there. Out: the file, which appears or is replaced in one step; a failure, Ctrl-C included,
leaves nothing behind. A file that is open or mapped elsewhere keeps its old content there: nothing in this program
writes into a file that is in use.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_SHORT_NAME = 100  # characters of the name that a temporary one begins with: file systems allow 255 bytes
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A binary file that takes the name `path` when the block ends well, and vanishes when it does not.

    A link stays, and what it points to is replaced. A device or pipe is written into.
    """
    target = Path(path)
    if target.exists() and not is_regular(target):
        with target.open("wb") as file:
            yield file
        return
    target = target.resolve()
    with _part_of(target, 0o666) as (file, part):
        yield file
        _flush(file)
        if target.exists():
            shutil.copymode(target, part)
        part.replace(target)


def replace_file(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Write `data` to `path`, replacing what is there, links included. mode: under the user's umask. Raises OSError."""
    with _part_of(path, mode) as (file, part):
        file.write(data)
        _flush(file)
        part.replace(path)


def create_file(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Write `data` to `path`, where nothing is yet. Raises FileExistsError, OSError."""
    with _part_of(path, mode) as (file, part):
        file.write(data)
        _flush(file)
        if not _linked(part, path, mode):
            part.replace(path)


def is_regular(path: Path) -> bool:
    """Whether this is a plain file, and no device or pipe."""
    return stat.S_ISREG(path.stat().st_mode)


@contextlib.contextmanager
def _part_of(target: Path, mode: int) -> Iterator[tuple[BinaryIO, Path]]:
    """A new file beside `target`, which is removed at the end of the block if it has that name still."""
    part = target.with_name(f".{target.name[:_SHORT_NAME]}.{secrets.token_hex(4)}.part")
    handle = os.open(part, _NEW, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file, part
    finally:
        part.unlink(missing_ok=True)


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _linked(whole: Path, target: Path, mode: int) -> bool:
    """Give `whole` the name `target`, too. False where the file system knows no second names: the name is taken then.

    Raises FileExistsError when something has it.
    """
    try:
        os.link(whole, target)
    except FileExistsError:
        raise
    except OSError:
        os.close(os.open(target, _NEW, mode))
        return False
    return True
