"""The conditioning of IndexTTS-2.5: one speaker token, projected from CAM++'s style, and the emotion vector.

Enrollment only. Source: upstream indextts/gpt/model_v2.py with `spk_cond_mode="campplus"`.
"""

from __future__ import annotations

from torch import Tensor, nn

from edgetts.families.indextts25.dims import IndexTTS25Config
from edgetts.models.conditioning import EXPECTED_EXTRAS as ALL_EXTRAS
from edgetts.models.conditioning import EmotionConditioning

EXPECTED_EXTRAS = tuple(name for name in ALL_EXTRAS if name.startswith("emo_"))


class StyleConditioning(EmotionConditioning):
    """The two networks of enrollment."""

    def __init__(self, config: IndexTTS25Config) -> None:
        super().__init__(config.conditioning)
        self.spk_emb_proj = nn.Linear(config.speaker_encoder.embedding_size, config.conditioning.model_dim)

    def speaker_token(self, style: Tensor) -> Tensor:
        """style (B, D) of a recording -> speaker token (B, 1, C), the GPT's only conditioning latent."""
        token: Tensor = self.spk_emb_proj(style).unsqueeze(1)
        return token
