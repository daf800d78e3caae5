"""What of a voice the prompt condition is made of; each family has its own (`voice` in its folder)."""

from __future__ import annotations

import torch
from torch import Tensor

from edgetts.families import family_of
from edgetts.models.repcodec import Quantizer
from edgetts.pack.config import ModelConfig
from edgetts.voices.voice import Voice


def reference_features(voice: Voice, config: ModelConfig, quantizer: Quantizer, device: torch.device) -> Tensor:
    """Semantic features (1, T, C) of the voice's recording, as S2Mel was trained on them."""
    features: Tensor = family_of(config).part("voice").reference_features(voice, quantizer, device)
    return features
