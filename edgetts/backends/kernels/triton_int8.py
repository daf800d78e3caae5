"""Weight-only int8 products in Triton: as `triton_int4`, with one scale per output.

In: activations (R, I) and a weight exactly as the pack stores it. Out: (R, O) in the dtype of the activations; sums
are float32. With TRITON_INTERPRET=1 the same code runs on the CPU, for tests. Importing this needs Triton.

Shapes: R rows, O outputs, I inputs, W inputs at a time.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from edgetts.backends.kernels import triton_common as common
from edgetts.backends.kernels.base import Epilogue, on_device
from edgetts.backends.kernels.triton_common import finish

_WIDTH = 128  # inputs per step, few rows
_DOT_WIDTH = 64  # inputs per step, many rows


@triton.jit  # type: ignore[untyped-decorator]
def _few_kernel(  # type: ignore[no-untyped-def]
    x_ptr, codes_ptr, scales_ptr, bias_ptr, residual_ptr, y_ptr, n_rows, n_outputs, n_inputs, n_steps,
    has_bias: tl.constexpr, gelu: tl.constexpr, has_residual: tl.constexpr,
    n: tl.constexpr, block: tl.constexpr, width: tl.constexpr,
):  # fmt: skip
    """One program: `block` outputs of `n` rows over one split of the inputs."""
    outputs = tl.program_id(0) * block + tl.arange(0, block)  # (O,)
    rows = tl.program_id(1) * n + tl.arange(0, n)  # (R,)
    split = tl.program_id(2)
    there, valid = outputs < n_outputs, rows < n_rows
    total = tl.zeros((n, block, width), tl.float32)
    for step in range(split * n_steps, (split + 1) * n_steps):
        inputs = step * width + tl.arange(0, width)  # (W,)
        inside = inputs < n_inputs
        seen = valid[:, None] & inside[None, :]
        x = tl.load(x_ptr + rows[:, None] * n_inputs + inputs[None, :], mask=seen, other=0.0).to(tl.float32)
        mask = there[:, None] & inside[None, :]
        codes = tl.load(codes_ptr + outputs[:, None] * n_inputs + inputs[None, :], mask=mask, other=0)
        total += codes.to(tl.float32)[None] * x[:, None]
    scale = tl.load(scales_ptr + outputs, mask=there, other=0.0).to(tl.float32)
    sums = tl.sum(total, axis=2) * scale[None, :]  # (R, O)
    at = split * n_rows * n_outputs + rows[:, None] * n_outputs + outputs[None, :]
    mask = valid[:, None] & there[None, :]
    finish(sums, bias_ptr, residual_ptr, y_ptr, at, outputs[None, :], mask, has_bias, gelu, has_residual)


@triton.jit  # type: ignore[untyped-decorator]
def _many_kernel(  # type: ignore[no-untyped-def]
    x_ptr, codes_ptr, scales_ptr, bias_ptr, residual_ptr, y_ptr, n_rows, n_outputs, n_inputs,
    has_bias: tl.constexpr, gelu: tl.constexpr, has_residual: tl.constexpr,
    n: tl.constexpr, block: tl.constexpr, width: tl.constexpr, wide: tl.constexpr,
):  # fmt: skip
    """One program: `block` outputs of `n` rows by matrix tiles. int8 codes are exact in fp16, bf16 and fp32."""
    outputs = tl.program_id(0) * block + tl.arange(0, block)  # (O,)
    rows = tl.program_id(1) * n + tl.arange(0, n)  # (R,)
    there, valid = outputs < n_outputs, rows < n_rows
    kind = tl.float32 if wide else x_ptr.dtype.element_ty
    total = tl.zeros((n, block), tl.float32)
    for start in range(0, n_inputs, width):
        inputs = start + tl.arange(0, width)  # (W,)
        inside = inputs < n_inputs
        seen = valid[:, None] & inside[None, :]
        x = tl.load(x_ptr + rows[:, None] * n_inputs + inputs[None, :], mask=seen, other=0.0).to(kind)  # (R, W)
        mask = inside[:, None] & there[None, :]
        codes = tl.load(codes_ptr + outputs[None, :] * n_inputs + inputs[:, None], mask=mask, other=0)  # (W, O)
        total += tl.dot(x, codes.to(kind), input_precision="ieee")
    scale = tl.load(scales_ptr + outputs, mask=there, other=0.0).to(tl.float32)
    at = rows[:, None] * n_outputs + outputs[None, :]
    mask = valid[:, None] & there[None, :]
    finish(
        total * scale[None, :], bias_ptr, residual_ptr, y_ptr, at, outputs[None, :], mask,
        has_bias, gelu, has_residual,
    )  # fmt: skip


def int8_linear(x: Tensor, codes: Tensor, scales: Tensor, epilogue: Epilogue | None = None) -> Tensor:
    """x (R, I) by codes (O, I), scales (O,) -> (R, O), with its epilogue."""
    epilogue = epilogue or Epilogue()
    x = x.contiguous()
    y = torch.empty(len(x), len(codes), device=x.device, dtype=x.dtype)
    with on_device(x):
        (_few if len(x) <= common.FEW else _many)(x, codes, scales, y, epilogue)
    return y


def _few(x: Tensor, codes: Tensor, scales: Tensor, y: Tensor, epilogue: Epilogue) -> None:
    (n_rows, n_outputs), n_inputs = y.shape, codes.shape[1]
    n, block = common.few_rows(n_rows), common.BLOCK_OUTPUTS
    grid = (triton.cdiv(n_outputs, block), triton.cdiv(n_rows, n))
    n_splits, n_steps = common.splits(grid[0] * grid[1], triton.cdiv(n_inputs, _WIDTH), x.device)
    whole = (*grid, n_splits)
    where, then = y, epilogue
    if n_splits > 1:
        where, then = torch.empty(n_splits, *y.shape, device=x.device, dtype=torch.float32), Epilogue()
    pointers, flags = common.with_epilogue(where, then)
    sizes = (n_rows, n_outputs, n_inputs, n_steps)
    launch = _few_kernel[whole]
    launch(x, codes, scales, *pointers, where, *sizes, *flags, n, block, _WIDTH)
    if n_splits > 1:
        common.sum_splits(where, y, epilogue)


def _many(x: Tensor, codes: Tensor, scales: Tensor, y: Tensor, epilogue: Epilogue) -> None:
    (n_rows, n_outputs), n_inputs = y.shape, codes.shape[1]
    n = common.dot_rows(n_rows, _DOT_WIDTH)  # its only product fits with 64 rows in any type
    grid = (triton.cdiv(n_outputs, common.DOT_OUTPUTS), triton.cdiv(n_rows, n))
    pointers, flags = common.with_epilogue(y, epilogue)
    sizes = (n_rows, n_outputs, n_inputs)
    _many_kernel[grid](
        x, codes, scales, *pointers, y, *sizes, *flags, n, common.DOT_OUTPUTS, _DOT_WIDTH, common.is_wide(x)
    )
