"""What holds for a whole process that computes: it must not be a fork of one, and what its libraries keep is bounded.

In: nothing; whoever loads networks or uses them says so. Out: UsageError in a forked child; otherwise nothing, but the
library that multiplies (oneDNN) keeps fewer primitives, and the C library fewer heaps.

oneDNN compiles a primitive for each layer and each length of its input, about a MB each, and keeps 1024 of them: that
is what grows in a process that speaks texts of many lengths. Those of one call are of use again, in its next step or
window. glibc gives threads heaps of their own, up to eight a core, each with its gaps: in one heap, what one stage
frees serves the next.

Both are facts of the process and not of an object, so this file has a state. It knows no networks.
"""

from __future__ import annotations

import ctypes
import os
import sys

import torch

from edgetts.errors import UsageError

CACHE_VARIABLES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "DNNL_PRIMITIVE_CACHE_CAPACITY")  # the first one wins
# The published model has 68 convolutions of different shapes, and its DiT about 20 products in bfloat16.
CACHED_PRIMITIVES = 96
ARENA_VARIABLES = ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES")
HEAPS = 1
_M_ARENA_MAX = -8  # of mallopt, malloc.h

FORKED = (
    "This process was forked from one in which networks are loaded, and the libraries that compute do not survive "
    'that: start processes with multiprocessing.get_context("spawn"), and load the model in them.'
)


class _Process:
    """The process in which networks were first loaded; a fork inherits it."""

    id: int | None = None


def prepare_process() -> None:
    """Call before networks are loaded: bounds what libraries keep, once. Raises UsageError as `check_process`."""
    check_process()
    if _Process.id is None:
        _Process.id = os.getpid()
        _bound_heaps()
        _bound_primitives()


def check_process() -> None:
    """Raise UsageError in a fork of a process that had loaded networks: its first large product would never end.

    The threads that shared the work are not in the fork, nor those of streams, nor whoever held a lock.
    """
    if is_forked():
        raise UsageError(FORKED)


def is_forked() -> bool:
    """Whether this is a fork of a process that had loaded networks."""
    return _Process.id is not None and _Process.id != os.getpid()


def _bound_primitives() -> None:
    """Bound oneDNN's cache, unless the user did or it is in use. It reads the environment once, before its first work.

    There is no function for it that PyTorch exports, so the variable is there for a moment.
    """
    has_library = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not has_library or any(name in os.environ for name in CACHE_VARIABLES):
        return
    os.environ[CACHE_VARIABLES[0]] = str(CACHED_PRIMITIVES)
    try:
        one = torch.ones(1, 1, 1)
        torch.mkldnn_convolution(one, one, None, (0,), (1,), (1,), 1)
    finally:
        del os.environ[CACHE_VARIABLES[0]]


def _bound_heaps() -> None:
    """Bound the heaps of glibc, unless the user did; other C libraries have no such function or no such heaps."""
    if not sys.platform.startswith("linux") or any(name in os.environ for name in ARENA_VARIABLES):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, HEAPS)
