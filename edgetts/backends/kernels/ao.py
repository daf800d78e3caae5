"""Products by torchao (the extra `torchao`): int8 by int8 on CUDA, and packed integers on ARM processors.

In: a weight. Out: `int8_weight` gives one that `F.linear` multiplies in int8, with activations rounded to 8 bits per
frame; `KERNELS` serve the GPT's quantized weights on ARM CPUs (KleidiAI), tried and measured like any other. torchao is
imported when one of them is used, as it may be missing.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgetts.backends.kernels.base import BF16, CPU, Kernel
from edgetts.distribution import install
from edgetts.errors import UsageError
from edgetts.pack.schemes import Quantized, int4_zero_points, unpack_nibbles

W8A8 = "torchao-w8a8"
"""The kernel name for the DiT's linear layers in int8; the GPT then gets the kernels of `auto`."""
NAME = "torchao"

_W8A8_CAPABILITY = (8, 0)  # of CUDA, lowest with fast int8 products
_ARM = ("aarch64", "arm64")
_INT4_CENTER = 8


def dit_linear(kernel: str, device: torch.device) -> Callable[[Tensor], Tensor] | None:
    """A function that converts the weights of the DiT's linear layers; None: they stay as they are.

    Raises UsageError for W8A8 where torchao or the device does not have it.
    """
    if kernel != W8A8:
        return None
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < _W8A8_CAPABILITY:
        raise UsageError(f"The kernel {W8A8} needs a CUDA device of capability 8.0 or more, and this is {device}.")
    _import()
    return int8_weight


def int8_weight(weight: Tensor) -> Tensor:
    """The weight (O, I) of a linear layer, rounded to int8 with one scale per output."""
    quantization = _import()
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    layer.weight = nn.Parameter(weight, requires_grad=False)
    quantization.quantize_(layer, quantization.Int8DynamicActivationInt8WeightConfig(set_inductor_config=False))
    return layer.weight


def _import() -> Any:
    try:
        from torchao import quantization
    except ImportError as error:
        raise UsageError(f"torchao is not installed: `{install('torchao')}`.") from error
    return quantization


def _pack(weight: Quantized) -> Any:
    if platform.machine() not in _ARM:
        raise UsageError("it is for ARM processors")
    from torchao.quantization.quantize_.workflows import (
        IntxOpaqueTensor,
        IntxPackingFormat,
        IntxUnpackedToInt8Tensor,
    )

    codes, scales, zeros, dtype = _parts(weight)
    unpacked = IntxUnpackedToInt8Tensor(
        codes,
        scales,
        zeros,
        dtype,
        (1, weight.group_size or weight.shape[1]),
        torch.float32,
        "int8_asym_per_token",
    )
    return IntxOpaqueTensor.from_intx_unpacked_to_int8_tensor(
        unpacked, intx_packing_format=IntxPackingFormat.OPAQUE_TORCHAO_AUTO
    )


def _parts(weight: Quantized) -> tuple[Tensor, Tensor, Tensor, torch.dtype]:
    """Codes (O, I), scales and zero points (O, I / G) as torchao has them: value = (code - zero) * scale."""
    scales = weight.parts["scales"].to(torch.float32).reshape(weight.shape[0], -1)
    if weight.scheme == "int8_channel":
        return weight.parts["codes"], scales, torch.zeros_like(scales, dtype=torch.int8), torch.int8
    zeros = int4_zero_points(weight.parts["zeros"]).float() - _INT4_CENTER
    if not torch.equal(zeros, zeros.round()):
        raise UsageError("zero points of this weight lie between codes")
    codes = unpack_nibbles(weight.parts["codes"]).to(torch.int8) - _INT4_CENTER
    return codes, scales, zeros.to(torch.int8), torch.int4  # type: ignore[attr-defined]


def _multiply(packed: Any, x: Tensor, bias: Tensor | None) -> Tensor:
    y = F.linear(x.to(torch.float32), packed).to(x.dtype)
    return y if bias is None else y + bias.to(y.dtype)


KERNELS = tuple(
    Kernel(NAME, scheme, CPU, BF16, _pack, _multiply, rounds_to="int8", needs_stored=False)
    for scheme in ("int4_group", "int8_channel")
)
