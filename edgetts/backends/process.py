"""Process-wide setup: refuse to compute in a fork, bound the caches of oneDNN and glibc, and keep what is used again.

In: calls before threads are started, and before networks are loaded or used. Out: UsageError in a forked child; smaller
caches otherwise.

oneDNN compiles a primitive for each layer and input length, about 1 MB each, and caches 1024 of them, so memory grows
in a process that speaks texts of many lengths. Only the primitives of the current call are likely to be reused. glibc
gives threads up to eight heaps per core, each fragmented on its own; with one heap, a stage reuses what another freed.
Heaps that exist stay, so a program that loads networks in a thread bounds them before its first thread: with the four
heaps that a daemon had without that, it held 90 MB more after a few calls.

glibc takes blocks above a threshold from the system and returns them when they are freed, and it raises the threshold
to the size of the blocks that it sees freed. Where loading frees no large ones, because weights are used as they are
mapped, the activations of each layer are taken from the system and returned: in a former built-in model 14 000 page
faults for each sentence, in the present one none. So the thresholds are set to where glibc would raise them, except in
a daemon.

These are properties of the process, so this module has global state. It does not know networks.
"""

from __future__ import annotations

import ctypes
import os
import sys

from edgetts.errors import UsageError

CACHE_VARIABLES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "DNNL_PRIMITIVE_CACHE_CAPACITY")  # the first one wins
# Of the published model: about 20 bfloat16 products in the DiT, and without our kernels 68 shapes of convolutions.
CACHED_PRIMITIVES = 96
ARENA_VARIABLES = ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES")
HEAPS = 1
THRESHOLD_VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")
HEAP_BLOCK_BYTES = 32 << 20  # blocks up to this size come from the heap: glibc's highest threshold
HEAP_KEPT_BYTES = 2 * HEAP_BLOCK_BYTES  # free at the end of the heap, beyond which it shrinks: glibc's ratio
_M_ARENA_MAX, _M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = -8, -3, -1  # of mallopt, malloc.h

FORKED = (
    "This process was forked from one in which networks are loaded, and the compute libraries do not work after a "
    'fork: start processes with multiprocessing.get_context("spawn") and load the model in each.'
)


class _Process:
    """The process in which networks were first loaded; a fork inherits it."""

    id: int | None = None
    keeps_freed: bool | None = None  # of `bound_heaps`; None: not called yet


def prepare_process() -> None:
    """Call before networks are loaded: bounds the caches, once. Raises UsageError as `check_process`."""
    check_process()
    if _Process.id is None:
        _Process.id = os.getpid()
        bound_heaps()
        _bound_primitives()


def check_process() -> None:
    """Raise UsageError in a fork of a process that had loaded networks: its first large product would deadlock.

    A fork has no copies of the OpenMP and streaming threads, and locks they held stay locked.
    """
    if is_forked():
        raise UsageError(FORKED)


def is_forked() -> bool:
    """Whether this is a fork of a process that had loaded networks."""
    return _Process.id is not None and _Process.id != os.getpid()


def _bound_primitives() -> None:
    """Bound oneDNN's cache, unless the user did. oneDNN reads the environment once, before its first operation.

    PyTorch exports no function for it, so the variable is set for the duration of one small convolution.
    """
    import torch  # here, because heaps are bounded before it is imported

    has_library = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not has_library or any(name in os.environ for name in CACHE_VARIABLES):
        return
    os.environ[CACHE_VARIABLES[0]] = str(CACHED_PRIMITIVES)
    try:
        one = torch.ones(1, 1, 1)
        torch.mkldnn_convolution(one, one, None, (0,), (1,), (1,), 1)
    finally:
        del os.environ[CACHE_VARIABLES[0]]


def bound_heaps(*, keeps_freed: bool = True) -> None:
    """Bound the number of glibc heaps, and set the thresholds, unless the user did.

    keeps_freed: False for a process that mostly rests, as a daemon: the thresholds stay, and what is freed goes back to
    the system at once. The first call decides.

    Call it before the first thread, whose heap would stay; `prepare_process` does it for programs that have no threads
    yet. Does nothing with other C libraries.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform.startswith("linux") else None
    if mallopt is None:
        return
    if not any(name in os.environ for name in ARENA_VARIABLES):
        mallopt(_M_ARENA_MAX, HEAPS)
    if _Process.keeps_freed is None:
        _Process.keeps_freed = keeps_freed
    if _Process.keeps_freed and not any(name in os.environ for name in THRESHOLD_VARIABLES):
        mallopt(_M_MMAP_THRESHOLD, HEAP_BLOCK_BYTES)
        mallopt(_M_TRIM_THRESHOLD, HEAP_KEPT_BYTES)
