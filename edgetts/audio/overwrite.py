"""Checks before a file is overwritten: only one of the same kind may be, and no input of the same command.

In: paths and kinds of files. Out: nothing, or a `UsageError`. Links are followed, because writing replaces their
target. Writes nothing.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgetts.errors import UsageError

_MAX_BEGINNING = 64  # bytes


@dataclass(frozen=True)
class Kind:
    """A kind of file, recognized by its suffix or by its first bytes."""

    what: str
    suffixes: tuple[str, ...]
    beginning: re.Pattern[bytes]


SUBTITLES = Kind("subtitles", (".srt", ".vtt"), re.compile(rb"(\xef\xbb\xbf)?(WEBVTT|\d+\r?\n\d+:\d\d:\d\d)"))
PAGE = Kind("a web page", (".html", ".htm"), re.compile(rb"\s*<(!doctype html|html)", re.IGNORECASE))


def check_kind(path: str | os.PathLike[str], kind: Kind) -> None:
    """Raise UsageError if `path` is a file of another kind. Devices, pipes and empty files pass."""
    target = Path(path)
    try:
        status = target.stat()
        if not stat.S_ISREG(status.st_mode) or not status.st_size:
            return
        if target.resolve().suffix.lower() in kind.suffixes:
            return
        with target.open("rb") as file:
            if kind.beginning.match(file.read(_MAX_BEGINNING)):
                return
    except FileNotFoundError:
        return
    except OSError:  # unreadable: its kind is unknown
        pass
    link = f" (a link to {target.resolve()})" if target.is_symlink() else ""
    raise UsageError(
        f"{os.fspath(path)}{link} exists and is not {kind.what}, so it is left alone: delete it yourself, or give "
        "another name."
    )


def check_apart(
    written: Mapping[str, str | os.PathLike[str] | None], read: Mapping[str, str | os.PathLike[str] | None]
) -> None:
    """Raise UsageError if a file would be both read and written, or written twice. Keys: option names for messages."""
    outputs = [(option, Path(path)) for option, path in written.items() if path is not None]
    inputs = [(option, Path(path).expanduser()) for option, path in read.items() if path is not None]
    for i, (option, path) in enumerate(outputs):
        for other, other_path in [*outputs[:i], *inputs]:
            if _is_same(path, other_path):
                raise UsageError(f"{option} and {other} are one file, {path}: give {option} another name.")


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other) and stat.S_ISREG(one.stat().st_mode)
    except OSError:  # one does not exist yet
        return one.resolve() == other.resolve()
