"""Watches mapped files: a file truncated while it is read causes an error instead of killing the process.

In: a path. Out: whether the process read past the end of that file. Such a read raises SIGBUS; for watched files the
native library returns zeros, other signals are passed on (`native/src/mapped_files.cpp`). Without the library, or
outside Linux, nothing is watched: a truncated file then kills the process.
"""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Callable
from pathlib import Path

from edgetts.native.library import find_library

logger = logging.getLogger(__name__)


class FileWatch:
    """The watch of a process. Thread-safe."""

    def __init__(self, handle: ctypes.CDLL) -> None:
        self._watch, self._was_cut = handle.edgetts_watch_file, handle.edgetts_watched_file_was_cut
        for function in (self._watch, self._was_cut):
            function.restype, function.argtypes = ctypes.c_int, [ctypes.c_char_p]

    def watch(self, path: Path) -> Callable[[], bool]:
        """Watch a file from now on, and forget earlier reads past its end. Call it before the file is mapped.

        Returns what tells whether the process has read past its end. Links on the path may lead elsewhere by then.
        """
        name = os.fsencode(os.path.realpath(path)).replace(b"\n", b"\\012")  # as the kernel shows it
        if not self._watch(name):
            logger.info("%s is not watched: truncating it ends the process", path)
        return lambda: bool(self._was_cut(name))


def find_watch() -> FileWatch | None:
    """The watch; None if the native library is missing or too old for it."""
    library = find_library()
    return None if library is None or not hasattr(library.c, "edgetts_watch_file") else FileWatch(library.c)
