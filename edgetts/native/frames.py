"""Elementwise operations of a transformer, each fused into one pass over memory (src/frames.cpp).

In: contiguous CPU tensors, float32 or bfloat16. Out: new ones of the same type; arithmetic is float32. Knows no
networks.

Shapes: R rows of a batch, T frames, C channels, H heads, D head dim.
"""

from __future__ import annotations

import torch
from torch import Tensor

from edgetts.errors import UsageError
from edgetts.native.library import Isa, Library, addresses, check

DTYPES = (torch.float32, torch.bfloat16)


def norm(
    library: Library, x: Tensor, conditions: Tensor, epsilon: float, *, n_threads: int, isa: Isa | None = None
) -> Tensor:
    """Adaptive RMS norm of x (R, T, C): gain * normalized x + bias. conditions (R or 1, 1, 2 C): gain, then bias."""
    _check_pair("x", x, "conditions", conditions)
    rows, time, channels = x.shape
    if conditions.shape not in ((rows, 1, 2 * channels), (1, 1, 2 * channels)):
        raise UsageError(f"Gain and bias of {tuple(x.shape)} frames cannot be {tuple(conditions.shape)}.")
    y = torch.empty_like(x)
    per_row = rows * time if conditions.shape[0] == 1 else time
    library.c.edgetts_norm_frames(
        *addresses(x, conditions, y),
        *(rows * time, max(1, per_row), channels, epsilon, *_dtype_and_isa(library, x, isa), n_threads),
    )
    return y


def rotate(
    library: Library, x: Tensor, n_heads: int, cos: Tensor, sin: Tensor, *, n_threads: int, isa: Isa | None = None
) -> Tensor:
    """The first `n_heads` heads of x (R, T, H, D) at positions 0..T - 1: (R, T, n_heads, D).

    Rotary pairs are the two halves of a head. cos, sin: (T, D / 2) float32.
    """
    check("x", x, DTYPES)
    rows, time, heads, dim = x.shape
    for name, table in (("cos", cos), ("sin", sin)):
        check(name, table, (torch.float32,))
        if table.shape != (time, dim // 2) or dim % 2 or n_heads > heads:
            raise UsageError(f"A rotary table of shape {tuple(table.shape)} does not fit {tuple(x.shape)}.")
    y = torch.empty(rows, time, n_heads, dim, dtype=x.dtype)
    library.c.edgetts_rotate_frames(
        *addresses(x, cos, sin, y),
        *(rows * time, max(1, time), heads * dim, n_heads, dim, *_dtype_and_isa(library, x, isa), n_threads),
    )
    return y


def swiglu(library: Library, x: Tensor, *, n_threads: int, isa: Isa | None = None) -> Tensor:
    """silu(first half) * second half: (R, T, 2 C) -> (R, T, C)."""
    check("x", x, DTYPES)
    y = torch.empty(*x.shape[:-1], x.shape[-1] // 2, dtype=x.dtype)
    n = x.shape[:-1].numel()
    library.c.edgetts_swiglu_frames(*addresses(x, y), n, y.shape[-1], *_dtype_and_isa(library, x, isa), n_threads)
    return y


def gate(library: Library, x: Tensor, bias: Tensor, *, n_threads: int, isa: Isa | None = None) -> Tensor:
    """tanh(first half) * sigmoid(second half) of x + bias: (R, T, 2 C) -> (R, T, C).

    bias: (R or 1, 1, 2 C) of the type of x; rows may be strided.
    """
    check("x", x, DTYPES)
    rows, time, width = x.shape
    fits = bias.dtype == x.dtype and bias.shape in ((rows, 1, width), (1, 1, width)) and bias.stride(-1) == 1
    if not fits or bias.device != x.device:
        raise UsageError(f"A bias of shape {tuple(bias.shape)} and {bias.dtype} does not fit {tuple(x.shape)}.")
    y = torch.empty(rows, time, width // 2, dtype=x.dtype)
    per_row = rows * time if bias.shape[0] == 1 else time
    library.c.edgetts_gate_frames(
        *addresses(x, bias, y),
        *(rows * time, max(1, per_row), bias.stride(0), width // 2, *_dtype_and_isa(library, x, isa), n_threads),
    )
    return y


def _dtype_and_isa(library: Library, x: Tensor, isa: Isa | None) -> tuple[int, int]:
    """(x is bfloat16, instruction set) as the library takes them."""
    return int(x.dtype == torch.bfloat16), int(library.usable(isa))


def _check_pair(name: str, x: Tensor, other_name: str, other: Tensor) -> None:
    check(name, x, DTYPES)
    check(other_name, other, (x.dtype,))
