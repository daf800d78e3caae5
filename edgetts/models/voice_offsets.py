"""Offsets of an adapted voice: small additions to the DiT's style and adaLN modulation.

In: one flat row of values from a voice file. Out: an offset of the style vector, and offsets of all adaLN gains and
biases. The weights do not change, so one network serves all voices.

It does not know how the values are trained (`edgetts.voices.adapt`).

Source: Chen et al. 2021, "AdaSpeech: adaptive text to speech for custom voice" (conditional layer norms).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from edgetts.models.dit import AdaLNModulation
from edgetts.pack.config import DiTConfig


class VoiceOffsets(NamedTuple):
    """Views into one flat row (1, N)."""

    style: Tensor  # (1, D)
    times: AdaLNModulation  # of one row


def _sizes(config: DiTConfig) -> tuple[int, int, int, int]:
    head = config.wavenet.hidden_dim
    n_norms = 2 * config.depth + 1
    return config.style_dim, n_norms * 2 * config.hidden_dim, 2 * head * config.wavenet.n_layers, 2 * head


def n_offsets(config: DiTConfig) -> int:
    """N: the number of values of one voice."""
    return sum(_sizes(config))


def voice_offsets(flat: Tensor, config: DiTConfig) -> VoiceOffsets:
    """The offsets in one flat row (1, N)."""
    style, norms, wavenet, final = torch.split(flat, list(_sizes(config)), dim=1)
    times = AdaLNModulation(norms.view(2 * config.depth + 1, 1, 1, -1), wavenet.unsqueeze(-1), final.unsqueeze(1))
    return VoiceOffsets(style, times)
