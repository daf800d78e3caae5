"""Weight-only int4 products in Triton.

In: activations (R, I) and a weight exactly as the pack stores it. Out: (R, O) in the dtype of the activations; sums
are float32. The dequantized weight exists in registers only: few rows use elementwise products (decoding, bound by
memory), many rows use matrix tiles. With TRITON_INTERPRET=1 the same code runs on the CPU, for tests. Importing this
needs Triton.

Shapes: R rows, O outputs, I inputs, G values of a group, N groups at a time.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from edgetts.backends.kernels import triton_common as common
from edgetts.backends.kernels.base import Epilogue, on_device
from edgetts.backends.kernels.triton_common import finish

_WIDTH = 64  # bytes of codes per output and step; at least one group
_ZERO_STEPS = tl.constexpr(16)  # `pack.schemes.ZERO_STEPS`: zero points are stored in sixteenths


@triton.jit  # type: ignore[untyped-decorator]
def _few_kernel(  # type: ignore[no-untyped-def]
    x_ptr, codes_ptr, scales_ptr, zeros_ptr, bias_ptr, residual_ptr, y_ptr, n_rows, n_outputs, n_bytes, n_steps,
    has_bias: tl.constexpr, gelu: tl.constexpr, has_residual: tl.constexpr,
    half_group: tl.constexpr, n: tl.constexpr, block: tl.constexpr, groups: tl.constexpr,
):  # fmt: skip
    """One program: `block` outputs of `n` rows over one split of the inputs, `groups` groups at a time.

    Low nibbles are even inputs, high nibbles odd ones. Products are summed after the loop, so that threads
    communicate once and not at every step.
    """
    outputs = tl.program_id(0) * block + tl.arange(0, block)  # (O,)
    rows = tl.program_id(1) * n + tl.arange(0, n)  # (R,)
    split = tl.program_id(2)
    there, valid = outputs < n_outputs, rows < n_rows
    n_groups = n_bytes // half_group
    total = tl.zeros((n, block, groups, half_group), tl.float32)
    for step in range(split * n_steps, (split + 1) * n_steps):
        group = step * groups + tl.arange(0, groups)  # (N,)
        inside = group < n_groups
        place = group[:, None] * half_group + tl.arange(0, half_group)[None, :]  # (N, G / 2)
        at = rows[:, None, None] * (2 * n_bytes) + 2 * place[None]
        seen = valid[:, None, None] & inside[None, :, None]
        even = tl.load(x_ptr + at, mask=seen, other=0.0).to(tl.float32)  # (R, N, G / 2)
        odd = tl.load(x_ptr + at + 1, mask=seen, other=0.0).to(tl.float32)
        mask = there[:, None] & inside[None, :]  # (O, N)
        of_group = outputs[:, None] * n_groups + group[None, :]
        scale = tl.load(scales_ptr + of_group, mask=mask, other=0.0).to(tl.float32)
        offset = tl.load(zeros_ptr + of_group, mask=mask, other=0).to(tl.float32) / _ZERO_STEPS * scale
        codes = tl.load(codes_ptr + outputs[:, None, None] * n_bytes + place[None], mask=mask[:, :, None], other=0)
        low = (codes & 0xF).to(tl.float32) * scale[:, :, None] - offset[:, :, None]  # (O, N, G / 2)
        high = (codes >> 4).to(tl.float32) * scale[:, :, None] - offset[:, :, None]
        total += low[None] * even[:, None] + high[None] * odd[:, None]
    sums = tl.sum(tl.sum(total, axis=3), axis=2)  # (R, O)
    at = split * n_rows * n_outputs + rows[:, None] * n_outputs + outputs[None, :]
    mask = valid[:, None] & there[None, :]
    finish(sums, bias_ptr, residual_ptr, y_ptr, at, outputs[None, :], mask, has_bias, gelu, has_residual)


@triton.jit  # type: ignore[untyped-decorator]
def _many_kernel(  # type: ignore[no-untyped-def]
    x_ptr, codes_ptr, scales_ptr, zeros_ptr, bias_ptr, residual_ptr, y_ptr, n_rows, n_outputs, n_bytes,
    has_bias: tl.constexpr, gelu: tl.constexpr, has_residual: tl.constexpr,
    half_group: tl.constexpr, n: tl.constexpr, block: tl.constexpr, wide: tl.constexpr,
):  # fmt: skip
    """One program: `block` outputs of `n` rows, a group of inputs at a time by matrix tiles.

    Codes 0 to 15 are exact in any dtype; scale and zero point are applied after the product, in float32.
    """
    outputs = tl.program_id(0) * block + tl.arange(0, block)  # (O,)
    rows = tl.program_id(1) * n + tl.arange(0, n)  # (R,)
    there, valid = outputs < n_outputs, rows < n_rows
    n_groups = n_bytes // half_group
    kind = tl.float32 if wide else x_ptr.dtype.element_ty
    total = tl.zeros((n, block), tl.float32)
    for group in range(n_groups):
        place = group * half_group + tl.arange(0, half_group)  # (G / 2,)
        at = rows[:, None] * (2 * n_bytes) + 2 * place[None, :]
        even = tl.load(x_ptr + at, mask=valid[:, None], other=0.0).to(kind)  # (R, G / 2)
        odd = tl.load(x_ptr + at + 1, mask=valid[:, None], other=0.0).to(kind)
        # (G / 2, O), transposed for tl.dot
        codes = tl.load(codes_ptr + outputs[None, :] * n_bytes + place[:, None], mask=there[None, :], other=0)
        dots = tl.dot(even, (codes & 0xF).to(kind), input_precision="ieee")
        dots += tl.dot(odd, (codes >> 4).to(kind), input_precision="ieee")  # (R, O)
        scale = tl.load(scales_ptr + outputs * n_groups + group, mask=there, other=0.0).to(tl.float32)
        zero = tl.load(zeros_ptr + outputs * n_groups + group, mask=there, other=0).to(tl.float32) / _ZERO_STEPS
        sums = tl.sum(even.to(tl.float32) + odd.to(tl.float32), axis=1)  # (R,)
        total += scale[None, :] * (dots - zero[None, :] * sums[:, None])
    at = rows[:, None] * n_outputs + outputs[None, :]
    mask = valid[:, None] & there[None, :]
    finish(total, bias_ptr, residual_ptr, y_ptr, at, outputs[None, :], mask, has_bias, gelu, has_residual)


def int4_linear(x: Tensor, codes: Tensor, scales: Tensor, zeros: Tensor, epilogue: Epilogue | None = None) -> Tensor:
    """x (R, I) by codes (O, I / 2), scales (O, I / G), zeros (O, I / G) -> (R, O), with its epilogue."""
    epilogue = epilogue or Epilogue()
    half_group = codes.shape[1] // scales.shape[1]
    if half_group & (half_group - 1) or half_group < 16:
        raise ValueError(f"the group size is {2 * half_group}; the Triton kernel needs a power of two of at least 32")
    x = x.contiguous()
    y = torch.empty(len(x), len(codes), device=x.device, dtype=x.dtype)
    with on_device(x):
        (_few if len(x) <= common.FEW else _many)(x, (codes, scales, zeros), y, epilogue, half_group)
    return y


def _few(x: Tensor, weight: tuple[Tensor, ...], y: Tensor, epilogue: Epilogue, half_group: int) -> None:
    (n_rows, n_outputs), n_bytes = y.shape, weight[0].shape[1]
    n, block, groups = common.few_rows(n_rows), common.BLOCK_OUTPUTS, max(1, _WIDTH // half_group)
    grid = (triton.cdiv(n_outputs, block), triton.cdiv(n_rows, n))
    n_splits, n_steps = common.splits(grid[0] * grid[1], triton.cdiv(n_bytes, groups * half_group), x.device)
    whole = (*grid, n_splits)
    where, then = y, epilogue
    if n_splits > 1:
        where, then = torch.empty(n_splits, *y.shape, device=x.device, dtype=torch.float32), Epilogue()
    pointers, flags = common.with_epilogue(where, then)
    sizes = (n_rows, n_outputs, n_bytes, n_steps)
    launch = _few_kernel[whole]
    launch(x, *weight, *pointers, where, *sizes, *flags, half_group, n, block, groups)
    if n_splits > 1:
        common.sum_splits(where, y, epilogue)


def _many(x: Tensor, weight: tuple[Tensor, ...], y: Tensor, epilogue: Epilogue, half_group: int) -> None:
    (n_rows, n_outputs), n_bytes = y.shape, weight[0].shape[1]
    n = common.dot_rows(n_rows, half_group * x.element_size())
    grid = (triton.cdiv(n_outputs, common.DOT_OUTPUTS), triton.cdiv(n_rows, n))
    pointers, flags = common.with_epilogue(y, epilogue)
    sizes = (n_rows, n_outputs, n_bytes)
    _many_kernel[grid](x, *weight, *pointers, y, *sizes, *flags, half_group, n, common.DOT_OUTPUTS, common.is_wide(x))
