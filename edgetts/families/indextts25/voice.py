"""The parts of a voice that IndexTTS-2.5 computes its own way: semantic features and one speaker token."""

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
    """The field of the voice from which the prompt condition is computed, from semantic features (1, T, C)."""
    return {"reference_features": features.float().cpu()}


def speaker_latents(conditioning: Any, _features: Tensor, style: Tensor) -> Tensor:
    """The speaker token (1, 1, C), from a recording's style (1, D)."""
    assert isinstance(conditioning, StyleConditioning)
    return conditioning.speaker_token(style)


def reference_features(voice: Any, _quantizer: Quantizer, device: torch.device) -> Tensor:
    """Semantic features (1, T, C) for the prompt condition."""
    features: Tensor = voice.reference_features.to(device)
    return features
