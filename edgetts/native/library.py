"""Loads the compiled kernels, declares their C interface and checks arguments.

In: contiguous CPU tensors. Out: new tensors. Does not know when a kernel is faster. If nothing was compiled,
`find_library()` returns None and the caller uses plain PyTorch.

The C++ sources are in `src/`. ctypes releases the GIL during a call; the library has its own thread pool.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import shutil
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgetts.distribution import REINSTALL
from edgetts.errors import UsageError
from edgetts.native.structures import STRUCTURES

logger = logging.getLogger(__name__)

LIBRARY_FILE = Path(__file__).parent / "_kernels.so"
INTERFACE = 9  # must equal edgetts_interface()

_REINSTALL = f"install it again with `{REINSTALL}`, in a checkout with `.` in place of the name"


class Isa(IntEnum):
    """Instruction sets that kernels are compiled for, slowest first (src/variants.h)."""

    PORTABLE = 0
    NEON_DOT = 1
    AVX2 = 2
    AVX_VNNI = 3
    AVX512 = 4
    AVX512_VNNI = 5


_POINTER, _SIZE, _INT, _FLOAT = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int, ctypes.c_float
_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "edgetts_interface": (_INT, []),
    "edgetts_isas": (_INT, []),
    **{f"edgetts_sizeof_{name}": (_SIZE, []) for name in STRUCTURES},
    "edgetts_snake_forward": (None, [_POINTER] * 5 + [_SIZE] * 3 + [_INT] * 3),
    "edgetts_snake_last": (None, [_POINTER] * 5 + [_SIZE] * 3 + [_INT] * 3),
    "edgetts_snake_backward": (None, [_POINTER] * 8 + [_SIZE] * 3 + [_INT] * 2),
    "edgetts_packed_bytes": (_SIZE, [_SIZE] * 3 + [_INT]),
    "edgetts_pack_int4": (None, [_POINTER] * 4 + [_SIZE] * 3 + [_INT]),
    "edgetts_pack_int8": (None, [_POINTER] * 3 + [_SIZE] * 2 + [_INT]),
    "edgetts_linear": (None, [_POINTER] * 4 + [_SIZE] * 4 + [_INT] * 5),
    "edgetts_gpt_step": (None, [_POINTER, _INT, _POINTER, _INT] + [_POINTER] * 3 + [_INT] * 4),
    "edgetts_norm_frames": (None, [_POINTER] * 3 + [_SIZE] * 3 + [_FLOAT] + [_INT] * 3),
    "edgetts_rotate_frames": (None, [_POINTER] * 4 + [_SIZE] * 5 + [_INT] * 3),
    "edgetts_swiglu_frames": (None, [_POINTER] * 2 + [_SIZE] * 2 + [_INT] * 3),
    "edgetts_gate_frames": (None, [_POINTER] * 3 + [_SIZE] * 4 + [_INT] * 3),
    "edgetts_attends": (_INT, [_SIZE]),
    "edgetts_attend": (None, [_POINTER] * 5 + [_INT]),
    "edgetts_convolves": (_INT, []),
    "edgetts_conv_packed": (_SIZE, [_POINTER, _INT]),
    "edgetts_conv_pack": (None, [_POINTER] * 2 + [_INT, _POINTER]),
    "edgetts_convolve": (None, [_POINTER] * 6 + [_INT] * 4),
    "edgetts_unpack": (None, [_POINTER] * 2 + [_SIZE] * 3 + [_INT] + [_SIZE] * 2 + [_INT]),
}


class Library:
    """The loaded library. Every function takes `isa`, an upper limit of the instruction set, for tests."""

    def __init__(self, handle: ctypes.CDLL) -> None:
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(handle, name)
            function.restype, function.argtypes = result, arguments
        self.c = handle
        bits = int(handle.edgetts_isas())
        self.isas = tuple(isa for isa in Isa if bits >> isa & 1)
        """Instruction sets of this machine, slowest first."""

    def snake_forward(
        self, x: Tensor, alpha: Tensor, gain: Tensor, taps: Tensor, n_threads: int, isa: Isa | None = None
    ) -> Tensor:
        """Anti-aliased SnakeBeta of x (B, C, T), float32 or bfloat16; alpha, gain (C,), taps (12,) float32."""
        batch, channels, length = x.shape
        sizes = (batch * channels, channels, length)
        return self._snake(self.c.edgetts_snake_forward, x, (alpha, gain, taps), sizes, n_threads, isa)

    def snake_last(
        self, x: Tensor, alpha: Tensor, gain: Tensor, taps: Tensor, n_threads: int, isa: Isa | None = None
    ) -> Tensor:
        """`snake_forward` of x (B, T, C)."""
        batch, length, channels = x.shape
        sizes = (batch, channels, length)
        return self._snake(self.c.edgetts_snake_last, x, (alpha, gain, taps), sizes, n_threads, isa)

    def _snake(
        self,
        function: Any,
        x: Tensor,
        parameters: tuple[Tensor, Tensor, Tensor],
        sizes: tuple[int, int, int],
        n_threads: int,
        isa: Isa | None,
    ) -> Tensor:
        check("x", x, (torch.float32, torch.bfloat16))
        for name, parameter in zip(("alpha", "gain", "taps"), parameters, strict=True):
            check(name, parameter, (torch.float32,))
        y = torch.empty_like(x)
        function(*addresses(x, y, *parameters), *sizes, x.dtype == torch.bfloat16, int(self.usable(isa)), n_threads)
        return y

    def snake_backward(
        self,
        x: Tensor,
        grad: Tensor,
        alpha: Tensor,
        gain: Tensor,
        taps: Tensor,
        n_threads: int,
        isa: Isa | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of snake_forward: of x (B, C, T), of alpha (C,) and of gain (C,), all float32."""
        for name, tensor in (("x", x), ("grad", grad), ("alpha", alpha), ("gain", gain), ("taps", taps)):
            check(name, tensor, (torch.float32,))
        batch, channels, length = x.shape
        grad_x = torch.empty_like(x)
        grad_alpha, grad_gain = x.new_empty(batch, channels), x.new_empty(batch, channels)
        self.c.edgetts_snake_backward(
            *addresses(x, grad, alpha, gain, taps, grad_x, grad_alpha, grad_gain),
            *(batch * channels, channels, length, int(self.usable(isa)), n_threads),
        )
        return grad_x, grad_alpha.sum(0), grad_gain.sum(0)

    def usable(self, isa: Isa | None) -> Isa:
        """The fastest instruction set up to `isa` (None: no limit) that this machine has."""
        return max(have for have in self.isas if isa is None or have <= isa)


def check(name: str, tensor: Tensor, dtypes: Sequence[torch.dtype]) -> None:
    """Raise UsageError unless `tensor` is contiguous, on the CPU and of one of `dtypes`."""
    if tensor.device.type != "cpu" or tensor.dtype not in dtypes or not tensor.is_contiguous():
        allowed = " or ".join(str(dtype) for dtype in dtypes)
        raise UsageError(
            f"The compiled kernels take {name} as contiguous {allowed} on the CPU, not {tensor.dtype} on "
            f"{tensor.device} with strides {tensor.stride()}; convert it first, or use plain PyTorch."
        )


def addresses(*tensors: Tensor) -> list[int]:
    """Data pointers of `tensors`. The caller keeps the tensors alive."""
    return [tensor.data_ptr() for tensor in tensors]


@functools.lru_cache(maxsize=1)
def find_library() -> Library | None:
    """The compiled kernels, or None if the installation could not compile them."""
    if not LIBRARY_FILE.exists():
        logger.info("no compiled kernels at %s", LIBRARY_FILE)
        return None
    handle = ctypes.CDLL(str(LIBRARY_FILE))
    found = int(handle.edgetts_interface())
    if found != INTERFACE:
        raise UsageError(
            f"The compiled kernels in {LIBRARY_FILE} have interface {found}, this edgetts needs {INTERFACE}; "
            f"{_REINSTALL}."
        )
    library = Library(handle)
    for name, structure in STRUCTURES.items():
        n_bytes = int(getattr(handle, f"edgetts_sizeof_{name}")())
        if n_bytes != ctypes.sizeof(structure):
            raise UsageError(
                f"The compiled kernels in {LIBRARY_FILE} have a {structure.__name__} of {n_bytes} bytes, this edgetts "
                f"one of {ctypes.sizeof(structure)}; {_REINSTALL}."
            )
    logger.info("compiled kernels for %s", library.usable(None).name)
    return library


def why_missing() -> str:
    """One sentence for `edgetts info` if `find_library()` is None."""
    compiler = next((name for name in ("c++", "g++", "clang++") if shutil.which(name)), None)
    remedy = "install edgetts again" if compiler else "install a C++ compiler (g++), then edgetts again"
    return f"The compiled CPU kernels were not built; for more speed {remedy}."
