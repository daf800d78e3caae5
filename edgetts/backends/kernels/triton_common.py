"""Shared by the Triton products: epilogue, split-K reduction, launch sizes.

With TRITON_INTERPRET=1 the same code runs on the CPU, for tests. Importing this needs Triton.
"""

from __future__ import annotations

import functools

import torch
import triton
import triton.language as tl
from torch import Tensor

from edgetts.backends.kernels.base import Epilogue

FEW = 4  # rows that share one read of the weight: 1 to 4 beams
BLOCK_OUTPUTS = 16  # per program, few rows
DOT_ROWS, DOT_OUTPUTS = (16, 32, 64), 64  # block sizes for many rows; `dot_rows` chooses
_WIDE_DEPTH_BYTES = 256  # of a row of tiles: 64 rows of them would need more than the 48 KiB that every card has
PROGRAMS_A_CORE = 2  # target; below it the inputs are split (split-K), so that a narrow output fills the GPU
_INTERPRETED_CORES = 8
_MAX_SPLITS = 8
_SUM_BLOCK = 256


@triton.jit  # type: ignore[untyped-decorator]
def finish(  # type: ignore[no-untyped-def]
    total, bias_ptr, residual_ptr, y_ptr, at, outputs, mask,
    has_bias: tl.constexpr, gelu: tl.constexpr, has_residual: tl.constexpr,
):  # fmt: skip
    """Apply bias, GELU (tanh) and residual to float32 sums and store them. `at`: indices into y and residual."""
    if has_bias:
        total += tl.load(bias_ptr + outputs + 0 * at, mask=mask, other=0.0).to(tl.float32)
    if gelu:
        inner = 0.7978845608028654 * (total + 0.044715 * total * total * total)  # sqrt(2 / pi)
        total = total * tl.sigmoid(2.0 * inner)
    if has_residual:
        total += tl.load(residual_ptr + at, mask=mask, other=0.0).to(tl.float32)
    tl.store(y_ptr + at, total.to(y_ptr.dtype.element_ty), mask=mask)


@triton.jit  # type: ignore[untyped-decorator]
def _sum_kernel(  # type: ignore[no-untyped-def]
    parts_ptr, bias_ptr, residual_ptr, y_ptr, n_values, n_outputs, n_splits,
    has_bias: tl.constexpr, gelu: tl.constexpr, has_residual: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Sum the splits (S, R, O) in a fixed order and apply the epilogue."""
    at = tl.program_id(0) * block + tl.arange(0, block)
    mask = at < n_values
    total = tl.zeros((block,), tl.float32)
    for split in range(n_splits):
        total += tl.load(parts_ptr + split * n_values + at, mask=mask, other=0.0)
    finish(total, bias_ptr, residual_ptr, y_ptr, at, at % n_outputs, mask, has_bias, gelu, has_residual)


def sum_splits(parts: Tensor, y: Tensor, epilogue: Epilogue) -> None:
    """parts (S, R, O) float32 -> y (R, O)."""
    n_values, n_outputs = y.numel(), y.shape[1]
    grid = (triton.cdiv(n_values, _SUM_BLOCK),)
    pointers, flags = with_epilogue(y, epilogue)
    _sum_kernel[grid](parts, *pointers, y, n_values, n_outputs, len(parts), *flags, _SUM_BLOCK)


def with_epilogue(y: Tensor, epilogue: Epilogue) -> tuple[tuple[Tensor, Tensor], tuple[bool, bool, bool]]:
    """Pointers and flags of an epilogue; an absent part gets y's pointer, which is not read."""
    bias, residual = epilogue.bias, epilogue.residual
    pointers = (y if bias is None else bias, y if residual is None else residual.contiguous())
    return pointers, (bias is not None, epilogue.gelu, residual is not None)


def is_wide(x: Tensor) -> bool:
    """Whether to use float32 tiles for any x: Triton's interpreter multiplies bfloat16 as integers."""
    return x.device.type == "cpu" and x.dtype == torch.bfloat16


def dot_rows(n_rows: int, depth_bytes: int) -> int:
    """Rows of one program for many rows. depth_bytes: of the inputs that a tile spans, in the type that multiplies."""
    if n_rows <= DOT_ROWS[0]:
        return DOT_ROWS[0]
    return DOT_ROWS[1] if depth_bytes >= _WIDE_DEPTH_BYTES else DOT_ROWS[2]


def few_rows(n_rows: int) -> int:
    """Rows per program: a power of two up to FEW."""
    n: int = min(FEW, triton.next_power_of_2(n_rows))
    return n


def splits(n_programs: int, n_steps: int, device: torch.device) -> tuple[int, int]:
    """The number of splits of the inputs, and the loop steps per split."""
    wanted = triton.cdiv(PROGRAMS_A_CORE * n_cores(device), n_programs)
    n_each = triton.cdiv(n_steps, max(1, min(wanted, _MAX_SPLITS, n_steps)))
    return triton.cdiv(n_steps, n_each), n_each


@functools.lru_cache(maxsize=16)
def n_cores(device: torch.device) -> int:
    if device.type == "cpu":
        return _INTERPRETED_CORES
    n_cores: int = torch.cuda.get_device_properties(device).multi_processor_count
    return n_cores
