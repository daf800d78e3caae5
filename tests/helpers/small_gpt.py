"""A GPT of two layers with random weights that never stops, and a prompt, for fast tests."""

from __future__ import annotations

import dataclasses

import torch

from edgetts.decoding.prompt import GPTPrompt
from edgetts.models.gpt import GPT
from edgetts.pack.config import GPTConfig

CONFIG = GPTConfig(
    model_dim=64,
    n_layers=2,
    n_heads=2,
    n_text_tokens=50,
    n_mel_codes=130,
    n_text_positions=60,
    n_mel_positions=2700,
    start_text_token=0,
    stop_text_token=1,
    start_mel_token=128,
    stop_mel_token=129,
    n_conditioning_latents=8,
)


def small_gpt(device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32, n_layers: int = 2) -> GPT:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        gpt = GPT(dataclasses.replace(CONFIG, n_layers=n_layers)).eval().requires_grad_(False)
    gpt.mel_head.weight *= 8  # far from ties
    gpt.mel_head.bias[CONFIG.stop_mel_token] = -1e4
    return gpt.to(device, dtype)


def small_prompt(gpt: GPT) -> GPTPrompt:
    """On the GPT's device."""
    generator = torch.Generator().manual_seed(0)
    latents, emotion = (
        torch.randn(1, 8, CONFIG.model_dim, generator=generator),
        torch.randn(1, CONFIG.model_dim, generator=generator),
    )
    return GPTPrompt.build(gpt, latents, emotion, torch.randint(2, 50, (1, 12), generator=generator))
