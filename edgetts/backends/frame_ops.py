"""The operations between a transformer's matrix products: norms, rotary positions, gated units.

In: frames (R, T, C). Out: frames. Two implementations, equal up to rounding: PyTorch on any device, and native
kernels on the CPU, where a chain of PyTorch operations costs as much time as the matrix products.

Shapes: R rows, T frames, C channels, H heads, D head dim.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from edgetts.models.dit import RMS_EPS
from edgetts.native import frames
from edgetts.native.library import Library, find_library

Rope = tuple[Tensor, Tensor]
"""Cosines and sines in the layout of the `FrameOps` that made them."""


class FrameOps(Protocol):
    """The operations for one dtype and device."""

    def norm(self, x: Tensor, gain_and_bias: Tensor) -> Tensor:
        """RMS norm of (R, T, C), times gain, plus bias, from (R or 1, 1, 2 C)."""

    def rope(self, table: Tensor) -> Rope:
        """The argument of `rotate`, from the DiT's table (T, D / 2, 2)."""

    def rotate(self, x: Tensor, n_heads: int, rope: Rope) -> Tensor:
        """The first `n_heads` heads of (R, T, H, D), rotated; a pair is one value of each half: (R, T, n_heads, D)."""

    def swiglu(self, x: Tensor) -> Tensor:
        """silu(first half) * second half: (R, T, 2 C) -> (R, T, C)."""

    def gate(self, x: Tensor, bias: Tensor) -> Tensor:
        """tanh(first half) * sigmoid(second half) of x + bias (R or 1, 1, 2 C): (R, T, 2 C) -> (R, T, C)."""


class PlainFrameOps:
    """PyTorch operations in the dtype of the frames."""

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype

    def norm(self, x: Tensor, gain_and_bias: Tensor) -> Tensor:
        gain, bias = gain_and_bias.chunk(2, dim=-1)
        return torch.addcmul(bias, F.rms_norm(x, x.shape[-1:], eps=RMS_EPS), gain)

    def rope(self, table: Tensor) -> Rope:
        cos, sin = table.to(self._dtype).unbind(-1)
        return cos.unsqueeze(1).contiguous(), sin.unsqueeze(1).contiguous()

    def rotate(self, x: Tensor, n_heads: int, rope: Rope) -> Tensor:
        cos, sin = rope
        x = x[:, :, :n_heads]
        first, second = x.chunk(2, dim=-1)
        y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        y_first, y_second = y.chunk(2, dim=-1)
        torch.mul(first, cos, out=y_first)
        y_first.addcmul_(second, sin, value=-1)
        torch.mul(second, cos, out=y_second)
        y_second.addcmul_(first, sin)
        return y

    def swiglu(self, x: Tensor) -> Tensor:
        gate, value = x.chunk(2, dim=-1)
        return F.silu(gate).mul_(value)

    def gate(self, x: Tensor, bias: Tensor) -> Tensor:
        filtered, gate = (x + bias).chunk(2, dim=-1)
        return torch.tanh(filtered).mul_(torch.sigmoid(gate))


class FunctionalFrameOps(PlainFrameOps):
    """`PlainFrameOps` without in-place writes to views, which torch.compile rejects. For CUDA."""

    def rotate(self, x: Tensor, n_heads: int, rope: Rope) -> Tensor:
        cos, sin = rope
        first, second = x[:, :, :n_heads].chunk(2, dim=-1)
        return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


class CompiledFrameOps:
    """The native kernels."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def norm(self, x: Tensor, gain_and_bias: Tensor) -> Tensor:
        threads = torch.get_num_threads()
        return frames.norm(self._library, x.contiguous(), gain_and_bias.contiguous(), RMS_EPS, n_threads=threads)

    def rope(self, table: Tensor) -> Rope:
        cos, sin = table.unbind(-1)
        return cos.contiguous(), sin.contiguous()

    def rotate(self, x: Tensor, n_heads: int, rope: Rope) -> Tensor:
        return frames.rotate(self._library, x.contiguous(), n_heads, *rope, n_threads=torch.get_num_threads())

    def swiglu(self, x: Tensor) -> Tensor:
        return frames.swiglu(self._library, x.contiguous(), n_threads=torch.get_num_threads())

    def gate(self, x: Tensor, bias: Tensor) -> Tensor:
        return frames.gate(self._library, x.contiguous(), bias, n_threads=torch.get_num_threads())


def frame_ops(device: torch.device, dtype: torch.dtype) -> FrameOps:
    """The fastest operations for a device and dtype."""
    if device.type == "cuda":
        return FunctionalFrameOps(dtype)
    library = find_library() if device.type == "cpu" and dtype in frames.DTYPES else None
    return PlainFrameOps(dtype) if library is None else CompiledFrameOps(library)
