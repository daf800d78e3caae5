"""Dimensions of the networks, as frozen dataclasses without defaults.

`ModelConfig` is what all families have in common; each family's own dataclass (`edgetts.families`) adds what it needs.
`edgetts.pack.strict` reads them from a manifest. `quant` takes the numbers from upstream's `config.yaml`; the training
recipe chooses its own.

One field per fact: whatever follows from another field is a property.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from edgetts.pack.ranges import Range


@dataclass(frozen=True)
class AudioConfig:
    """The mel spectrogram that S2Mel makes and the vocoder reads."""

    sample_rate: int  # Hz, of the synthesized speech
    n_fft: int  # samples, FFT and window
    hop_length: int  # samples per mel frame
    n_mels: int
    fmin: float  # Hz
    fmax: float | None  # Hz; None: half the sample rate

    @property
    def frame_rate(self) -> float:
        """Mel frames per second."""
        return self.sample_rate / self.hop_length


@dataclass(frozen=True)
class SemanticEncoderConfig:
    """w2v-BERT 2.0 up to the layer whose output is used (17 of 24 as published)."""

    feature_dim: int  # stacked filter-bank input, 2 frames x 80 bands
    hidden_size: int
    n_layers: int  # layers that are run and stored
    n_heads: int
    intermediate_size: int
    left_max_positions: int  # relative positions are clipped to [-left, right]
    right_max_positions: int
    conv_kernel_size: int
    layer_norm_eps: float


@dataclass(frozen=True)
class SemanticCodecConfig:
    """RepCodec: ConvNeXt encoder and one factorized codebook over semantic features."""

    hidden_size: int  # of the semantic features
    codebook_size: int
    codebook_dim: int
    vocos_dim: int
    vocos_intermediate_dim: int
    vocos_n_layers: int


@dataclass(frozen=True)
class SpeakerEncoderConfig:
    """CAM++: a small 2-D front end and a densely connected TDNN with context-aware masking."""

    n_mels: int
    embedding_size: int  # length of the style vector
    front_channels: int
    init_channels: int
    growth_rate: int
    bottleneck_factor: int
    block_layers: tuple[int, ...]
    block_kernel_sizes: tuple[int, ...]
    block_dilations: tuple[int, ...]


@dataclass(frozen=True)
class ConformerConfig:
    """Conformer encoder with 2x convolutional subsampling, over semantic features."""

    input_size: int
    output_size: int
    linear_units: int
    n_heads: int
    n_blocks: int
    conv_kernel_size: int


@dataclass(frozen=True)
class PerceiverConfig:
    """Perceiver resampler: a few learned latents that attend to the conformer's output."""

    dim: int
    dim_context: int
    n_latents: int
    depth: int
    n_heads: int
    head_dim: int
    ff_mult: int


@dataclass(frozen=True)
class EmotionConditioningConfig:
    """The emotion conditioner of the GPT; used at enrollment only."""

    emotion_conformer: ConformerConfig
    emotion_perceiver: PerceiverConfig
    model_dim: int  # of the GPT


@dataclass(frozen=True)
class ConditioningConfig(EmotionConditioningConfig):
    """The two conditioners of the GPT, speaker and emotion; used at enrollment only."""

    speaker_conformer: ConformerConfig
    speaker_perceiver: PerceiverConfig


@dataclass(frozen=True)
class GPTConfig:
    """The text-to-codes transformer (GPT-2 blocks, learned positions for text and codes)."""

    model_dim: int
    n_layers: int
    n_heads: int
    n_text_tokens: int  # rows of the text embedding
    n_mel_codes: int  # rows of the code embedding, start and stop included
    n_text_positions: int
    n_mel_positions: int
    start_text_token: int
    stop_text_token: int
    start_mel_token: int
    stop_mel_token: int
    n_conditioning_latents: int

    @property
    def head_dim(self) -> int:
        return self.model_dim // self.n_heads


@dataclass(frozen=True)
class LengthRegulatorConfig:
    in_channels: int  # of the semantic features
    channels: int
    out_channels: int
    n_convs: int


@dataclass(frozen=True)
class WaveNetConfig:
    hidden_dim: int
    n_layers: int
    kernel_size: int
    dilation_rate: int


@dataclass(frozen=True)
class DiTConfig:
    """The flow-matching estimator: a diffusion transformer with U-ViT skips and a WaveNet head."""

    n_mels: int
    hidden_dim: int
    n_heads: int
    depth: int
    ffn_dim: int
    content_dim: int  # of the condition from the length regulator
    style_dim: int
    time_frequency_dim: int  # sinusoids of the time embedding
    wavenet: WaveNetConfig

    @property
    def head_dim(self) -> int:
        return self.hidden_dim // self.n_heads


@dataclass(frozen=True)
class BaseS2MelConfig:
    """S2Mel: the length regulator, and the flow-matching estimator that makes the mel."""

    length_regulator: LengthRegulatorConfig
    dit: DiTConfig
    mel_frames_per_code: float  # target length is int(codes * this)


@dataclass(frozen=True)
class S2MelConfig(BaseS2MelConfig):
    """An `BaseS2MelConfig` with a projection of the GPT's latents."""

    latent_projection_dims: tuple[int, ...]  # of `gpt_layer`: GPT width, hidden widths, semantic width


@dataclass(frozen=True)
class VocoderConfig:
    """Kind `bigvgan`: BigVGAN v2 with anti-aliased SnakeBeta activations."""

    n_mels: int
    upsample_rates: tuple[int, ...]
    upsample_kernel_sizes: tuple[int, ...]
    upsample_initial_channel: int
    resblock_kernel_sizes: tuple[int, ...]
    resblock_dilation_sizes: tuple[tuple[int, ...], ...]
    snake_logscale: bool

    @property
    def hop_length(self) -> int:
        """Samples per mel frame."""
        return math.prod(self.upsample_rates)


@dataclass(frozen=True)
class PitchConfig:
    """The pitch predictor: from a mel, a pitch class on a logarithmic scale."""

    channels: int
    n_layers: int
    ffn_dim: int
    lowest: float  # pitch of the first class, periods per mel frame
    classes_per_octave: int
    n_classes: int


# Overlapping short frames per sample: from three on, squared Hann windows sum to a constant (overlap-add).
MIN_OVERLAP = 3


@dataclass(frozen=True)
class IstftVocoderConfig:
    """Kind `istft`, a vocoder at the frame rate: a ConvNeXt stack filters pulses and noise, inverse STFT."""

    n_mels: int
    hop_length: int  # samples per mel frame
    n_fft: int  # samples of a short frame
    frames_per_mel: int  # short frames per mel frame
    channels: int
    n_layers: int
    ffn_dim: int
    pitch: PitchConfig

    @property
    def step(self) -> int:
        """Samples between short frames."""
        return self.hop_length // self.frames_per_mel

    @property
    def margin(self) -> int:
        """Samples of a short frame to the left and right of its hop."""
        return (self.n_fft - self.step) // 2

    def problems(self) -> list[str]:
        """Contradictions between fields, one sentence each."""
        sizes = {f"pitch.{name}": size for name, size in dataclasses.asdict(self.pitch).items()}
        sizes = dataclasses.asdict(self) | sizes
        numbers = {name: size for name, size in sizes.items() if isinstance(size, (int, float))}
        found = [f"{name} must be positive" for name, size in numbers.items() if size <= 0]
        if found:
            return found
        if self.hop_length % self.frames_per_mel:
            found.append(f"hop_length {self.hop_length} is no multiple of frames_per_mel {self.frames_per_mel}")
        elif self.n_fft % self.step or self.n_fft < MIN_OVERLAP * self.step or (self.n_fft - self.step) % 2:
            found.append(f"n_fft {self.n_fft} is no multiple, from {MIN_OVERLAP} on, of a step of {self.step}")
        return found


@dataclass(frozen=True)
class EmotionConfig:
    """Rows of the emotion matrix, grouped by emotion in the order of `edgetts.voices.emotion.EMOTIONS`."""

    group_sizes: tuple[int, ...]


# A sentence that must hold, and its check: of a model whose every number is in its range.
Relation = tuple[str, Callable[[Any], bool]]


@dataclass(frozen=True)
class ModelConfig:
    """Every dimension of one model, as far as all families have it. `code_rate` is codes per second of speech.

    family: its name in `edgetts.families`. relations, ranges: those of the family,
    besides `edgetts.pack.relations` and `edgetts.pack.ranges`.
    """

    family: ClassVar[str] = ""
    has_latent_pass: ClassVar[bool] = False  # the GPT runs a second time, over the codes
    relations: ClassVar[tuple[Relation, ...]] = ()
    ranges: ClassVar[Mapping[str, Range]] = {}

    code_rate: float
    silence_code: int | None  # the code of silence, if the model has one; guards count runs of it
    audio: AudioConfig
    semantic_encoder: SemanticEncoderConfig
    semantic_codec: SemanticCodecConfig
    speaker_encoder: SpeakerEncoderConfig
    conditioning: EmotionConditioningConfig
    gpt: GPTConfig
    s2mel: BaseS2MelConfig
    vocoder: VocoderConfig | IstftVocoderConfig
    emotion: EmotionConfig

    @property
    def features_per_code(self) -> int:
        """Number of features of S2Mel's input for each code."""
        return 1

    @property
    def feature_rate(self) -> float:
        """Semantic features per second: those of a recording, and S2Mel's input."""
        return self.code_rate * self.features_per_code

    @property
    def decoder_floats(self) -> int:
        """Numbers per code while a decoder makes features of codes; 0 without one."""
        return 0

    def problems(self) -> list[str]:
        """Contradictions between fields: the vocoder must take the mel that S2Mel makes."""
        return [
            f"vocoder.{name} is {getattr(self.vocoder, name)}, which is not audio.{name} {getattr(self.audio, name)}"
            for name in ("n_mels", "hop_length")
            if getattr(self.vocoder, name) != getattr(self.audio, name)
        ]


# The key `kind` of a vocoder's table selects one of these. Older packs have no kind and are BigVGAN.
VOCODER_KINDS: dict[str, type[VocoderConfig | IstftVocoderConfig]] = {
    "bigvgan": VocoderConfig,
    "istft": IstftVocoderConfig,
}
UNNAMED_KIND = "bigvgan"
KIND = "kind"
