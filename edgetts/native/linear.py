"""Linear layers with int4 or int8 weights on the CPU: packed once, then multiplied without unpacking.

In: codes, scales and zeros as a pack stores them. Out: a `Packed` weight, and `linear(...)` of activations
with it. Knows no modules, packs or caches. Without the compiled library every function dequantizes a block of rows at a
time and multiplies: slow, but with little memory. This is the reference.

Weights are `scale * (code - zero)`: int4 codes 0..15 in groups along the input, each with a scale and a zero
(float16, the zero need not be whole); int8 codes -128..127 with one scale per output channel and no zero.

Shapes: O outputs, I inputs, N rows of activations, G groups = I / group.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

from edgetts.errors import UsageError
from edgetts.native import huge_pages
from edgetts.native.library import Isa, Library, addresses, check

GROUPS = (32, 64, 128)  # inputs that share an int4 scale
ACTIVATION_GROUPS = (128, 64, 32)  # inputs that share a scale when activations are quantized for int8 weights
UNPACK_ROWS = 512  # weights that are dequantized at a time; a multiple of the 16 of a packed block
MANY_ROWS = 48  # without dot-product instructions, unpacking once and a plain matrix product is faster from here on


class Activations(IntEnum):
    """Quantization of activations. The values are numbers of int8 planes (src/linear.cpp)."""

    FLOAT32 = 0
    """Not quantized: the reference."""
    INT8 = 1
    """7 bits and sign, one scale per row and group. Relative error of the product about 7e-3, but 3e-2 if one
    activation is 30 times the others of its group. Half the work of INT16, which matters only with many rows."""
    INT16 = 2
    """14 bits and sign in two planes. Relative error below 1e-3, and about 2e-5 without such outliers. Almost free with
    one row, where the DRAM traffic of the weights dominates."""


@dataclass(frozen=True)
class Packed:
    """A weight (O, I) ready to multiply with.

    With `library`, `data` has the library's private layout and `scales`, `zeros` are empty. Without, the three are as
    given. Private to this file.
    """

    bits: int  # 4 or 8
    n_outputs: int
    n_inputs: int
    group: int  # inputs that share a weight scale (int4) or an activation scale (int8)
    data: Tensor
    scales: Tensor
    zeros: Tensor
    library: Library | None

    @property
    def n_bytes(self) -> int:
        """Size of the packed weight in memory."""
        return sum(t.numel() * t.element_size() for t in (self.data, self.scales, self.zeros))


def pack_int4(
    codes: Tensor, scales: Tensor, zeros: Tensor, group: int, *, library: Library | None, n_threads: int = 1
) -> Packed:
    """An int4 weight.

    codes: uint8, (O, I / 2) with the earlier input in the low half of a byte, or (O, I) with values 0..15.
    scales, zeros: (O, G), any floating type, rounded to float16. group: one of GROUPS, dividing I.
    library: from `find_library()`; None packs for the plain path. Raises UsageError for other inputs.
    """
    n_outputs, n_groups = scales.shape
    n_inputs = n_groups * group
    if group not in GROUPS or scales.shape != zeros.shape:
        raise UsageError(
            f"An int4 weight has groups of {', '.join(map(str, GROUPS))} with a scale and a zero each, not "
            f"{group} with scales {tuple(scales.shape)} and zeros {tuple(zeros.shape)}; quantize it again."
        )
    if codes.dtype == torch.uint8 and codes.shape == (n_outputs, n_inputs):
        codes = codes[:, 0::2] | codes[:, 1::2] << 4
    if codes.dtype != torch.uint8 or codes.shape != (n_outputs, n_inputs // 2):
        raise UsageError(
            f"int4 codes for {n_outputs} outputs and {n_inputs} inputs are uint8 of shape "
            f"{(n_outputs, n_inputs // 2)}, not {codes.dtype} of shape {tuple(codes.shape)}; quantize it again."
        )
    codes = codes.contiguous()
    scales, zeros = scales.to(torch.float16).contiguous(), zeros.to(torch.float16).contiguous()
    if not bool(torch.isfinite(scales).all() & torch.isfinite(zeros).all()):
        raise UsageError("int4 scales and zeros must be finite in float16; quantize the weight again.")
    if library is None:
        return Packed(4, n_outputs, n_inputs, group, codes, scales, zeros, None)
    for name, tensor in (("codes", codes), ("scales", scales), ("zeros", zeros)):
        check(name, tensor, (torch.uint8, torch.float16))
    data = huge_pages.empty(library.c.edgetts_packed_bytes(n_outputs, n_inputs, group, 4))
    library.c.edgetts_pack_int4(*addresses(codes, scales, zeros, data), *(n_outputs, n_inputs, group, n_threads))
    nothing = torch.empty(0)
    return Packed(4, n_outputs, n_inputs, group, data, nothing, nothing, library)


def pack_int8(codes: Tensor, scales: Tensor, *, library: Library | None, n_threads: int = 1) -> Packed:
    """An int8 weight: codes (O, I) int8, scales (O,) of any floating type. I is a multiple of 32."""
    n_outputs, n_inputs = codes.shape
    group = next((group for group in ACTIVATION_GROUPS if n_inputs % group == 0), None)
    if codes.dtype != torch.int8 or scales.shape != (n_outputs,) or group is None:
        raise UsageError(
            f"An int8 weight has int8 codes (outputs, inputs) with inputs a multiple of {ACTIVATION_GROUPS[-1]} "
            f"and a scale per output, not {codes.dtype} codes {tuple(codes.shape)} and scales "
            f"{tuple(scales.shape)}; quantize it again."
        )
    codes, scales = codes.contiguous(), scales.to(torch.float32).contiguous()
    nothing = torch.empty(0)
    if library is None:
        return Packed(8, n_outputs, n_inputs, group, codes, scales, nothing, None)
    check("codes", codes, (torch.int8,))
    check("scales", scales, (torch.float32,))
    data = huge_pages.empty(library.c.edgetts_packed_bytes(n_outputs, n_inputs, group, 8))
    library.c.edgetts_pack_int8(*addresses(codes, scales, data), *(n_outputs, n_inputs, n_threads))
    return Packed(8, n_outputs, n_inputs, group, data, nothing, nothing, library)


def linear(
    packed: Packed,
    x: Tensor,
    bias: Tensor | None = None,
    *,
    activations: Activations,
    n_threads: int,
    isa: Isa | None = None,
) -> Tensor:
    """x (..., I) times the weight plus bias (O,) -> (..., O), in the type of x: float32 or bfloat16, CPU.

    Accumulates in float32. bias is float32. With quantized activations a row's result depends neither on the other
    rows nor on the number of threads. Without the compiled library activations are not quantized.
    """
    rows = x.reshape(-1, packed.n_inputs)  # (N, I)
    if packed.library is None or (rows.shape[0] >= MANY_ROWS and _has_no_dots(packed.library, activations, isa)):
        y = _dequantize_and_multiply(packed, rows, bias, n_threads)
        return y.view(*x.shape[:-1], packed.n_outputs)
    if not rows.is_contiguous():
        rows = rows.contiguous()
    check("x", rows, (torch.float32, torch.bfloat16))
    if bias is not None:
        check("bias", bias, (torch.float32,))
    library = packed.library
    y = torch.empty(*x.shape[:-1], packed.n_outputs, dtype=x.dtype)
    library.c.edgetts_linear(
        packed.data.data_ptr(),
        rows.data_ptr(),
        None if bias is None else bias.data_ptr(),
        y.data_ptr(),
        *(rows.shape[0], packed.n_outputs, packed.n_inputs, packed.group, packed.bits),
        *(int(activations), int(x.dtype == torch.bfloat16), int(library.usable(isa)), n_threads),
    )
    return y


def _has_no_dots(library: Library, activations: Activations, isa: Isa | None) -> bool:
    return activations is Activations.FLOAT32 or library.usable(isa) is Isa.PORTABLE


def dequantize(packed: Packed, *, n_threads: int = 1) -> Tensor:
    """The whole weight (O, I) in float32."""
    return torch.cat([rows for _, rows in _blocks(packed, n_threads)])


def _dequantize_and_multiply(packed: Packed, x: Tensor, bias: Tensor | None, n_threads: int) -> Tensor:
    y = torch.empty(x.shape[0], packed.n_outputs, dtype=torch.float32)
    wide = x.to(torch.float32)
    for first, rows in _blocks(packed, n_threads):
        torch.mm(wide, rows.T, out=y[:, first : first + rows.shape[0]])
    if bias is not None:
        y += bias
    return y.to(x.dtype)


def _blocks(packed: Packed, n_threads: int) -> Iterator[tuple[int, Tensor]]:
    """Yields (first output, weights (at most UNPACK_ROWS, I) float32) block by block."""
    for first in range(0, packed.n_outputs, UNPACK_ROWS):
        last = min(first + UNPACK_ROWS, packed.n_outputs)
        if packed.library is not None:
            rows = torch.empty(last - first, packed.n_inputs)
            packed.library.c.edgetts_unpack(
                *(packed.data.data_ptr(), rows.data_ptr(), packed.n_outputs, packed.n_inputs, packed.group),
                *(packed.bits, first, last, n_threads),
            )
        elif packed.bits == 8:
            rows = packed.data[first:last].to(torch.float32) * packed.scales[first:last, None]
        else:
            pairs = packed.data[first:last]  # (O, I / 2)
            codes = torch.stack([pairs & 15, pairs >> 4], dim=-1).view(last - first, -1, packed.group)
            scales, zeros = packed.scales[first:last, :, None].float(), packed.zeros[first:last, :, None].float()
            rows = ((codes.to(torch.float32) - zeros) * scales).view(last - first, packed.n_inputs)
        yield first, rows
