"""What a voice of IndexTTS-2.5 holds: the recording's features themselves, and one token of its style."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from edgetts.families.indextts25.conditioning import StyleConditioning
from edgetts.models.repcodec import Quantizer
from edgetts.progress import Progress

if TYPE_CHECKING:
    from edgetts.pack.load import Pack


def reference(_pack: Pack, features: Tensor, _device: torch.device, _progress: Progress) -> dict[str, Tensor]:
    """The voice's field that the prompt condition is made of, from semantic features (1, T, C)."""
    return {"reference_features": features.float().cpu()}


def speaker_latents(conditioning: Any, _features: Tensor, style: Tensor) -> Tensor:
    """(1, 1, C) of a recording's style (1, D)."""
    assert isinstance(conditioning, StyleConditioning)
    return conditioning.speaker_token(style)


def reference_features(voice: Any, _quantizer: Quantizer, device: torch.device) -> Tensor:
    """Semantic features (1, T, C) of which the prompt condition is made."""
    features: Tensor = voice.reference_features.to(device)
    return features
