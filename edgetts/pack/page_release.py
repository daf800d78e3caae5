"""Giving back memory: of tensors that are read from mapped files, and what was freed.

In: tensors, wherever they lie. Out: nothing; of those that lie in a mapped file, the pages that this process has
looked at stop being its memory. A later look brings them back, as a rule from the system's file cache, so nothing is
lost but time. Without this, a process that reads a checkpoint of many GB ends up with all of it, and one that speaks
has the stored form of its weights beside the one that computes.

Linux only; elsewhere nothing happens, and the system takes such pages back when it needs them.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from pathlib import Path

from torch import Tensor

KEPT_FREE_BYTES = 64 << 20  # by an allocator beyond what the work needs
SETTLING = 4  # pieces of work until it is known what they need
FULL_SHARE = 0.75  # of a limit that may be held between two pieces of work: the next one needs the rest

_ON_LINUX = sys.platform.startswith("linux")
_MAPS = Path("/proc/self/maps")
_STATUS = Path("/proc/self/status")
_HELD = "RssAnon:"
_WORTH_BYTES = 64 << 10  # smaller tensors are thousands of biases and norms, a few MB in all


def give_back(*tensors: Tensor) -> None:
    """Drop the pages of those tensors that lie in mapped files. What was written into them would be lost."""
    extents = [(s.data_ptr(), s.data_ptr() + s.nbytes()) for s in (t.untyped_storage() for t in tensors if t.is_cpu)]
    extents = [(start, end) for start, end in extents if end - start >= _WORTH_BYTES]
    if not extents or not _ON_LINUX:
        return
    files = _mapped_files()
    for start, end in extents:
        # Pages of ordinary memory would become zeros, so a look at what is mapped decides, not who made the tensor.
        if not any(low <= start and end <= high for low, high in files):
            continue
        _advise(start - start % mmap.PAGESIZE, end)


def give_back_whole(tensor: Tensor) -> None:
    """Drop all pages of the mapping that a tensor lies in, if that is a file. What was written there would be lost."""
    if not _ON_LINUX or not tensor.is_cpu:
        return
    at = tensor.data_ptr()
    for low, high in _mapped_files():
        if low <= at < high:
            _advise(low, high)


def give_back_freed() -> None:
    """Return freed memory to the system, where the C library is one that keeps it (glibc).

    Loading frees a second form of many weights: without this about half as much as they take would stay.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if _ON_LINUX else None
    if trim is not None:
        trim(0)


def held_bytes() -> int | None:
    """What this process has to itself in memory now, without pages of files; None where the system does not tell."""
    try:
        lines = _STATUS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    kilobytes = [int(line.split()[1]) for line in lines if line.startswith(_HELD)]
    return kilobytes[0] << 10 if kilobytes else None


class FreedMemory:
    """Freed memory of a process that works on and on: given back when what is held grows beyond what the work needs.

    An allocator keeps what it may need again, and gaps between what is in use. To give all of it back and to get back
    what is needed costs a call of the built-in model an eighth of its time, so a few pieces of work show first how much
    that is.
    """

    def __init__(self) -> None:
        self.limit: int | None = None  # bytes that the process shall stay within, where it has a memory budget
        self._most = 0  # held at the end of the pieces of work that show it
        self._n_to_come = SETTLING

    def look(self) -> None:
        """Call at the end of a piece of work, from any thread: two at once do it twice, and that is all."""
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
    # Advice: where the system does not take it, the pages stay, and that is all.
    ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)


def _mapped_files() -> list[tuple[int, int]]:
    """First address and end of everything in this process that is a mapped file."""
    found = []
    for line in _MAPS.read_text(errors="replace").splitlines():
        addresses, _, _, _, inode, *_ = line.split(maxsplit=5)
        low, _, high = addresses.partition("-")
        if inode != "0":
            found.append((int(low, 16), int(high, 16)))
    return found
