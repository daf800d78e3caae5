"""The two conditioners of the GPT: speaker and emotion.

In: semantic features of a recording, 50 per second, normalized by the model's statistics. Out: the latents at the start
of the GPT's input, and one emotion vector that is added to each of them. It does not know the GPT or how emotions are
mixed. Enrollment only.

Each is a conformer followed by a perceiver resampler; the emotion conditioner has a single latent and two more linear
layers.

Source: Zhou et al., "IndexTTS2" (2025), section 3; parameter names as upstream.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from edgetts.models.conformer import EXPECTED_EXTRAS as CONFORMER_EXTRAS
from edgetts.models.conformer import ConformerEncoder, subsampled_mask
from edgetts.models.perceiver import PerceiverResampler
from edgetts.pack.config import ConditioningConfig, EmotionConditioningConfig

EXPECTED_EXTRAS = tuple(
    f"{encoder}.{name}" for encoder in ("conditioning_encoder", "emo_conditioning_encoder") for name in CONFORMER_EXTRAS
)


class EmotionConditioning(nn.Module):
    """The emotion conditioner. Derived classes add who speaks."""

    def __init__(self, config: EmotionConditioningConfig) -> None:
        super().__init__()
        self._add_speaker(config)
        self.emo_conditioning_encoder = ConformerEncoder(config.emotion_conformer)
        self.emo_perceiver_encoder = PerceiverResampler(config.emotion_perceiver)
        self.emovec_layer = nn.Linear(config.emotion_perceiver.dim, config.model_dim)
        self.emo_layer = nn.Linear(config.model_dim, config.model_dim)

    def _add_speaker(self, config: Any) -> None:
        """Networks that make the speaker's latents."""

    def emotion_vector(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """The emotion of a recording: features (B, T, C), mask as of `speaker_latents` -> (B, model_dim)."""
        encoded = self.emo_conditioning_encoder(features, mask)  # (B, T', C)
        pooled = self.emo_perceiver_encoder(encoded, None if mask is None else subsampled_mask(mask))
        vector: Tensor = self.emo_layer(self.emovec_layer(pooled[:, 0]))
        return vector


class Conditioning(EmotionConditioning):
    """Both conditioners."""

    def _add_speaker(self, config: ConditioningConfig) -> None:
        self.conditioning_encoder = ConformerEncoder(config.speaker_conformer)
        self.perceiver_encoder = PerceiverResampler(config.speaker_perceiver)

    def speaker_latents(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """The speaker of a recording, without its emotion.

        features: (B, T, C) normalized semantic features, at least 3 frames.
        mask: (B, T), non-zero for real frames, padding on the right; None: no padding.
        Returns (B, n_latents, model_dim).
        """
        encoded = self.conditioning_encoder(features, mask)  # (B, T', C)
        latents: Tensor = self.perceiver_encoder(encoded, None if mask is None else subsampled_mask(mask))
        return latents
