"""PyTorch's products with int4 and int8 weights: on the CPU, and on CUDA without Triton.

On CUDA, int4 is tinygemm, which serves any number of rows from one layout; int8 is `_weight_int8pack_mm`, which some
torch builds have for the CPU only. Both compute in bfloat16.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from edgetts.backends.kernels.base import BF16, CPU, CUDA, Kernel, Repacked, for_few_rows, on_device
from edgetts.errors import UsageError
from edgetts.pack.schemes import Quantized, int4_zero_points, unpack_nibbles

_INT8_STEP = 32  # inputs that ATen's int8 kernels read per step
_INT4_CENTER = 8  # ATen's int4 kernels subtract it from the codes
_TILE_INPUTS = 16  # of tinygemm


def _scales_and_offsets(weight: Quantized, dtype: torch.dtype) -> Tensor:
    """(I / G, O, 2) in the layout of ATen's int4 kernels: value = (code - 8) * scale + offset."""
    scales = weight.parts["scales"].to(torch.float32)
    offsets = (_INT4_CENTER - int4_zero_points(weight.parts["zeros"])) * scales
    return torch.stack([scales.t(), offsets.t()], dim=-1).to(dtype).contiguous()


def _pack_int4(weight: Quantized) -> Repacked:
    codes = unpack_nibbles(weight.parts["codes"]).to(torch.int32)
    packed = torch._convert_weight_to_int4pack_for_cpu(codes, 1)
    return Repacked((packed, _scales_and_offsets(weight, torch.bfloat16)), weight)


def _int4(packed: Repacked, x: Tensor) -> Tensor:
    codes, scales = packed.tensors
    group = packed.stored.group_size or 0
    # Always bf16: ATen's kernels for other dtypes are not vectorized.
    return torch._weight_int4pack_mm_for_cpu(x.to(torch.bfloat16), codes, group, scales)


def _pack_int8(weight: Quantized) -> Repacked:
    if weight.shape[1] % _INT8_STEP:  # ATen does not check, and reads out of bounds
        raise UsageError(f"{weight.shape[1]} inputs are not a multiple of {_INT8_STEP}")
    return Repacked((weight.parts["codes"], weight.parts["scales"].to(torch.bfloat16)), weight)


def _int8(packed: Repacked, x: Tensor) -> Tensor:
    codes, scales = packed.tensors
    return torch._weight_int8pack_mm(x.to(torch.bfloat16), codes, scales)


def _pack_tinygemm(weight: Quantized) -> tuple[Tensor, Tensor, int]:
    n_inputs = weight.shape[1]
    # The most tiles of 16 inputs that divide the width: 1280 stays 1280 and is not padded to 2048.
    tiles = next((t for t in (8, 4, 2) if n_inputs % (_TILE_INPUTS * t) == 0), None)
    if tiles is None:
        raise UsageError(f"{n_inputs} inputs are not a multiple of {2 * _TILE_INPUTS}")
    codes = weight.parts["codes"]
    high_first = (codes << 4) | (codes >> 4)  # tinygemm has the high nibble first
    with on_device(codes):
        packed = torch._convert_weight_to_int4pack(high_first, tiles)
    return packed, _scales_and_offsets(weight, torch.bfloat16), weight.group_size or 0


def _tinygemm(packed: Any, x: Tensor, bias: Tensor | None) -> Tensor:
    codes, scales, group = packed
    with on_device(x):
        y = torch._weight_int4pack_mm(x.to(torch.bfloat16), codes, group, scales).to(x.dtype)
    return y if bias is None else y + bias.to(y.dtype)


CPU_KERNELS = (
    Kernel("aten", "int4_group", CPU, BF16, _pack_int4, for_few_rows(_int4), rounds_to="bfloat16"),
    Kernel("aten", "int8_channel", CPU, BF16, _pack_int8, for_few_rows(_int8), rounds_to="bfloat16"),
)
CUDA_KERNELS = (
    Kernel(
        *("tinygemm", "int4_group", CUDA, BF16, _pack_tinygemm, _tinygemm),
        rounds_to="bfloat16",
        needs_stored=False,
    ),
    # Shares its codes with the stored weight.
    Kernel("int8pack", "int8_channel", CUDA, BF16, _pack_int8, for_few_rows(_int8), rounds_to="bfloat16"),
)
