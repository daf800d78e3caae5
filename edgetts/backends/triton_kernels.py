"""Weight-only int4 and int8 products for few rows, in Triton: the shape of decoding.

In: activations (R, I) and a weight exactly as the pack stores it. Out: (R, O) in the type of the activations; sums
are float32. The weight is read once for up to ROWS rows and never written anywhere dequantized. With
TRITON_INTERPRET=1 the same code runs on the CPU, for tests. Importing this needs Triton.

Shapes: R rows, O outputs, I inputs, G values of a group.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS = 4  # share one reading of the weight: one beam or three
BLOCK_OUTPUTS = 16
_INT8_BLOCK_INPUTS = 128
_ZERO_STEPS = tl.constexpr(16)  # of `pack.schemes.ZERO_STEPS`: a zero point is stored in sixteenths


@triton.jit  # type: ignore[untyped-decorator]
def _int4_kernel(  # type: ignore[no-untyped-def]
    x_ptr, codes_ptr, scales_ptr, zeros_ptr, y_ptr, n_rows, n_outputs, n_inputs,
    group: tl.constexpr, n: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """One program: `block` outputs of `n` rows. Even inputs are in the low halves of bytes, odd ones in the high."""
    outputs = tl.program_id(0) * block + tl.arange(0, block)  # (O,)
    rows = tl.program_id(1) * n + tl.arange(0, n)  # (R,)
    there, valid = outputs < n_outputs, rows < n_rows
    half = tl.arange(0, group // 2)
    n_groups = n_inputs // group
    total = tl.zeros((n, block), tl.float32)
    for index in range(n_groups):
        at = rows[:, None] * n_inputs + index * group + 2 * half[None, :]  # (R, G / 2)
        even = tl.load(x_ptr + at, mask=valid[:, None], other=0.0).to(tl.float32)
        odd = tl.load(x_ptr + at + 1, mask=valid[:, None], other=0.0).to(tl.float32)
        places = outputs[:, None] * (n_inputs // 2) + index * (group // 2) + half[None, :]  # (O, G / 2)
        codes = tl.load(codes_ptr + places, mask=there[:, None], other=0)
        low, high = (codes & 0xF).to(tl.float32), (codes >> 4).to(tl.float32)
        dots = tl.sum(low[None] * even[:, None] + high[None] * odd[:, None], axis=2)  # (R, O)
        scale = tl.load(scales_ptr + outputs * n_groups + index, mask=there, other=0.0).to(tl.float32)
        zero = tl.load(zeros_ptr + outputs * n_groups + index, mask=there, other=0).to(tl.float32) / _ZERO_STEPS
        total += scale[None] * (dots - zero[None] * tl.sum(even + odd, axis=1)[:, None])
    where = rows[:, None] * n_outputs + outputs[None, :]
    tl.store(y_ptr + where, total.to(y_ptr.dtype.element_ty), mask=valid[:, None] & there[None, :])


@triton.jit  # type: ignore[untyped-decorator]
def _int8_kernel(  # type: ignore[no-untyped-def]
    x_ptr, codes_ptr, scales_ptr, y_ptr, n_rows, n_outputs, n_inputs,
    width: tl.constexpr, n: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """One program: `block` outputs of `n` rows; one scale per output."""
    outputs = tl.program_id(0) * block + tl.arange(0, block)  # (O,)
    rows = tl.program_id(1) * n + tl.arange(0, n)  # (R,)
    there, valid = outputs < n_outputs, rows < n_rows
    total = tl.zeros((n, block), tl.float32)
    for start in range(0, n_inputs, width):
        inputs = start + tl.arange(0, width)
        inside = inputs < n_inputs
        x = tl.load(
            x_ptr + rows[:, None] * n_inputs + inputs[None, :], mask=valid[:, None] & inside[None, :], other=0.0
        ).to(tl.float32)
        codes = tl.load(
            codes_ptr + outputs[:, None] * n_inputs + inputs[None, :], mask=there[:, None] & inside[None, :], other=0
        ).to(tl.float32)
        total += tl.sum(codes[None] * x[:, None], axis=2)
    scale = tl.load(scales_ptr + outputs, mask=there, other=0.0).to(tl.float32)
    where = rows[:, None] * n_outputs + outputs[None, :]
    tl.store(y_ptr + where, (total * scale[None]).to(y_ptr.dtype.element_ty), mask=valid[:, None] & there[None, :])


def int4_linear(x: Tensor, codes: Tensor, scales: Tensor, zeros: Tensor) -> Tensor:
    """x (R, I) by codes (O, I / 2), scales (O, I / G), zeros (O, I / G) -> (R, O)."""
    x, y, grid = _prepare(x, len(codes))
    group = x.shape[1] // scales.shape[1]
    if group & (group - 1):
        raise ValueError(f"the Triton kernel takes groups of a power of two, not {group}")
    _int4_kernel[grid](x, codes, scales, zeros, y, len(x), len(codes), x.shape[1], group, ROWS, BLOCK_OUTPUTS)
    return y


def int8_linear(x: Tensor, codes: Tensor, scales: Tensor) -> Tensor:
    """x (R, I) by codes (O, I), scales (O,) -> (R, O)."""
    x, y, grid = _prepare(x, len(codes))
    _int8_kernel[grid](x, codes, scales, y, len(x), len(codes), x.shape[1], _INT8_BLOCK_INPUTS, ROWS, BLOCK_OUTPUTS)
    return y


def _prepare(x: Tensor, n_outputs: int) -> tuple[Tensor, Tensor, tuple[int, int]]:
    y = torch.empty(len(x), n_outputs, device=x.device, dtype=x.dtype)
    return x.contiguous(), y, (triton.cdiv(n_outputs, BLOCK_OUTPUTS), triton.cdiv(len(x), ROWS))
