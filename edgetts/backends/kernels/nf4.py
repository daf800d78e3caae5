"""NF4 through bitsandbytes, in float16: for x86 machines with a GPU without bfloat16."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from edgetts.backends.kernels.base import BF16, CUDA, Kernel
from edgetts.distribution import install
from edgetts.errors import UsageError
from edgetts.pack.schemes import NF4_LEVELS, Quantized


def _pack(weight: Quantized) -> Any:
    QuantState = _library().functional.QuantState  # noqa: N806

    codes = weight.parts["codes"]
    high_first = ((codes << 4) | (codes >> 4)).reshape(-1, 1)
    levels = torch.tensor(NF4_LEVELS, device=codes.device)
    state = QuantState(
        absmax=weight.parts["scales"].to(torch.float32).flatten(),
        shape=torch.Size(weight.shape),
        code=levels,
        blocksize=weight.group_size,
        quant_type="nf4",
        dtype=torch.float16,
    )
    return high_first, state


def _multiply(packed: Any, x: Tensor, bias: Tensor | None) -> Tensor:
    codes, state = packed
    fp16_bias = None if bias is None else bias.to(torch.float16)
    y: Tensor = _library().matmul_4bit(x.to(torch.float16), codes.t(), quant_state=state, bias=fp16_bias)
    return y.to(x.dtype)


def _library() -> Any:
    try:
        import bitsandbytes.functional
    except ImportError as error:
        raise UsageError(f"bitsandbytes is not installed: `{install('nf4')}`.") from error
    return bitsandbytes


KERNELS = (Kernel("bitsandbytes", "nf4_group", CUDA, BF16, _pack, _multiply, rounds_to="float16", needs_stored=False),)
