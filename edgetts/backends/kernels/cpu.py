"""The native kernels for the CPU, with activations in 16 or 8 bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from edgetts.backends.kernels.base import BF16, CPU, EXACT, Kernel
from edgetts.errors import UsageError
from edgetts.native import linear as native
from edgetts.native.library import find_library
from edgetts.pack.schemes import Quantized, int4_zero_points

ROUNDED = "native-int8"


def _pack(weight: Quantized) -> native.Packed:
    library, threads = find_library(), torch.get_num_threads()
    if library is None:
        raise UsageError("the compiled kernels were not built")
    parts = weight.parts
    if weight.scheme == "int8_channel":
        return native.pack_int8(parts["codes"], parts["scales"], library=library, n_threads=threads)
    zeros = int4_zero_points(parts["zeros"])
    group = weight.group_size or 0
    return native.pack_int4(parts["codes"], parts["scales"], zeros, group, library=library, n_threads=threads)


def _multiply(activations: native.Activations) -> Callable[[Any, Tensor, Tensor | None], Tensor]:
    def multiply(packed: native.Packed, x: Tensor, bias: Tensor | None) -> Tensor:
        wide = x if x.dtype in (torch.float32, torch.bfloat16) else x.to(torch.float32)
        y = native.linear(
            packed,
            wide,
            None if bias is None else bias.to(torch.float32),
            activations=activations,
            n_threads=torch.get_num_threads(),
        )
        return y.to(x.dtype)

    return multiply


_WIDE, _NARROW = _multiply(native.Activations.INT16), _multiply(native.Activations.INT8)

KERNELS = (
    Kernel("native", "int4_group", CPU, EXACT, _pack, _WIDE, rounds_to="int16"),
    Kernel("native", "int8_channel", CPU, EXACT, _pack, _WIDE, rounds_to="int16"),
)
# Activations in 8 bits: used by name and in the compute mode `fast`. Measured on an AVX-512 VNNI processor with layers
# of the published width: a step takes 0 to 7 % less time with one row, 4 to 19 % less with three. Quality of the
# built-in model against dequantized weights over at least 245 codes: 99 to 100 % of greedy choices agree, KL divergence
# 2e-4 to 4e-4 nats per code (tests/backends/test_greedy_codes.py prints both).
ROUNDED_KERNELS = (
    Kernel(ROUNDED, "int4_group", CPU, BF16, _pack, _NARROW, rounds_to="int8"),
    Kernel(ROUNDED, "int8_channel", CPU, BF16, _pack, _NARROW, rounds_to="int8"),
)
