"""The parts of a voice that IndexTTS-2 computes its own way: the codes of the recording and 32 conditioning latents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from edgetts.models import registry
from edgetts.models.conditioning import Conditioning
from edgetts.models.repcodec import Quantizer
from edgetts.progress import Progress

if TYPE_CHECKING:
    from edgetts.pack.load import Pack


def reference(pack: Pack, features: Tensor, device: torch.device, progress: Progress) -> dict[str, Tensor]:
    """The field of the voice from which the prompt condition is computed, from semantic features (1, T, C)."""
    progress("semantic codes", 0.5)
    codec_encoder = registry.CODEC_ENCODER.load(pack, device)
    quantizer = registry.QUANTIZER.load(pack, device)
    return {"reference_codes": quantizer.encode(codec_encoder(features)).cpu()}


def speaker_latents(conditioning: Any, features: Tensor, _style: Tensor) -> Tensor:
    """Conditioning latents (1, N, C), from a recording's semantic features (1, T, C)."""
    assert isinstance(conditioning, Conditioning)
    return conditioning.speaker_latents(features)


def reference_features(voice: Any, quantizer: Quantizer, device: torch.device) -> Tensor:
    """Semantic features (1, T, C) for the prompt condition: the codebook entries of the recording's codes."""
    return quantizer.lookup(voice.reference_codes.to(device))
