"""Quantized weights of the shapes that the published GPT has, for the tests of what multiplies by them."""

from __future__ import annotations

import torch

from edgetts.pack.schemes import SCHEMES, Quantized
from edgetts.quant.schemes import SchemeRule, round_to_nearest

GPT_MATRICES = {"c_attn": (3840, 1280), "attn.c_proj": (1280, 1280), "c_fc": (5120, 1280), "mlp.c_proj": (1280, 5120)}
ROWS = (1, 2, 7, 64, 300)  # a beam, two, a few, a chunk of the latent pass, prefill
GROUPS = (32, 64, 128)  # values that share a scale


def quantized(scheme: str, group: int | None, shape: tuple[int, int], seed: int = 0) -> Quantized:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 0.02
    return Quantized(scheme, group, shape, round_to_nearest("w", weight, SchemeRule("*", scheme, group)))


def groups_of(scheme: str) -> tuple[int | None, ...]:
    return GROUPS if SCHEMES[scheme].grouped else (None,)
