"""Dimensions of the built-in tiny pack.

In: nothing. Out: `model_config(...)`, the `IndexTTS2Config` of the stages and the pack. Tokenizer size and
silence code are known only after training, so they are arguments.
"""

from __future__ import annotations

from edgetts.families.indextts2.dims import IndexTTS2Config
from edgetts.pack.config import (
    AudioConfig,
    ConditioningConfig,
    ConformerConfig,
    DiTConfig,
    EmotionConfig,
    GPTConfig,
    IstftVocoderConfig,
    LengthRegulatorConfig,
    PerceiverConfig,
    PitchConfig,
    S2MelConfig,
    SemanticCodecConfig,
    SemanticEncoderConfig,
    SpeakerEncoderConfig,
    WaveNetConfig,
)

SEMANTIC = 192  # width of the semantic features
MODEL = 256  # width of the GPT
CODEBOOK = 512
N_LATENTS = 16
MAX_CODES = 800  # 16 s
MAX_TEXT = 250
STYLE = 192
SAMPLE_RATE = 22050
HOP = 256
N_MELS = 80
CODE_RATE = 50.0
FRAMES_PER_CODE = SAMPLE_RATE / HOP / CODE_RATE

AUDIO = AudioConfig(sample_rate=SAMPLE_RATE, n_fft=1024, hop_length=HOP, n_mels=N_MELS, fmin=0.0, fmax=None)
SEMANTIC_ENCODER = SemanticEncoderConfig(
    feature_dim=160,
    hidden_size=SEMANTIC,
    n_layers=4,
    n_heads=4,
    intermediate_size=384,
    left_max_positions=32,
    right_max_positions=16,
    conv_kernel_size=15,
    layer_norm_eps=1e-5,
)
SEMANTIC_CODEC = SemanticCodecConfig(
    hidden_size=SEMANTIC,
    codebook_size=CODEBOOK,
    codebook_dim=8,
    vocos_dim=192,
    vocos_intermediate_dim=512,
    vocos_n_layers=3,
)
SPEAKER_ENCODER = SpeakerEncoderConfig(
    n_mels=N_MELS,
    embedding_size=STYLE,
    front_channels=8,
    init_channels=64,
    growth_rate=16,
    bottleneck_factor=4,
    block_layers=(4, 8, 6),
    block_kernel_sizes=(3, 3, 3),
    block_dilations=(1, 2, 2),
)
LOWEST_HZ = 55.0
PITCH = PitchConfig(
    channels=96,
    n_layers=3,
    ffn_dim=288,
    lowest=LOWEST_HZ * HOP / SAMPLE_RATE,
    classes_per_octave=48,
    n_classes=168,  # three and a half octaves, to 622 Hz
)
VOCODER = IstftVocoderConfig(
    n_mels=N_MELS,
    hop_length=HOP,
    n_fft=512,
    frames_per_mel=2,
    channels=224,
    n_layers=6,
    ffn_dim=672,
    pitch=PITCH,
)


def _conditioner(width: int, n_blocks: int, n_latents: int) -> tuple[ConformerConfig, PerceiverConfig]:
    conformer = ConformerConfig(
        input_size=SEMANTIC,
        output_size=width,
        linear_units=2 * width,
        n_heads=4,
        n_blocks=n_blocks,
        conv_kernel_size=15,
    )
    perceiver = PerceiverConfig(
        dim=MODEL if n_latents > 1 else width,
        dim_context=width,
        n_latents=n_latents,
        depth=2,
        n_heads=4,
        head_dim=32,
        ff_mult=2,
    )
    return conformer, perceiver


def model_config(n_text_tokens: int, silence_code: int | None, emotion_groups: tuple[int, ...]) -> IndexTTS2Config:
    """n_text_tokens: rows of the text embedding, including the two reserved ids."""
    speaker_conformer, speaker_perceiver = _conditioner(96, 2, N_LATENTS)
    emotion_conformer, emotion_perceiver = _conditioner(64, 1, 1)
    return IndexTTS2Config(
        code_rate=CODE_RATE,
        silence_code=silence_code,
        audio=AUDIO,
        semantic_encoder=SEMANTIC_ENCODER,
        semantic_codec=SEMANTIC_CODEC,
        speaker_encoder=SPEAKER_ENCODER,
        conditioning=ConditioningConfig(
            speaker_conformer=speaker_conformer,
            speaker_perceiver=speaker_perceiver,
            emotion_conformer=emotion_conformer,
            emotion_perceiver=emotion_perceiver,
            model_dim=MODEL,
        ),
        gpt=GPTConfig(
            model_dim=MODEL,
            n_layers=6,
            n_heads=4,
            n_text_tokens=n_text_tokens,
            n_mel_codes=CODEBOOK + 2,
            n_text_positions=MAX_TEXT + 2,
            n_mel_positions=MAX_CODES + 3,
            start_text_token=0,
            stop_text_token=1,
            start_mel_token=CODEBOOK,
            stop_mel_token=CODEBOOK + 1,
            n_conditioning_latents=N_LATENTS,
        ),
        s2mel=S2MelConfig(
            length_regulator=LengthRegulatorConfig(in_channels=SEMANTIC, channels=192, out_channels=192, n_convs=4),
            dit=DiTConfig(
                n_mels=N_MELS,
                hidden_dim=192,
                n_heads=4,
                depth=6,
                ffn_dim=512,
                content_dim=192,
                style_dim=STYLE,
                time_frequency_dim=256,
                wavenet=WaveNetConfig(hidden_dim=192, n_layers=4, kernel_size=5, dilation_rate=1),
            ),
            latent_projection_dims=(MODEL, 192, 96, SEMANTIC),
            mel_frames_per_code=FRAMES_PER_CODE,
        ),
        vocoder=VOCODER,
        emotion=EmotionConfig(group_sizes=emotion_groups),
    )
