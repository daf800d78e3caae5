"""The description of a family's published checkpoint, and readers of the configuration that several families share.

In: `config.yaml` and the `config.json` of w2v-BERT and BigVGAN as `Table`s. Out: dataclasses of `edgetts.pack.config`.
The constants are numbers that upstream has in code and not in a file. Opens no file.

Source: upstream indextts/infer_v2.py, gpt/model_v2.py, s2mel/modules/.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from edgetts.families.table import Table
from edgetts.pack.config import (
    AudioConfig,
    ConformerConfig,
    DiTConfig,
    EmotionConfig,
    LengthRegulatorConfig,
    ModelConfig,
    PerceiverConfig,
    SemanticEncoderConfig,
    SpeakerEncoderConfig,
    VocoderConfig,
    WaveNetConfig,
)
from edgetts.text.config import TextConfig

SEMANTIC_LAYERS = 17  # the hidden state that is used; later layers are not needed
SILENCE_CODE = 52
MEL_FRAMES_PER_FEATURE = 1.72
CONFORMER_CONV_KERNEL = 15
PERCEIVER_DEPTH = 2
PERCEIVER_HEAD_DIM = 64
EMOTION_PERCEIVER_DIM = 1024
EXTRA_TEXT_TOKENS = 1
EXTRA_TEXT_POSITIONS = 2  # start and stop
EXTRA_MEL_POSITIONS = 3  # start, stop, and one conditioning input
TIME_FREQUENCY_DIM = 256
FFN_MULTIPLE = 256  # the feed-forward width is 8/3 of the model's, rounded up to this
CAMPPLUS: dict[str, Any] = {
    "front_channels": 32,
    "init_channels": 128,
    "growth_rate": 32,
    "bottleneck_factor": 4,
    "block_layers": (12, 24, 16),
    "block_kernel_sizes": (3, 3, 3),
    "block_dilations": (1, 2, 2),
}

# Keys of config.yaml without effect on speech: for training, or for branches that upstream does not run.
NO_EFFECT = (
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
    "vocoder.name",  # where upstream downloads it; its dimensions are in its own config.json
)

# Keys that choose an architecture, and the value that is implemented. Keys may be absent where upstream's default is
# this value; `version` may not.
FIXED: dict[str, Any] = {
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
W2V_BERT_FIXED: dict[str, Any] = {
    "model_type": "wav2vec2-bert",
    "hidden_act": "swish",
    "position_embeddings_type": "relative_key",
}
BIGVGAN_FIXED: dict[str, Any] = {
    "resblock": "1",
    "use_tanh_at_final": False,
    "use_bias_at_final": False,
    "activation": "snakebeta",
}
# Keys of config.yaml that name a file of the checkpoint, by what is in it.
FILE_KEYS = {
    "gpt": "gpt_checkpoint",
    "s2mel": "s2mel_checkpoint",
    "statistics": "w2v_stat",
    "emotion_matrix": "emo_matrix",
    "speaker_matrix": "spk_matrix",
}
# Keys under which the state dict of a file lies.
WRAPPERS: dict[str, tuple[str, ...]] = {
    "gpt": ("model",),
    "s2mel": ("net",),
    "bigvgan": ("generator",),
    "campplus": (),
}


@dataclass(frozen=True)
class Published:
    """A family's published checkpoint.

    version: of its config.yaml. marks: suffixes of keys that identify a config.yaml without a version.
    repository: on the Hugging Face hub. own_license: of its files.
    file_keys: file -> key of config.yaml with its name. files: file -> name, where config.yaml has no key for it.
    usual: published names of all files but config.yaml. auxiliary: files of other publishers, keys of
    `edgetts.quant.checkpoint.AUXILIARY_FILES`. sources: component -> file with its tensors. wrappers: as WRAPPERS.
    tokenizer: format of its vocabulary, a key of `edgetts.quant.convert.TOKENIZERS`. text: settings of the text front
    end. model_config: reads the dimensions from the tables of config.yaml, w2v-BERT and BigVGAN.
    """

    version: float
    marks: tuple[str, ...]
    repository: str
    own_license: str
    file_keys: Mapping[str, str]
    files: Mapping[str, str]
    usual: tuple[str, ...]
    auxiliary: tuple[str, ...]
    sources: Mapping[str, str]
    wrappers: Mapping[str, tuple[str, ...]]
    tokenizer: str
    text: TextConfig
    model_config: Callable[[Table, Table, Table], ModelConfig]


def audio(c: Table) -> AudioConfig:
    spectrogram = "s2mel.preprocess_params.spect_params"
    n_mels, n_fft = c.integer(f"{spectrogram}.n_mels"), c.integer(f"{spectrogram}.n_fft")
    c.fixed(f"{spectrogram}.win_length", n_fft)
    c.fixed("s2mel.DiT.in_channels", n_mels)
    # Upstream maps any other value to 8000 Hz; the published one is the text "None".
    c.fixed(f"{spectrogram}.fmax", "None")
    return AudioConfig(
        sample_rate=c.integer("s2mel.preprocess_params.sr"),
        n_fft=n_fft,
        hop_length=c.integer(f"{spectrogram}.hop_length"),
        n_mels=n_mels,
        fmin=c.number(f"{spectrogram}.fmin"),
        fmax=None,
    )


def codec_sizes(c: Table) -> dict[str, int]:
    """Arguments of `SemanticCodecConfig`."""
    return {
        "hidden_size": c.integer("semantic_codec.hidden_size"),
        "codebook_size": c.integer("semantic_codec.codebook_size"),
        "codebook_dim": c.integer("semantic_codec.codebook_dim"),
        "vocos_dim": c.integer("semantic_codec.vocos_dim"),
        "vocos_intermediate_dim": c.integer("semantic_codec.vocos_intermediate_dim"),
        "vocos_n_layers": c.integer("semantic_codec.vocos_num_layers"),
    }


def speaker_encoder(style_dim: int) -> SpeakerEncoderConfig:
    return SpeakerEncoderConfig(n_mels=80, embedding_size=style_dim, **CAMPPLUS)


def emotion(c: Table) -> EmotionConfig:
    return EmotionConfig(group_sizes=c.integers("emo_num"))


def semantic_encoder(w: Table) -> SemanticEncoderConfig:
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


def conditioner(c: Table, module: str, dim: int, n_latents: int) -> tuple[ConformerConfig, PerceiverConfig]:
    """The conformer and the perceiver that `module` of config.yaml describes."""
    conformer = ConformerConfig(
        input_size=c.integer("semantic_codec.hidden_size"),
        output_size=c.integer(f"gpt.{module}.output_size"),
        linear_units=c.integer(f"gpt.{module}.linear_units"),
        n_heads=c.integer(f"gpt.{module}.attention_heads"),
        n_blocks=c.integer(f"gpt.{module}.num_blocks"),
        conv_kernel_size=CONFORMER_CONV_KERNEL,
    )
    perceiver = PerceiverConfig(
        dim=dim,
        dim_context=conformer.output_size,
        n_latents=n_latents,
        depth=PERCEIVER_DEPTH,
        n_heads=conformer.n_heads,
        head_dim=PERCEIVER_HEAD_DIM,
        ff_mult=c.integer(f"gpt.{module}.perceiver_mult"),
    )
    return conformer, perceiver


def gpt_sizes(c: Table, n_conditioning_latents: int) -> dict[str, int]:
    """Arguments of `GPTConfig`."""
    return {
        "model_dim": c.integer("gpt.model_dim"),
        "n_layers": c.integer("gpt.layers"),
        "n_heads": c.integer("gpt.heads"),
        "n_text_tokens": c.integer("gpt.number_text_tokens") + EXTRA_TEXT_TOKENS,
        "n_mel_codes": c.integer("gpt.number_mel_codes"),
        "n_text_positions": c.integer("gpt.max_text_tokens") + EXTRA_TEXT_POSITIONS,
        "n_mel_positions": c.integer("gpt.max_mel_tokens") + EXTRA_MEL_POSITIONS,
        "start_text_token": c.integer("gpt.start_text_token"),
        "stop_text_token": c.integer("gpt.stop_text_token"),
        "start_mel_token": c.integer("gpt.start_mel_token"),
        "stop_mel_token": c.integer("gpt.stop_mel_token"),
        "n_conditioning_latents": n_conditioning_latents,
    }


def s2mel_sizes(c: Table, features_per_code: int) -> dict[str, Any]:
    """Arguments of `BaseS2MelConfig`."""
    regulator = "s2mel.length_regulator"
    semantic_dim = c.integer("semantic_codec.hidden_size")
    ratios = c.integers(f"{regulator}.sampling_ratios")
    c.fixed(f"{regulator}.sampling_ratios", [1] * len(ratios))
    c.fixed(f"{regulator}.in_channels", semantic_dim)
    channels = c.integer(f"{regulator}.channels")
    hidden_dim = c.integer("s2mel.DiT.hidden_dim")
    return {
        "length_regulator": LengthRegulatorConfig(
            in_channels=semantic_dim, channels=channels, out_channels=channels, n_convs=len(ratios)
        ),
        "dit": DiTConfig(
            n_mels=c.integer("s2mel.preprocess_params.spect_params.n_mels"),
            hidden_dim=hidden_dim,
            n_heads=c.integer("s2mel.DiT.num_heads"),
            depth=c.integer("s2mel.DiT.depth"),
            ffn_dim=-(-(8 * hidden_dim // 3) // FFN_MULTIPLE) * FFN_MULTIPLE,
            content_dim=c.integer("s2mel.DiT.content_dim"),
            style_dim=c.integer("s2mel.style_encoder.dim"),
            time_frequency_dim=TIME_FREQUENCY_DIM,
            wavenet=WaveNetConfig(
                hidden_dim=c.integer("s2mel.wavenet.hidden_dim"),
                n_layers=c.integer("s2mel.wavenet.num_layers"),
                kernel_size=c.integer("s2mel.wavenet.kernel_size"),
                dilation_rate=c.integer("s2mel.wavenet.dilation_rate"),
            ),
        ),
        "mel_frames_per_code": features_per_code * MEL_FRAMES_PER_FEATURE,
    }


def vocoder(v: Table, sound: AudioConfig) -> VocoderConfig:
    v.fixed("num_mels", sound.n_mels)
    v.fixed("hop_size", sound.hop_length)
    v.fixed("sampling_rate", sound.sample_rate)
    return VocoderConfig(
        n_mels=sound.n_mels,
        upsample_rates=v.integers("upsample_rates"),
        upsample_kernel_sizes=v.integers("upsample_kernel_sizes"),
        upsample_initial_channel=v.integer("upsample_initial_channel"),
        resblock_kernel_sizes=v.integers("resblock_kernel_sizes"),
        resblock_dilation_sizes=v.nested_integers("resblock_dilation_sizes"),
        snake_logscale=v.boolean("snake_logscale"),
    )
