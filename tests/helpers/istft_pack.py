"""A small vocoder at the frame rate with random weights, and packs that have it in place of their own."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from edgetts.models.istft_vocoder import IstftVocoder
from edgetts.pack.config import IstftVocoderConfig, PitchConfig
from edgetts.pack.load import open_pack

ISTFT = IstftVocoderConfig(
    n_mels=80,
    hop_length=256,
    n_fft=512,
    frames_per_mel=2,
    channels=16,
    n_layers=2,
    ffn_dim=32,
    pitch=PitchConfig(channels=16, n_layers=1, ffn_dim=32, lowest=0.7, classes_per_octave=12, n_classes=36),
)


def filled(config: IstftVocoderConfig, seed: int = 0) -> IstftVocoder:
    """With random weights that make every part matter and no sound clip."""
    vocoder = IstftVocoder(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in vocoder.named_parameters():
            if name.endswith("norm.weight"):
                continue
            scale = 1.0 if name.endswith("gamma") else parameter[0].numel() ** -0.5
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
        vocoder.head.weight *= 0.3
        vocoder.envelope.weight.fill_(0.25 / config.n_mels)
        vocoder.envelope.bias.fill_(-2.5)
    return vocoder


def istft_pack(source: Path, target: Path) -> Path:
    """The pack of `source`, at `target`, with this vocoder."""
    from recipes.tiny.stages.swap_vocoder import swap_vocoder

    audio = open_pack(source).config.audio
    config = dataclasses.replace(ISTFT, n_mels=audio.n_mels, hop_length=audio.hop_length)
    return swap_vocoder(source, target, filled(config), dtype="float32")
