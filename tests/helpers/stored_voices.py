"""Voices for stores."""

from __future__ import annotations

from typing import Any

import torch

from edgetts.voices.voice import Voice

ENCODERS = "e" * 64


def make_voice(encoder_id: str = ENCODERS, **adaptation: Any) -> Voice:
    return Voice(
        conditioning_latents=torch.zeros(1, 2, 3),
        emotion_vector=torch.zeros(1, 3),
        emotion_base=torch.zeros(1, 3),
        style=torch.zeros(1, 4),
        reference_codes=torch.zeros(1, 5, dtype=torch.int64),
        reference_mel=torch.zeros(1, 6, 7),
        encoder_id=encoder_id,
        seconds=2.5,
        name="recording",
        **adaptation,
    )
