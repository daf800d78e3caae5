"""Memory for packed weights in huge pages: fewer page-table walks while a decoding step streams hundreds of MB.

In: a size. Out: an uninitialized uint8 tensor, aligned to a cache line. Knows no weights or layouts.

With pages of 4 KB every step misses the TLB once per page, and under virtualization such a miss costs several reads.
Linux gives huge pages where `MADV_HUGEPAGE` asks for them (the setting `madvise` or `always` of
/sys/kernel/mm/transparent_hugepage/enabled). Tensors share blocks of 16 MiB, since most weights are no multiple of a
huge page. A block is given back when its last tensor is gone. Elsewhere, and if the system refuses, the memory is
torch's own: slower, with the same numbers.
"""

from __future__ import annotations

import mmap
import threading
import weakref

import torch
from torch import Tensor

HUGE_PAGE = 2 << 20
BLOCK_BYTES = 16 << 20
LINE = 64  # bytes of a cache line
_MIN_BYTES = 256 << 10  # smaller tensors stay in the cache between steps, or matter little
_ADVICE: int | None = getattr(mmap, "MADV_HUGEPAGE", None)  # only where the system has huge pages


class _Shared:
    """The block that is being filled, for all threads. The tensors keep it alive, this does not."""

    lock = threading.Lock()
    block: weakref.ref[mmap.mmap] | None = None
    start = end = 0  # of what is free in it, in bytes


def empty(n_bytes: int) -> Tensor:
    """(n_bytes,) uint8 on the CPU, not initialized; in huge pages where the system has them."""
    if _ADVICE is None or n_bytes < _MIN_BYTES:
        return torch.empty(n_bytes, dtype=torch.uint8)
    with _Shared.lock:
        block = None if _Shared.block is None else _Shared.block()
        if block is None or _Shared.start + n_bytes > _Shared.end:
            try:
                block = _new_block(n_bytes)
            except (OSError, ValueError):  # no mapping of that size, or a kernel without huge pages
                return torch.empty(n_bytes, dtype=torch.uint8)
        data = torch.frombuffer(block, dtype=torch.uint8, count=n_bytes, offset=_Shared.start)
        _Shared.start += -(-n_bytes // LINE) * LINE
        return data


def finish_block() -> None:
    """Start a block with the next tensor, so that a network's memory is given back without another network's."""
    with _Shared.lock:
        _Shared.block = None


def _new_block(n_bytes: int) -> mmap.mmap:
    size = max(BLOCK_BYTES, -(-n_bytes // HUGE_PAGE) * HUGE_PAGE)
    block = mmap.mmap(-1, size + HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    assert _ADVICE is not None
    block.madvise(_ADVICE)
    _Shared.block = weakref.ref(block)
    _Shared.start = -torch.frombuffer(block, dtype=torch.uint8).data_ptr() % HUGE_PAGE
    _Shared.end = _Shared.start + size
    return block
