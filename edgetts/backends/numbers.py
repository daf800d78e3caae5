"""The dtype that each stage starts with, by device and compute mode.

`networks.Networks` changes a stage to float32 after an overflow; kernels for quantized weights say what they round to
(`kernels.base.Kernel`).

In: a device and a `compute.Compute`. Out: `Numbers`, read by the loaders of networks. It does not know networks or
kernels.

- `reference` and `exact`: float32 everywhere. On CUDA also without TF32, which keeps 10 of 23 mantissa bits.
- `fast` on CUDA: the GPT with its cache and head in bfloat16, which has the range of float32 (float16 below compute
  capability 8.0, which has no bfloat16 products); DiT and vocoder in float16, whose 10 mantissa bits lose less than
  bfloat16's 7 (recipes/README.md).
- `fast` on the CPU: the GPT in float32 with its quantized weights; DiT and vocoder in bfloat16 where the processor has
  bfloat16 products.

Always float32: the state of the flow, the last layers of the vocoder, and frequency and angle of its activation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from edgetts.compute import COMPUTE, Compute

_CUDA_BF16 = (8, 0)  # lowest compute capability with bfloat16 products


@dataclass(frozen=True)
class Numbers:
    """Dtypes by stage."""

    gpt: torch.dtype  # embeddings, norms and activations
    kv_cache: torch.dtype
    head: torch.dtype  # of the GPT; its scores are float32
    dit: torch.dtype
    vocoder: torch.dtype
    training: torch.dtype = torch.float32  # voice adaptation: float16 gradients would underflow without loss scaling
    flow_state: torch.dtype = torch.float32
    ends: torch.dtype = torch.float32  # the vocoder's last layers and the samples
    snake: torch.dtype = torch.float32  # frequency, gain and angle of SnakeBeta
    tf32: bool = False  # whether float32 products may use TF32

    def names(self) -> dict[str, str]:
        """The dtypes as text, for reports."""
        stages = ("gpt", "kv_cache", "head", "dit", "vocoder")
        return {stage: dtype_name(getattr(self, stage)) for stage in stages}


def dtype_name(dtype: torch.dtype) -> str:
    """For example "float16"."""
    return str(dtype).removeprefix("torch.")


def numbers_of(device: torch.device, compute: Compute) -> Numbers:
    """The dtypes of a compute mode on a device."""
    if compute != "fast":
        return _all(torch.float32)
    if device.type == "cuda":
        has_bf16 = torch.cuda.get_device_capability(device) >= _CUDA_BF16
        gpt = torch.bfloat16 if has_bf16 else torch.float16
        training = torch.bfloat16 if has_bf16 else torch.float32
        half = torch.float16
        return Numbers(gpt=gpt, kv_cache=gpt, head=gpt, dit=half, vocoder=half, training=training, tf32=True)
    half = torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32
    whole = torch.float32
    return Numbers(gpt=whole, kv_cache=whole, head=whole, dit=half, vocoder=half, training=half)


def _all(dtype: torch.dtype) -> Numbers:
    return Numbers(gpt=dtype, kv_cache=dtype, head=dtype, dit=dtype, vocoder=dtype)


def forbid_tf32(device: torch.device, numbers: Numbers) -> None:
    """Turn TF32 off for this process on CUDA, unless `numbers` allows it."""
    if device.type == "cuda" and not numbers.tf32:
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False


def default_compute(device: torch.device, defaults: Mapping[str, Any], quality: Mapping[str, Any] | None) -> Compute:
    """The default compute mode: the pack's own, else `fast` on CUDA, else by the pack's measurements.

    defaults, quality: of the pack's manifest. On the CPU: `fast` if the quality report measured it in the dtypes of
    this processor (`quality["compute"]["fast"]`), else `exact`.
    """
    named: Compute | None = defaults.get(COMPUTE)
    if named is not None:
        return named
    if device.type == "cuda":
        return "fast"
    of: Any = quality
    for key in (COMPUTE, "fast", "numbers"):
        of = of.get(key) if isinstance(of, Mapping) else None
    return "fast" if of == numbers_of(device, "fast").names() else "exact"
