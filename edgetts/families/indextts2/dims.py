"""IndexTTS-2 as data: dimensions, relations between them, components.

Source: upstream indextts/infer_v2.py, gpt/model_v2.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgetts.families.family import Family
from edgetts.pack.config import ConditioningConfig, ModelConfig, Relation, S2MelConfig
from edgetts.pack.relations import conditioner_fits


@dataclass(frozen=True)
class IndexTTS2Config(ModelConfig):
    """Every dimension of an IndexTTS-2."""

    family: ClassVar[str] = "indextts-2"
    has_latent_pass: ClassVar[bool] = True
    relations: ClassVar[tuple[Relation, ...]] = (
        (
            "conditioning.speaker_conformer and speaker_perceiver must fit together",
            lambda m: conditioner_fits(m, m.conditioning.speaker_conformer, m.conditioning.speaker_perceiver),
        ),
        (
            "conditioning must give gpt.n_conditioning_latents of gpt.model_dim and one emotion",
            lambda m: (
                m.conditioning.speaker_perceiver.n_latents == m.gpt.n_conditioning_latents
                and m.conditioning.speaker_perceiver.dim == m.conditioning.model_dim == m.gpt.model_dim
                and m.conditioning.emotion_perceiver.n_latents == 1
            ),
        ),
        (
            "s2mel.latent_projection_dims must lead from gpt.model_dim to semantic_codec.hidden_size",
            lambda m: (
                (m.s2mel.latent_projection_dims[0], m.s2mel.latent_projection_dims[-1])
                == (m.gpt.model_dim, m.semantic_codec.hidden_size)
                and len(m.s2mel.latent_projection_dims) > 1
            ),
        ),
    )

    conditioning: ConditioningConfig
    s2mel: S2MelConfig


INDEXTTS_2 = Family(
    name=IndexTTS2Config.family,
    title="IndexTTS-2",
    folder="edgetts.families.indextts2",
    model=IndexTTS2Config,
    enroll_components=(
        "semantic_encoder",
        "semantic_statistics",
        "codec_encoder",
        "quantizer",
        "speaker_encoder",
        "conditioning",
    ),
    run_components=("quantizer", "emotion", "gpt", "s2mel", "vocoder"),
    voice_reference="reference_codes",
)
