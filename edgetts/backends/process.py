"""Process-wide setup: refuse to compute in a fork, and bound the caches of oneDNN and glibc.

In: calls before threads are started, and before networks are loaded or used. Out: UsageError in a forked child; smaller
caches otherwise.

oneDNN compiles a primitive for each layer and input length, about 1 MB each, and caches 1024 of them, so memory grows
in a process that speaks texts of many lengths. Only the primitives of the current call are likely to be reused. glibc
gives threads up to eight heaps per core, each fragmented on its own; with one heap, a stage reuses what another freed.
Heaps that exist stay, so a program that loads networks in a thread bounds them before its first thread: with the four
heaps that a daemon had without that, it held 90 MB more after a few calls.

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
_M_ARENA_MAX = -8  # of mallopt, malloc.h

FORKED = (
    "This process was forked from one in which networks are loaded, and the compute libraries do not work after a "
    'fork: start processes with multiprocessing.get_context("spawn") and load the model in each.'
)


class _Process:
    """The process in which networks were first loaded; a fork inherits it."""

    id: int | None = None


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


def bound_heaps() -> None:
    """Bound the number of glibc heaps, unless the user did. Call it before the first thread: its heap would stay.

    Does nothing with other C libraries. `prepare_process` does it too, for programs that have no threads yet.
    """
    if not sys.platform.startswith("linux") or any(name in os.environ for name in ARENA_VARIABLES):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, HEAPS)
