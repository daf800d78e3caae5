"""One-dimensional convolutions (src/conv.cpp) in float32, and in bfloat16 on processors with bfloat16 products.

In: a weight, then signals (B, T, C) of any length. Out: the convolved signal. Knows no modules.

Shapes: B batch, T frames, C channels, K taps.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

from edgetts.errors import UsageError
from edgetts.native.library import Isa, Library, check
from edgetts.native.structures import ConvShape

DTYPES = (torch.float32, torch.bfloat16)


class Products(IntEnum):
    """Hardware support for bfloat16 products: none, AVX512-BF16 dot products, AMX tiles."""

    NONE = 0
    DOTS = 1
    TILES = 2


def products(library: Library) -> Products:
    """The best support of this machine and build."""
    return Products(library.c.edgetts_convolves())


@dataclass(frozen=True)
class PackedConv:
    """The weight of a convolution with stride 1, one group and zero padding, in the layout of the kernel."""

    library: Library
    values: Tensor  # float32 or bfloat16
    bias: Tensor | None  # (C',) float32
    n_in: int
    n_out: int
    n_taps: int
    dilation: int
    padding: int

    @classmethod
    def pack(
        cls, library: Library, weight: Tensor, bias: Tensor | None, dilation: int = 1, padding: int = 0
    ) -> PackedConv:
        """weight (C', C, K) float32 or bfloat16, bias (C',).

        Raises UsageError for other dtypes, and for bfloat16 on a machine without its products.
        """
        weight = weight.detach().contiguous()
        check("weight", weight, DTYPES)
        is_bf16 = weight.dtype == torch.bfloat16
        if is_bf16 and products(library) == Products.NONE:
            raise UsageError("This machine has no bfloat16 dot products; use PyTorch's convolution, or float32.")
        sizes = weight.shape[1], weight.shape[0], weight.shape[2]
        shape = ConvShape(1, 1, *sizes, dilation, padding)
        values = torch.empty(library.c.edgetts_conv_packed(ctypes.byref(shape), is_bf16), dtype=weight.dtype)
        library.c.edgetts_conv_pack(weight.data_ptr(), ctypes.byref(shape), is_bf16, values.data_ptr())
        kept = None if bias is None else bias.detach().float().contiguous()
        return cls(library, values, kept, *sizes, dilation, padding)

    def __call__(
        self,
        x: Tensor,
        residual: Tensor | None = None,
        *,
        n_threads: int,
        limit: Products = Products.TILES,
        isa: Isa | None = None,
    ) -> Tensor:
        """x (B, T, C), contiguous, of the weight's dtype -> (B, T', C'), plus `residual` of that shape.

        limit: upper limit of the bfloat16 products. isa: upper limit of the instruction set for float32. Raises
        UsageError for other inputs.
        """
        check("x", x, (self.values.dtype,))
        n_out = x.shape[1] + 2 * self.padding - self.dilation * (self.n_taps - 1) if x.dim() == 3 else 0
        if x.shape[-1] != self.n_in or n_out < 1:
            raise UsageError(
                f"The compiled convolution takes (batch, frames, {self.n_in}) with at least "
                f"{max(1, self.dilation * (self.n_taps - 1) + 1 - 2 * self.padding)} frames, not {tuple(x.shape)}."
            )
        y = x.new_empty(x.shape[0], n_out, self.n_out)
        if residual is not None:
            check("residual", residual, (self.values.dtype,))
            if residual.shape != y.shape:
                raise UsageError(f"The residual has shape {tuple(residual.shape)}, the result {tuple(y.shape)}.")
        shape = ConvShape(x.shape[0], x.shape[1], self.n_in, self.n_out, self.n_taps, self.dilation, self.padding)
        self.library.c.edgetts_convolve(
            *(x.data_ptr(), self.values.data_ptr()),
            *(None if tensor is None else tensor.data_ptr() for tensor in (self.bias, residual)),
            *(y.data_ptr(), ctypes.byref(shape), int(x.dtype == torch.bfloat16)),
            *(max(int(limit), 1), int(self.library.usable(isa)), n_threads),
        )
        return y
