"""Releases memory: pages of mapped files (MADV_DONTNEED) and freed heap memory (malloc_trim).

In: tensors. Out: nothing. If a tensor lies in a mapped file, its pages no longer count as memory of this process. The
next access reads them again, usually from the page cache, so only time is lost. Without this, a process that reads a
checkpoint of many GB keeps all of it resident, and a speaking process keeps the stored form of its weights besides the
form it computes with.

Linux only. Elsewhere nothing happens, and the system reclaims such pages when it needs memory.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from pathlib import Path

from torch import Tensor, nn

KEPT_FREE_BYTES = 64 << 20  # that the allocator may hold beyond what a call needs
SETTLING = 4  # calls of `look` that measure what is needed
FULL_SHARE = 0.75  # of the limit that may be held between two segments; the next segment needs the rest

_ON_LINUX = sys.platform.startswith("linux")
_MAPS = Path("/proc/self/maps")
_STATUS = Path("/proc/self/status")
_HELD = "RssAnon:"
_WORTH_BYTES = 64 << 10  # smaller tensors are skipped: thousands of biases and norms, a few MB in total


def give_back(*tensors: Tensor) -> None:
    """Drop the pages of those tensors that lie in mapped files. Changes made to them in memory are lost."""
    extents = [(s.data_ptr(), s.data_ptr() + s.nbytes()) for s in (t.untyped_storage() for t in tensors if t.is_cpu)]
    extents = [(start, end) for start, end in extents if end - start >= _WORTH_BYTES]
    if not extents or not _ON_LINUX:
        return
    files = _mapped_files()
    for start, end in extents:
        # MADV_DONTNEED would zero anonymous memory, so only addresses in a mapped file are advised.
        if not any(low <= start and end <= high for low, high in files):
            continue
        _advise(start - start % mmap.PAGESIZE, end)


def give_back_whole(tensor: Tensor) -> None:
    """Drop all pages of the mapped file that a tensor lies in, if any. Changes made to them in memory are lost."""
    if not _ON_LINUX or not tensor.is_cpu:
        return
    at = tensor.data_ptr()
    for low, high in _mapped_files():
        if low <= at < high:
            _advise(low, high)


def drop_weights(module: nn.Module) -> None:
    """Empty the parameters of a module whose weights have been taken in another form, and release their memory."""
    for parameter in module.parameters():
        parameter.data = parameter.data.new_empty(0)
    give_back_freed()


def give_back_freed() -> None:
    """Return freed heap memory to the system, if the C library keeps it (glibc).

    Loading frees one of two forms of most weights. Without this about half their size would stay resident.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if _ON_LINUX else None
    if trim is not None:
        trim(0)


def held_bytes() -> int | None:
    """Anonymous resident memory of this process now, without pages of files; None if the system does not report it."""
    try:
        lines = _STATUS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    kilobytes = [int(line.split()[1]) for line in lines if line.startswith(_HELD)]
    return kilobytes[0] << 10 if kilobytes else None


class FreedMemory:
    """Returns freed memory of a long-running process when it holds more than its work needs.

    An allocator keeps freed blocks and fragmented gaps. Returning all of them after each segment would make the
    built-in model an eighth slower, so the first calls measure what a segment needs.
    """

    def __init__(self) -> None:
        self.limit: int | None = None  # memory budget of the process in bytes, if it has one
        self._most = 0  # most bytes held at the end of a measured segment
        self._n_to_come = SETTLING

    def look(self) -> None:
        """Call at the end of each segment, from any thread. Concurrent calls are harmless."""
        held = held_bytes()
        if held is None:
            return
        if self.limit is not None and held > FULL_SHARE * self.limit:
            give_back_freed()
        elif self._n_to_come:
            self._n_to_come -= 1
            self._most = max(self._most, held)
        elif held > self._most + KEPT_FREE_BYTES:
            give_back_freed()
            self._most, self._n_to_come = 0, SETTLING


def _advise(start: int, end: int) -> None:
    # If the call fails, the pages stay resident; nothing else happens.
    ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)


def _mapped_files() -> list[tuple[int, int]]:
    """First address and end of every mapped file of this process."""
    found = []
    for line in _MAPS.read_text(errors="replace").splitlines():
        addresses, _, _, _, inode, *_ = line.split(maxsplit=5)
        low, _, high = addresses.partition("-")
        if inode != "0":
            found.append((int(low, 16), int(high, 16)))
    return found
