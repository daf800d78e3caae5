"""Atomic file writes, and the ending of files of tensors.

In: a path and its content. Out: the file, created or replaced in one step. A failure, Ctrl-C included, leaves no
partial file. A process that has the old file open or mapped keeps its content.
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

TENSORS_SUFFIX = ".safetensors"  # packs' components and voices
_SHORT_NAME = 100  # characters of the name in the temporary one: file systems allow 255 bytes
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A binary file that is renamed to `path` when the block ends without an error, and deleted otherwise.

    Of a link, the target is replaced. A device or pipe is written to directly.
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
    """Write `data` to `path`, replacing a file or link. mode: reduced by the umask. Raises OSError."""
    with _part_of(path, mode) as (file, part):
        file.write(data)
        _flush(file)
        part.replace(path)


def create_file(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Write `data` to `path`, which must not exist. mode: reduced by the umask. Raises FileExistsError, OSError."""
    with _part_of(path, mode) as (file, part):
        file.write(data)
        _flush(file)
        if not _linked(part, path, mode):
            part.replace(path)


def is_regular(path: Path) -> bool:
    """Whether this is a regular file, not a device or pipe."""
    return stat.S_ISREG(path.stat().st_mode)


@contextlib.contextmanager
def _part_of(target: Path, mode: int) -> Iterator[tuple[BinaryIO, Path]]:
    """A new temporary file in the folder of `target`, deleted at the end of the block unless it was renamed."""
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
    """Hard-link `whole` to `target`. If the file system has no hard links: create `target` empty and return False.

    Raises FileExistsError if `target` exists.
    """
    try:
        os.link(whole, target)
    except FileExistsError:
        raise
    except OSError:
        os.close(os.open(target, _NEW, mode))
        return False
    return True
