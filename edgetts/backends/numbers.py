"""Which number type each stage computes in, by device and way to compute: the one place that decides it.

In: a device and a `settings.Compute`. Out: `Numbers`, which whoever loads or prepares a network reads. It knows no
networks and no kernels.

- `reference` and `exact`: float32 everywhere. On CUDA also without TF32, which would keep 10 bits of 23.
- `fast` on CUDA: the GPT with its cache and head in bfloat16, which has the range of float32 (float16 on cards before
  capability 8.0, which multiply in nothing narrower); DiT and vocoder in float16, whose 10 bits cost less than
  bfloat16's 7 (recipes/README.md).
- `fast` on the CPU: the GPT in float32 beside its quantized weights, DiT and vocoder in bfloat16 where the processor
  multiplies in it.

In every way float32 are the state of the flow, both ends of the vocoder, and frequency and angle of its activation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from edgetts.decoding.settings import COMPUTE, Compute

_CUDA_BF16 = (8, 0)  # compute capability with bfloat16 products; earlier ones have float16 only


@dataclass(frozen=True)
class Numbers:
    """Number types by stage."""

    gpt: torch.dtype  # embeddings, norms and what is multiplied by quantized weights
    kv_cache: torch.dtype
    head: torch.dtype  # of the GPT; its scores are float32 from there on
    dit: torch.dtype
    vocoder: torch.dtype
    training: torch.dtype = torch.float32  # of adaptation to a voice: without loss scaling float16 would lose gradients
    flow_state: torch.dtype = torch.float32
    ends: torch.dtype = torch.float32  # the vocoder's last layers and the samples
    snake: torch.dtype = torch.float32  # frequency, gain and angle of SnakeBeta
    tf32: bool = False  # float32 products may be made of 10 bits

    def names(self) -> dict[str, str]:
        """The types as text, for reports."""
        stages = ("gpt", "kv_cache", "head", "dit", "vocoder")
        return {stage: dtype_name(getattr(self, stage)) for stage in stages}


def dtype_name(dtype: torch.dtype) -> str:
    """Such as float16."""
    return str(dtype).removeprefix("torch.")


def numbers_of(device: torch.device, compute: Compute) -> Numbers:
    """The number types of a way to compute on a device."""
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
    """Where `numbers` say so, products and convolutions in float32 on CUDA are that from now on, in this process."""
    if device.type == "cuda" and not numbers.tf32:
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False


def default_compute(device: torch.device, defaults: Mapping[str, Any], quality: Mapping[str, Any] | None) -> Compute:
    """The way to compute where nobody chose one: what the pack names, else `fast` on CUDA, else by what was measured.

    defaults, quality: of the pack's manifest. On the CPU `fast` is taken where the quality report says what it costs
    this pack in the number types of this processor (`quality["compute"]["fast"]`), and `exact` where nobody measured
    it.
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
