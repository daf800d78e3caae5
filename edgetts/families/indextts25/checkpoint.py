"""The published checkpoint of IndexTTS-2.5: its files, and its configuration as an `IndexTTS25Config`.

Source: upstream indextts/infer_v2_5.py, gpt/model_v2.py, codec/models.py.
"""

from __future__ import annotations

from edgetts.families import published
from edgetts.families.indextts25.dims import IndexTTS25Config, LanguageGPTConfig, UpsamplingCodecConfig
from edgetts.families.published import Published
from edgetts.families.table import Table
from edgetts.pack.config import BaseS2MelConfig, EmotionConditioningConfig
from edgetts.text.config import TextConfig

FEATURE_RATE = 50.0  # features per second: the frame rate of w2v-BERT
N_LANGUAGES = 107  # rows of the language table, of which the last is not used
N_CONDITIONING_LATENTS = 1

# Of version 2's conditioner, which 2.5 lacks, and of an older file of the codec.
_NO_EFFECT = (
    *published.NO_EFFECT,
    "dataset.bpe_model",
    "gpt.condition_module.output_size",
    "gpt.condition_module.linear_units",
    "gpt.condition_module.attention_heads",
    "gpt.condition_module.num_blocks",
    "gpt.condition_module.perceiver_mult",
)
_FIXED = {**published.FIXED, "gpt.spk_cond_mode": "campplus"}


def model_config(c: Table, w: Table, v: Table) -> IndexTTS25Config:
    """The dimensions. Problems are recorded in the tables; the caller raises them."""
    c.no_effect(_NO_EFFECT)
    for table, fixed in ((c, _FIXED), (w, published.W2V_BERT_FIXED), (v, published.BIGVGAN_FIXED)):
        for key, value in fixed.items():
            table.fixed(key, value)
    sound = published.audio(c)
    factor = c.integer("semantic_codec.downsample_scale")
    gpt = LanguageGPTConfig(**published.gpt_sizes(c, N_CONDITIONING_LATENTS), n_languages=N_LANGUAGES)
    conformer, perceiver = published.conditioner(c, "emo_condition_module", published.EMOTION_PERCEIVER_DIM, 1)
    return IndexTTS25Config(
        code_rate=FEATURE_RATE / max(1, factor),
        silence_code=published.SILENCE_CODE,
        audio=sound,
        semantic_encoder=published.semantic_encoder(w),
        semantic_codec=UpsamplingCodecConfig(**published.codec_sizes(c), features_per_code=factor),
        speaker_encoder=published.speaker_encoder(c.integer("s2mel.style_encoder.dim")),
        conditioning=EmotionConditioningConfig(
            emotion_conformer=conformer, emotion_perceiver=perceiver, model_dim=gpt.model_dim
        ),
        gpt=gpt,
        s2mel=BaseS2MelConfig(**published.s2mel_sizes(c, factor)),
        vocoder=published.vocoder(v, sound),
        emotion=published.emotion(c),
    )


CHECKPOINT = Published(
    version=2.5,
    marks=("spk_cond_mode", "lang_embedding", "downsample_scale"),
    repository="IndexTeam/IndexTTS-2.5",
    own_license="bilibili Model Use License Agreement",
    file_keys=published.FILE_KEYS,
    files={"codec": "codec.pth", "tokenizer": "multilingual_zh_ja_yue_char_del.tiktoken"},
    usual=(
        "multilingual_zh_ja_yue_char_del.tiktoken",
        "gpt.pth",
        "s2mel.pth",
        "codec.pth",
        "wav2vec2bert_stats.pt",
        "feat1.pt",
        "feat2.pt",
    ),
    auxiliary=("w2vbert", "w2vbert_config", "campplus", "bigvgan", "bigvgan_config"),
    sources={
        "semantic_encoder": "w2vbert",
        "quantizer": "codec",
        "codec_decoder": "codec",
        "speaker_encoder": "campplus",
        "conditioning": "gpt",
        "gpt": "gpt",
        "s2mel": "s2mel",
        "vocoder": "bigvgan",
    },
    wrappers={**published.WRAPPERS, "codec": ("model",)},
    tokenizer="tiktoken",
    text=TextConfig(languages=("zh", "en"), case="lower", split_cjk=False),
    model_config=model_config,
)
