"""IndexTTS-2.5 as data: dimensions, relations between them, components.

Source: upstream indextts/infer_v2_5.py, gpt/model_v2.py with `spk_cond_mode="campplus"`, codec/models.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from edgetts.families.family import Family
from edgetts.pack.config import GPTConfig, ModelConfig, Relation, SemanticCodecConfig
from edgetts.pack.ranges import Range


@dataclass(frozen=True)
class LanguageGPTConfig(GPTConfig):
    """A `GPTConfig` with an embedding of the language, which is added to every text position."""

    n_languages: int  # rows of the language embedding


@dataclass(frozen=True)
class UpsamplingCodecConfig(SemanticCodecConfig):
    """A codec whose decoder outputs several features per code."""

    features_per_code: int


@dataclass(frozen=True)
class IndexTTS25Config(ModelConfig):
    """Every dimension of an IndexTTS-2.5."""

    family: ClassVar[str] = "indextts-2.5"
    ranges: ClassVar[Mapping[str, Range]] = {"features_per_code": Range(1, 16), "n_languages": Range(3, 10_000)}
    relations: ClassVar[tuple[Relation, ...]] = (
        (
            "gpt.n_conditioning_latents must be 1, and conditioning must give one emotion, both of gpt.model_dim",
            lambda m: (
                m.gpt.n_conditioning_latents == 1
                and m.conditioning.model_dim == m.gpt.model_dim
                and m.conditioning.emotion_perceiver.n_latents == 1
            ),
        ),
    )

    gpt: LanguageGPTConfig
    semantic_codec: UpsamplingCodecConfig

    @property
    def features_per_code(self) -> int:
        """Features of S2Mel's input per code."""
        return self.semantic_codec.features_per_code

    @property
    def decoder_floats(self) -> int:
        """Peak floats per code in the codec's decoder: a layer's inner width, its activation, the repeated features."""
        codec = self.semantic_codec
        return 3 * codec.vocos_intermediate_dim + (2 + 3 * codec.features_per_code) * codec.hidden_size


INDEXTTS_25 = Family(
    name=IndexTTS25Config.family,
    title="IndexTTS-2.5",
    folder="edgetts.families.indextts25",
    model=IndexTTS25Config,
    enroll_components=("semantic_encoder", "semantic_statistics", "speaker_encoder", "conditioning"),
    run_components=("quantizer", "codec_decoder", "emotion", "gpt", "s2mel", "vocoder"),
    voice_reference="reference_features",
)
