"""Dimensions of the networks, as frozen dataclasses without defaults, and how to read them strictly.

In: the `model` table of a pack's manifest (plain JSON). Out: `ModelConfig`. Unknown and missing keys
and values of the wrong type are all reported in one `PackError`. `quant` writes these numbers from
upstream's `config.yaml`; the training recipe chooses its own.

One field per fact: whatever follows from another field is a property.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from dataclasses import dataclass
from typing import Any, TypeVar

from edgetts.errors import PackError
from edgetts.pack.plain_json import listed
from edgetts.pack.plain_json import shown as _shown
from edgetts.pack.ranges import out_of_range


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
    """RepCodec: ConvNeXt encoder and one factorised codebook over semantic features."""

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
class ConditioningConfig:
    """The two conditioners of the GPT, speaker and emotion; used at enrollment only."""

    speaker_conformer: ConformerConfig
    speaker_perceiver: PerceiverConfig
    emotion_conformer: ConformerConfig
    emotion_perceiver: PerceiverConfig
    model_dim: int  # of the GPT


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
class S2MelConfig:
    length_regulator: LengthRegulatorConfig
    dit: DiTConfig
    latent_projection_dims: tuple[int, ...]  # of `gpt_layer`: GPT width, hidden widths, semantic width
    mel_frames_per_code: float  # target length is int(codes * this)


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
        """What does not fit together."""
        sizes = to_dict(self) | {f"pitch.{name}": size for name, size in to_dict(self.pitch).items()}
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


@dataclass(frozen=True)
class ModelConfig:
    """Every dimension of one model. `code_rate` is codes per second of speech."""

    code_rate: float
    silence_code: int | None  # the code of silence, if the model has one; guards count runs of it
    audio: AudioConfig
    semantic_encoder: SemanticEncoderConfig
    semantic_codec: SemanticCodecConfig
    speaker_encoder: SpeakerEncoderConfig
    conditioning: ConditioningConfig
    gpt: GPTConfig
    s2mel: S2MelConfig
    vocoder: VocoderConfig | IstftVocoderConfig
    emotion: EmotionConfig

    def problems(self) -> list[str]:
        """Contradictions between fields: the vocoder must take the mel that S2Mel makes."""
        return [
            f"vocoder.{name} is {getattr(self.vocoder, name)}, which is not audio.{name} {getattr(self.audio, name)}"
            for name in ("n_mels", "hop_length")
            if getattr(self.vocoder, name) != getattr(self.audio, name)
        ]


ConfigT = TypeVar("ConfigT")

# The key `kind` of a vocoder's table selects one of these. Older packs have no kind and are BigVGAN.
VOCODER_KINDS: dict[str, type[VocoderConfig | IstftVocoderConfig]] = {
    "bigvgan": VocoderConfig,
    "istft": IstftVocoderConfig,
}
UNNAMED_KIND = "bigvgan"
KIND = "kind"


def to_dict(config: Any) -> dict[str, Any]:
    """Plain JSON values of a config dataclass; tuples become lists."""

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
            kind = next((kind for kind, cls in VOCODER_KINDS.items() if type(value) is cls), UNNAMED_KIND)
            return fields if kind == UNNAMED_KIND else {KIND: kind} | fields
        if isinstance(value, (tuple, list)):
            return [plain(v) for v in value]
        return value

    result: dict[str, Any] = plain(config)
    return result


def from_dict(cls: type[ConfigT], values: Any, *, what: str) -> ConfigT:
    """Build the dataclass `cls` from plain JSON values, strictly.

    `what` names the source in the error. Raises PackError listing every unknown key, missing key and
    value of the wrong type at once. Fields with a default were added in later versions and may be missing.
    """
    problems: list[str] = []
    result = _build(cls, values, "", problems)
    if problems:
        raise PackError(f"{what} is not usable: " + listed(problems) + ".")
    return typing.cast(ConfigT, result)


def _build(kind: Any, value: Any, path: str, problems: list[str]) -> Any:
    here = path or "the table"
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, dict):
            problems.append(f"{here} must be a table, not {_shown(value)}")
            return None
        hints = typing.get_type_hints(kind)
        prefix = f"{path}." if path else ""
        problems += [f"unknown key {prefix}{printable(k)}" for k in sorted(map(str, value)) if k not in hints]
        needed = [f.name for f in dataclasses.fields(kind) if f.default is dataclasses.MISSING]
        problems += [f"missing key {prefix}{k}" for k in needed if k not in value]
        fields = {k: _build(h, value[k], prefix + k, problems) for k, h in hints.items() if k in value}
        if kind is ModelConfig and not problems:
            problems += out_of_range(value)
        if problems:
            return None
        made = kind(**fields)
        if isinstance(made, (ModelConfig, IstftVocoderConfig)):
            problems += [f"{prefix}{problem}" for problem in made.problems()]
        return made
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        if not isinstance(value, list) or not value:
            problems.append(f"{here} must be a list with at least one entry, not {_shown(value)}")
            return None
        return tuple(_build(args[0], v, f"{path}[{i}]", problems) for i, v in enumerate(value))
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        choices = [a for a in args if a is not type(None)]
        if len(choices) == 1:
            return _build(choices[0], value, path, problems)
        return _build_vocoder(value, path, problems)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        problems.append(f"{here} must be {kind.__name__}, not {_shown(value)}")
        return None
    return value


def _build_vocoder(value: Any, path: str, problems: list[str]) -> Any:
    """The dataclass that the table's kind names."""
    if not isinstance(value, dict):
        problems.append(f"{path} must be a table, not {_shown(value)}")
        return None
    kind = value.get(KIND, UNNAMED_KIND)
    if not isinstance(kind, str) or kind not in VOCODER_KINDS:
        problems.append(f"{path}.{KIND} must be one of {', '.join(VOCODER_KINDS)}, not {_shown(kind)}")
        return None
    rest = {k: v for k, v in value.items() if k != KIND}
    return _build(VOCODER_KINDS[kind], rest, path, problems)


def printable(key: str) -> str:
    """A key made safe for a one-line message."""
    return key if key.isprintable() else _shown(key)
