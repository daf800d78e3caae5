"""Upstream's configuration files as our `ModelConfig`.

In: `config.yaml` of the checkpoint and the `config.json` of w2v-BERT and BigVGAN. Out: `ModelConfig` and the
names of the checkpoint's own files. Strict: every key of `config.yaml` is read, or required to have the one
value that our networks implement, or listed here as one that has no effect on speech; unknown and missing
keys and wrong values are all reported in one `CheckpointError`. Constants are numbers that upstream has in
code instead of a file.

Source: upstream indextts/infer_v2.py, gpt/model_v2.py, s2mel/modules/.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetts.errors import CheckpointError
from edgetts.families.indextts2.dims import IndexTTS2Config
from edgetts.pack.config import (
    AudioConfig,
    ConditioningConfig,
    ConformerConfig,
    DiTConfig,
    EmotionConfig,
    GPTConfig,
    LengthRegulatorConfig,
    ModelConfig,
    PerceiverConfig,
    S2MelConfig,
    SemanticCodecConfig,
    SemanticEncoderConfig,
    SpeakerEncoderConfig,
    VocoderConfig,
    WaveNetConfig,
)
from edgetts.pack.plain_json import listed, read_json, shown
from edgetts.pack.relations import model_problems
from edgetts.text.plain_yaml import read_yaml
from quant.strict_table import Table

SUPPORTED_VERSION = 2.0

# Numbers that upstream has in code.
SEMANTIC_LAYERS = 17  # the hidden state that is used; later layers are not needed
CODE_RATE = 50.0  # codes per second: the frame rate of w2v-BERT
SILENCE_CODE = 52
MEL_FRAMES_PER_CODE = 1.72
N_CONDITIONING_LATENTS = 32
CONFORMER_CONV_KERNEL = 15
PERCEIVER_DEPTH = 2
PERCEIVER_HEAD_DIM = 64
EMOTION_PERCEIVER_DIM = 1024
EXTRA_TEXT_TOKENS = 1
EXTRA_TEXT_POSITIONS = 2  # start and stop
EXTRA_MEL_POSITIONS = 3  # start, stop, and one conditioning input
LATENT_PROJECTION_HIDDEN = (256, 128)
TIME_FREQUENCY_DIM = 256
FFN_MULTIPLE = 256  # the feed-forward width is 8/3 of the model's, rounded up to this
CAMPPLUS = {
    "front_channels": 32,
    "init_channels": 128,
    "growth_rate": 32,
    "bottleneck_factor": 4,
    "block_layers": (12, 24, 16),
    "block_kernel_sizes": (3, 3, 3),
    "block_dilations": (1, 2, 2),
}

# Keys of config.yaml that have no effect on speech: training, and paths that upstream does not take.
_NO_EFFECT = (
    "dataset.sample_rate",
    "dataset.squeeze",
    "dataset.mel.sample_rate",
    "dataset.mel.n_fft",
    "dataset.mel.hop_length",
    "dataset.mel.win_length",
    "dataset.mel.n_mels",
    "dataset.mel.mel_fmin",
    "dataset.mel.normalize",
    "gpt.mel_length_compression",
    "s2mel.reg_loss_type",
    "s2mel.length_regulator.content_codebook_size",
    "s2mel.length_regulator.quantizer_dropout",
    "s2mel.length_regulator.n_f0_bins",
    "s2mel.DiT.class_dropout_prob",
    "s2mel.DiT.block_size",
    "s2mel.DiT.content_codebook_size",
    "s2mel.DiT.content_type",
    "s2mel.DiT.target",
    "s2mel.DiT.n_f0_bins",
    "s2mel.DiT.content_codebooks",
    "s2mel.wavenet.p_dropout",
    "qwen_emo_path",
    "vocoder.name",  # where upstream fetches it from; what it is is in its config.json
)

# Keys that choose between architectures, and the one that is implemented. All but `version` may be absent
# where upstream takes this value by default.
_FIXED: dict[str, Any] = {
    "gpt.use_mel_codes_as_input": True,
    "gpt.train_solo_embeddings": False,
    "gpt.condition_type": "conformer_perceiver",
    "gpt.condition_module.input_layer": "conv2d2",
    "gpt.emo_condition_module.input_layer": "conv2d2",
    "s2mel.dit_type": "DiT",
    "s2mel.length_regulator.is_discrete": False,
    "s2mel.length_regulator.vector_quantize": False,
    "s2mel.length_regulator.n_codebooks": 1,
    "s2mel.length_regulator.f0_condition": False,
    "s2mel.DiT.style_condition": True,
    "s2mel.DiT.final_layer_type": "wavenet",
    "s2mel.DiT.f0_condition": False,
    "s2mel.DiT.is_causal": False,
    "s2mel.DiT.long_skip_connection": True,
    "s2mel.DiT.zero_prompt_speech_token": False,
    "s2mel.DiT.time_as_token": False,
    "s2mel.DiT.style_as_token": False,
    "s2mel.DiT.uvit_skip_connection": True,
    "s2mel.DiT.add_resblock_in_transformer": False,
    "s2mel.wavenet.style_condition": True,
    "vocoder.type": "bigvgan",
}
_W2V_BERT_FIXED: dict[str, Any] = {
    "model_type": "wav2vec2-bert",
    "hidden_act": "swish",
    "position_embeddings_type": "relative_key",
}
_BIGVGAN_FIXED: dict[str, Any] = {
    "resblock": "1",
    "use_tanh_at_final": False,
    "use_bias_at_final": False,
    "activation": "snakebeta",
}
_FILE_KEYS = {
    "tokenizer": "dataset.bpe_model",
    "gpt": "gpt_checkpoint",
    "s2mel": "s2mel_checkpoint",
    "statistics": "w2v_stat",
    "emotion_matrix": "emo_matrix",
    "speaker_matrix": "spk_matrix",
}
_MAX_CONFIG_BYTES = 128 << 10  # the published ones have some KB
_MAX_REASON = 200


@dataclass(frozen=True)
class UpstreamConfig:
    """`config.yaml`, recognized as version 2.0. `files`: key -> name inside the checkpoint folder."""

    table: Table
    files: dict[str, str]


def read_upstream_config(path: Path) -> UpstreamConfig:
    """Read `config.yaml`. Raises CheckpointError for another version, by its name."""
    table = Table(_read(path, _yaml), str(path))
    _check_version(table, path)
    files = {key: table.text(name) for key, name in _FILE_KEYS.items()}
    table.raise_problems()
    return UpstreamConfig(table, files)


def model_config(upstream: UpstreamConfig, w2v_bert_path: Path, bigvgan_path: Path) -> ModelConfig:
    """All dimensions. Raises CheckpointError listing every problem of the three files."""
    c = upstream.table
    w = Table(_read(w2v_bert_path, _json), str(w2v_bert_path))
    v = Table(_read(bigvgan_path, _json), str(bigvgan_path))
    for table, fixed in ((c, _FIXED), (w, _W2V_BERT_FIXED), (v, _BIGVGAN_FIXED)):
        for key, value in fixed.items():
            table.fixed(key, value)

    spectrogram = "s2mel.preprocess_params.spect_params"
    n_mels = c.integer(f"{spectrogram}.n_mels")
    n_fft = c.integer(f"{spectrogram}.n_fft")
    c.fixed(f"{spectrogram}.win_length", n_fft)
    c.fixed("s2mel.DiT.in_channels", n_mels)
    # Upstream maps any other value to 8000 Hz; the published one is the text "None".
    c.fixed(f"{spectrogram}.fmax", "None")
    audio = AudioConfig(
        sample_rate=c.integer("s2mel.preprocess_params.sr"),
        n_fft=n_fft,
        hop_length=c.integer(f"{spectrogram}.hop_length"),
        n_mels=n_mels,
        fmin=c.number(f"{spectrogram}.fmin"),
        fmax=None,
    )
    style_dim = c.integer("s2mel.style_encoder.dim")
    codec = SemanticCodecConfig(
        hidden_size=c.integer("semantic_codec.hidden_size"),
        codebook_size=c.integer("semantic_codec.codebook_size"),
        codebook_dim=c.integer("semantic_codec.codebook_dim"),
        vocos_dim=c.integer("semantic_codec.vocos_dim"),
        vocos_intermediate_dim=c.integer("semantic_codec.vocos_intermediate_dim"),
        vocos_n_layers=c.integer("semantic_codec.vocos_num_layers"),
    )
    model_dim = c.integer("gpt.model_dim")
    config = IndexTTS2Config(
        code_rate=CODE_RATE,
        silence_code=SILENCE_CODE,
        audio=audio,
        semantic_encoder=_semantic_encoder(w),
        semantic_codec=codec,
        speaker_encoder=SpeakerEncoderConfig(n_mels=80, embedding_size=style_dim, **CAMPPLUS),  # type: ignore[arg-type]
        conditioning=_conditioning(c, model_dim, codec.hidden_size),
        gpt=_gpt(c, model_dim),
        s2mel=_s2mel(c, model_dim, n_mels, style_dim, codec.hidden_size),
        vocoder=_vocoder(v, audio),
        emotion=EmotionConfig(group_sizes=c.integers("emo_num")),
    )
    c.no_effect(_NO_EFFECT)
    c.unknown_keys()
    problems = c.problems + w.problems + v.problems or model_problems(config)
    if problems:
        raise CheckpointError(
            f"The configuration of this checkpoint is not one that can be converted: {listed(problems)}."
        )
    return config


def _semantic_encoder(w: Table) -> SemanticEncoderConfig:
    n_layers = w.integer("num_hidden_layers")
    if 0 < n_layers < SEMANTIC_LAYERS:
        w.problems.append(f"{w.where}: num_hidden_layers is {n_layers}, at least {SEMANTIC_LAYERS} are used")
    return SemanticEncoderConfig(
        feature_dim=w.integer("feature_projection_input_dim"),
        hidden_size=w.integer("hidden_size"),
        n_layers=SEMANTIC_LAYERS,
        n_heads=w.integer("num_attention_heads"),
        intermediate_size=w.integer("intermediate_size"),
        left_max_positions=w.integer("left_max_position_embeddings"),
        right_max_positions=w.integer("right_max_position_embeddings"),
        conv_kernel_size=w.integer("conv_depthwise_kernel_size"),
        layer_norm_eps=w.number("layer_norm_eps"),
    )


def _conditioning(c: Table, model_dim: int, semantic_dim: int) -> ConditioningConfig:
    def conformer(module: str) -> ConformerConfig:
        return ConformerConfig(
            input_size=semantic_dim,
            output_size=c.integer(f"gpt.{module}.output_size"),
            linear_units=c.integer(f"gpt.{module}.linear_units"),
            n_heads=c.integer(f"gpt.{module}.attention_heads"),
            n_blocks=c.integer(f"gpt.{module}.num_blocks"),
            conv_kernel_size=CONFORMER_CONV_KERNEL,
        )

    def perceiver(module: str, dim: int, n_latents: int) -> PerceiverConfig:
        return PerceiverConfig(
            dim=dim,
            dim_context=c.integer(f"gpt.{module}.output_size"),
            n_latents=n_latents,
            depth=PERCEIVER_DEPTH,
            n_heads=c.integer(f"gpt.{module}.attention_heads"),
            head_dim=PERCEIVER_HEAD_DIM,
            ff_mult=c.integer(f"gpt.{module}.perceiver_mult"),
        )

    return ConditioningConfig(
        speaker_conformer=conformer("condition_module"),
        speaker_perceiver=perceiver("condition_module", model_dim, N_CONDITIONING_LATENTS),
        emotion_conformer=conformer("emo_condition_module"),
        emotion_perceiver=perceiver("emo_condition_module", EMOTION_PERCEIVER_DIM, 1),
        model_dim=model_dim,
    )


def _gpt(c: Table, model_dim: int) -> GPTConfig:
    return GPTConfig(
        model_dim=model_dim,
        n_layers=c.integer("gpt.layers"),
        n_heads=c.integer("gpt.heads"),
        n_text_tokens=c.integer("gpt.number_text_tokens") + EXTRA_TEXT_TOKENS,
        n_mel_codes=c.integer("gpt.number_mel_codes"),
        n_text_positions=c.integer("gpt.max_text_tokens") + EXTRA_TEXT_POSITIONS,
        n_mel_positions=c.integer("gpt.max_mel_tokens") + EXTRA_MEL_POSITIONS,
        start_text_token=c.integer("gpt.start_text_token"),
        stop_text_token=c.integer("gpt.stop_text_token"),
        start_mel_token=c.integer("gpt.start_mel_token"),
        stop_mel_token=c.integer("gpt.stop_mel_token"),
        n_conditioning_latents=N_CONDITIONING_LATENTS,
    )


def _s2mel(c: Table, model_dim: int, n_mels: int, style_dim: int, semantic_dim: int) -> S2MelConfig:
    regulator = "s2mel.length_regulator"
    ratios = c.integers(f"{regulator}.sampling_ratios")
    c.fixed(f"{regulator}.sampling_ratios", [1] * len(ratios))
    c.fixed(f"{regulator}.in_channels", semantic_dim)
    channels = c.integer(f"{regulator}.channels")
    hidden_dim = c.integer("s2mel.DiT.hidden_dim")
    return S2MelConfig(
        length_regulator=LengthRegulatorConfig(
            in_channels=semantic_dim, channels=channels, out_channels=channels, n_convs=len(ratios)
        ),
        dit=DiTConfig(
            n_mels=n_mels,
            hidden_dim=hidden_dim,
            n_heads=c.integer("s2mel.DiT.num_heads"),
            depth=c.integer("s2mel.DiT.depth"),
            ffn_dim=-(-(8 * hidden_dim // 3) // FFN_MULTIPLE) * FFN_MULTIPLE,
            content_dim=c.integer("s2mel.DiT.content_dim"),
            style_dim=style_dim,
            time_frequency_dim=TIME_FREQUENCY_DIM,
            wavenet=WaveNetConfig(
                hidden_dim=c.integer("s2mel.wavenet.hidden_dim"),
                n_layers=c.integer("s2mel.wavenet.num_layers"),
                kernel_size=c.integer("s2mel.wavenet.kernel_size"),
                dilation_rate=c.integer("s2mel.wavenet.dilation_rate"),
            ),
        ),
        latent_projection_dims=(model_dim, *LATENT_PROJECTION_HIDDEN, semantic_dim),
        mel_frames_per_code=MEL_FRAMES_PER_CODE,
    )


def _vocoder(v: Table, audio: AudioConfig) -> VocoderConfig:
    v.fixed("num_mels", audio.n_mels)
    v.fixed("hop_size", audio.hop_length)
    v.fixed("sampling_rate", audio.sample_rate)
    return VocoderConfig(
        n_mels=audio.n_mels,
        upsample_rates=v.integers("upsample_rates"),
        upsample_kernel_sizes=v.integers("upsample_kernel_sizes"),
        upsample_initial_channel=v.integer("upsample_initial_channel"),
        resblock_kernel_sizes=v.integers("resblock_kernel_sizes"),
        resblock_dilation_sizes=v.nested_integers("resblock_dilation_sizes"),
        snake_logscale=v.boolean("snake_logscale"),
    )


def _check_version(table: Table, path: Path) -> None:
    version = table.values.get("version")
    number = float(version) if isinstance(version, (int, float)) and not isinstance(version, bool) else None
    table.used.add("version")
    old = any(key.startswith(("bigvgan", "vqvae", "dvae_checkpoint")) for key in table.values)
    if (number is not None and 1 <= number < 2) or (number is None and old):
        which = f"IndexTTS {number:g}" if number is not None else "IndexTTS 1.x"
        raise CheckpointError(f"{path} belongs to {which}, which is another model: download IndexTeam/IndexTTS-2.")
    newer = any(key.endswith(("spk_cond_mode", "lang_embedding")) for key in table.values)
    if number == 2.5 or (number is None and newer):
        raise CheckpointError(
            f"{path} belongs to IndexTTS-2.5, which cannot be converted yet: download IndexTeam/IndexTTS-2."
        )
    if number != SUPPORTED_VERSION:
        raise CheckpointError(
            f"{path} gives version {shown(version)}; checkpoints of version {SUPPORTED_VERSION:g} (IndexTTS-2) can be "
            "converted: download IndexTeam/IndexTTS-2."
        )


def _read(path: Path, parse: Callable[[bytes], Any]) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_CONFIG_BYTES + 1)
        if len(data) > _MAX_CONFIG_BYTES:
            raise CheckpointError(f"{path} is too large for a configuration: download it again.")
        table = parse(data)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror or error}): check who may read it.") from error
    except ValueError as error:  # not UTF-8, not what it should be, or out of bounds
        reason = shown(" ".join(str(error).split()), _MAX_REASON).strip("'\"")
        raise CheckpointError(f"{path} cannot be read ({reason}): download it again.") from error
    if not isinstance(table, dict):
        raise CheckpointError(f"{path} is not a configuration: it holds no keys; download it again.")
    return table


def _yaml(data: bytes) -> Any:
    return read_yaml(data.decode("utf-8"))


def _json(data: bytes) -> Any:
    return read_json(data, max_bytes=_MAX_CONFIG_BYTES)
