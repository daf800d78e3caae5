"""Unmasked full attention in bfloat16 (src/attention.cpp), on processors with bfloat16 dot products.

In: queries, keys and values as strided views of a projection's output. Out: attention output. Does not know
rotary positions or modules.

Shapes: R rows, T frames, H heads, D head dim.
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from edgetts.errors import UsageError
from edgetts.native.library import Library
from edgetts.native.structures import AttentionShape


def can_attend(library: Library, head_dim: int) -> bool:
    """Whether this machine and build support heads of this size."""
    return bool(library.c.edgetts_attends(head_dim))


def attend(library: Library, q: Tensor, k: Tensor, v: Tensor, *, n_threads: int) -> Tensor:
    """q (R, T_q, H, D), k and v (R, T, H, D), bfloat16 on the CPU -> (R, T_q, H, D), contiguous.

    Scores, softmax and sums are float32. Frames and rows may be strided. Raises UsageError for unsupported inputs.
    """
    rows, queries, heads, dim = q.shape
    fits = k.shape == v.shape == (rows, k.shape[1], heads, dim) and k.shape[1] > 0 and can_attend(library, dim)
    for tensor in (q, k, v):
        fits = fits and tensor.dtype == torch.bfloat16 and tensor.device.type == "cpu"
        fits = fits and tensor.stride(3) == 1 and (heads == 1 or tensor.stride(2) == dim)
    if not fits:
        raise UsageError(
            f"The compiled attention takes bfloat16 heads of 32, 48 or 64 contiguous channels, not {q.dtype} "
            f"of shapes {tuple(q.shape)}, {tuple(k.shape)}, {tuple(v.shape)}; use PyTorch's."
        )
    y = torch.empty(rows, queries, heads, dim, dtype=q.dtype)
    shape = AttentionShape(
        *(rows, queries, k.shape[1], heads, dim),
        *(q.stride(1), q.stride(0), k.stride(1), k.stride(0), v.stride(1), v.stride(0)),
    )
    library.c.edgetts_attend(q.data_ptr(), k.data_ptr(), v.data_ptr(), y.data_ptr(), ctypes.byref(shape), n_threads)
    return y
