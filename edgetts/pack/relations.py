"""Relations that must hold between a model's dimensions.

In: the `model` table of a manifest, and the dataclass of its family. Out: a consistent `ModelConfig`, or one
`PackError` that lists all numbers out of range (`ranges`) or, if there are none, all violated relations.
`edgetts.pack.load` checks the tensors against the dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

from edgetts.errors import PackError
from edgetts.pack.config import (
    ConformerConfig,
    IstftVocoderConfig,
    ModelConfig,
    PerceiverConfig,
    Relation,
    VocoderConfig,
)
from edgetts.pack.plain_json import listed
from edgetts.pack.ranges import out_of_range
from edgetts.pack.strict import from_dict, to_dict

MAX_DENSE_LAYERS = 256  # of the speaker encoder, over all blocks
MAX_REACH = 4096  # frames of left context of a dilated convolution
N_EMOTIONS = 8  # groups of rows, in the order of `edgetts.voices.emotion.EMOTIONS`
SEMANTIC_FEATURES = 160  # two stacked frames of 80 bands, from `edgetts.audio.features`
FBANK_BANDS = 80  # filter-bank input of the speaker encoder, from `edgetts.audio.features`
RATE_STEP = 25  # Hz; resampling to 16 kHz takes memory with the numerator of the reduced ratio
RATE_TOLERANCE = 0.05  # of mel frames per code against sample rate, hop and code rate


def _heads(name: str, width: Callable[[ModelConfig], int], heads: Callable[[ModelConfig], int]) -> Relation:
    return f"{name} must be a multiple of the number of heads", lambda m: width(m) % heads(m) == 0


# (message, check) of each relation. They are checked once every number is in its range.
RELATIONS: tuple[Relation, ...] = (
    (f"audio.sample_rate must be a multiple of {RATE_STEP}", lambda m: m.audio.sample_rate % RATE_STEP == 0),
    ("audio.hop_length must not exceed audio.n_fft", lambda m: m.audio.hop_length <= m.audio.n_fft),
    (
        "audio.fmin must be below audio.fmax, and that at most half the sample rate",
        lambda m: m.audio.fmin < (m.audio.fmax or m.audio.sample_rate / 2) <= m.audio.sample_rate / 2,
    ),
    (
        "s2mel.mel_frames_per_code must follow from sample rate, hop_length and code_rate",
        lambda m: math.isclose(m.s2mel.mel_frames_per_code * m.code_rate, m.audio.frame_rate, rel_tol=RATE_TOLERANCE),
    ),
    (
        "silence_code must be below semantic_codec.codebook_size",
        lambda m: m.silence_code is None or m.silence_code < m.semantic_codec.codebook_size,
    ),
    (
        "gpt.start_text_token and gpt.stop_text_token must be two of gpt.n_text_tokens",
        lambda m: (
            m.gpt.start_text_token != m.gpt.stop_text_token
            and max(m.gpt.start_text_token, m.gpt.stop_text_token) < m.gpt.n_text_tokens
        ),
    ),
    (
        "gpt.n_mel_codes must be the codebook and two more, gpt.start_mel_token and gpt.stop_mel_token",
        lambda m: (
            {m.gpt.start_mel_token, m.gpt.stop_mel_token}
            == {m.semantic_codec.codebook_size, m.semantic_codec.codebook_size + 1}
            and m.gpt.n_mel_codes == m.semantic_codec.codebook_size + 2
        ),
    ),
    _heads(
        "semantic_encoder.hidden_size",
        lambda m: m.semantic_encoder.hidden_size,
        lambda m: m.semantic_encoder.n_heads,
    ),
    _heads("gpt.model_dim", lambda m: m.gpt.model_dim, lambda m: m.gpt.n_heads),
    _heads("half of s2mel.dit.hidden_dim", lambda m: m.s2mel.dit.hidden_dim, lambda m: 2 * m.s2mel.dit.n_heads),
    ("s2mel.dit.time_frequency_dim must be even", lambda m: m.s2mel.dit.time_frequency_dim % 2 == 0),
    (
        f"semantic_encoder.feature_dim must be {SEMANTIC_FEATURES}",
        lambda m: m.semantic_encoder.feature_dim == SEMANTIC_FEATURES,
    ),
    (f"speaker_encoder.n_mels must be {FBANK_BANDS}", lambda m: m.speaker_encoder.n_mels == FBANK_BANDS),
    (
        "the lists of speaker_encoder must have the same length",
        lambda m: (
            len(m.speaker_encoder.block_layers)
            == len(m.speaker_encoder.block_kernel_sizes)
            == len(m.speaker_encoder.block_dilations)
        ),
    ),
    (
        f"speaker_encoder.block_layers must add up to at most {MAX_DENSE_LAYERS}",
        lambda m: sum(m.speaker_encoder.block_layers) <= MAX_DENSE_LAYERS,
    ),
    (
        "conditioning.emotion_conformer and emotion_perceiver must fit together",
        lambda m: conditioner_fits(m, m.conditioning.emotion_conformer, m.conditioning.emotion_perceiver),
    ),
    (
        "s2mel.length_regulator must lead from semantic_codec.hidden_size to s2mel.dit.content_dim",
        lambda m: (
            m.s2mel.length_regulator.in_channels == m.semantic_codec.hidden_size
            and m.s2mel.length_regulator.out_channels == m.s2mel.dit.content_dim
        ),
    ),
    (
        "s2mel.dit.style_dim must be speaker_encoder.embedding_size",
        lambda m: m.s2mel.dit.style_dim == m.speaker_encoder.embedding_size,
    ),
    (
        f"the dilations of s2mel.dit.wavenet must stay below {MAX_REACH}",
        lambda m: m.s2mel.dit.wavenet.dilation_rate ** (m.s2mel.dit.wavenet.n_layers - 1) < MAX_REACH,
    ),
    ("s2mel.dit.n_mels must be audio.n_mels", lambda m: m.audio.n_mels == m.s2mel.dit.n_mels),
    (
        "each of vocoder.upsample_kernel_sizes must exceed its rate by an even number",
        lambda m: _of_bigvgan(m, _kernels_fit_rates),
    ),
    (
        "vocoder.upsample_initial_channel must be halved by each of the rates",
        lambda m: _of_bigvgan(m, lambda v, _: v.upsample_initial_channel % 2 ** len(v.upsample_rates) == 0),
    ),
    (
        "vocoder.resblock_kernel_sizes and resblock_dilation_sizes must have the same length",
        lambda m: _of_bigvgan(m, lambda v, _: len(v.resblock_kernel_sizes) == len(v.resblock_dilation_sizes)),
    ),
    (f"emotion.group_sizes must be {N_EMOTIONS} numbers", lambda m: len(m.emotion.group_sizes) == N_EMOTIONS),
)


ModelT = TypeVar("ModelT", bound=ModelConfig)


def read_model(kind: type[ModelT], table: dict[str, Any], *, what: str) -> ModelT:
    """The dimensions in a manifest's `model` table, of the family whose dataclass is given. Raises a PackError that
    names it as `what` and lists all problems."""
    model = from_dict(kind, table, what=what)
    problems = model_problems(model)
    if problems:
        raise PackError(f"{what} is not usable: {listed(problems)}.")
    return model


def model_problems(model: ModelConfig) -> list[str]:
    """All numbers out of range, or if there are none, all violated relations; empty for a consistent model."""
    problems = list(out_of_range(to_dict(model), model.ranges))
    if problems:
        return problems
    vocoder = model.vocoder.problems() if isinstance(model.vocoder, IstftVocoderConfig) else []
    violated = [sentence for sentence, holds in (*RELATIONS, *model.relations) if not holds(model)]
    return [*model.problems(), *vocoder, *violated]


def conditioner_fits(model: ModelConfig, conformer: ConformerConfig, perceiver: PerceiverConfig) -> bool:
    """Whether a conditioner reads the semantic features, and its perceiver its conformer."""
    return (
        conformer.input_size == model.semantic_codec.hidden_size
        and conformer.output_size == perceiver.dim_context
        and conformer.output_size % conformer.n_heads == 0
        and conformer.output_size % 2 == 0  # sines and cosines of the position
    )


def _of_bigvgan(model: ModelConfig, holds: Callable[[VocoderConfig, ModelConfig], bool]) -> bool:
    return not isinstance(model.vocoder, VocoderConfig) or holds(model.vocoder, model)


def _kernels_fit_rates(vocoder: VocoderConfig, _: ModelConfig) -> bool:
    rates, sizes = vocoder.upsample_rates, vocoder.upsample_kernel_sizes
    return len(rates) == len(sizes) and all(
        size >= rate and (size - rate) % 2 == 0 for rate, size in zip(rates, sizes, strict=True)
    )
