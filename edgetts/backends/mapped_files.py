"""Watches mapped files, so that one that is truncated while it is read gives an error instead of ending the process.

In: a path. Out: whether something was read behind the end of that file. Reading there raises SIGBUS. For watched files
the compiled library gives zeros; it passes all other signals on (`native/src/mapped_files.cpp`). Where the library is
missing, or not on Linux, nothing is watched: then a truncated file still ends the process.
"""

from __future__ import annotations

import ctypes
import logging
import os
from pathlib import Path

from edgetts.native.library import find_library

logger = logging.getLogger(__name__)


class FileWatch:
    """Of one process. Safe to use from any thread."""

    def __init__(self, handle: ctypes.CDLL) -> None:
        self._watch, self._was_cut = handle.edgetts_watch_file, handle.edgetts_watched_file_was_cut
        for function in (self._watch, self._was_cut):
            function.restype, function.argtypes = ctypes.c_int, [ctypes.c_char_p]

    def watch(self, path: Path) -> None:
        """Watch a file from now on. Call it before the file is mapped. What was seen of it before is forgotten."""
        if not self._watch(_real(path)):
            logger.info("%s is not watched: truncating it ends the process", path)

    def was_cut(self, path: Path) -> bool:
        """Whether something was read behind the end of a watched file."""
        return bool(self._was_cut(_real(path)))


def find_watch() -> FileWatch | None:
    """None if the library is not there, or was built before it could watch files."""
    library = find_library()
    return None if library is None or not hasattr(library.c, "edgetts_watch_file") else FileWatch(library.c)


def _real(path: Path) -> bytes:
    """The path as the kernel shows it."""
    return os.fsencode(os.path.realpath(path)).replace(b"\n", b"\\012")
