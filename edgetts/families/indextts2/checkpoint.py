"""The published checkpoint of IndexTTS-2: its files, and its configuration as an `IndexTTS2Config`.

Source: upstream indextts/infer_v2.py, gpt/model_v2.py.
"""

from __future__ import annotations

from edgetts.families import published
from edgetts.families.indextts2.dims import IndexTTS2Config
from edgetts.families.published import Published
from edgetts.families.table import Table
from edgetts.pack.config import ConditioningConfig, GPTConfig, S2MelConfig, SemanticCodecConfig
from edgetts.text.config import TextConfig

CODE_RATE = 50.0  # codes per second: the frame rate of w2v-BERT
N_CONDITIONING_LATENTS = 32
LATENT_PROJECTION_HIDDEN = (256, 128)


def model_config(c: Table, w: Table, v: Table) -> IndexTTS2Config:
    """The dimensions. Problems are recorded in the tables; the caller raises them."""
    c.no_effect(published.NO_EFFECT)
    for table, fixed in ((c, published.FIXED), (w, published.W2V_BERT_FIXED), (v, published.BIGVGAN_FIXED)):
        for key, value in fixed.items():
            table.fixed(key, value)
    sound, codec = published.audio(c), SemanticCodecConfig(**published.codec_sizes(c))
    gpt = GPTConfig(**published.gpt_sizes(c, N_CONDITIONING_LATENTS))
    speaker = published.conditioner(c, "condition_module", gpt.model_dim, N_CONDITIONING_LATENTS)
    emotion = published.conditioner(c, "emo_condition_module", published.EMOTION_PERCEIVER_DIM, 1)
    return IndexTTS2Config(
        code_rate=CODE_RATE,
        silence_code=published.SILENCE_CODE,
        audio=sound,
        semantic_encoder=published.semantic_encoder(w),
        semantic_codec=codec,
        speaker_encoder=published.speaker_encoder(c.integer("s2mel.style_encoder.dim")),
        conditioning=ConditioningConfig(
            speaker_conformer=speaker[0],
            speaker_perceiver=speaker[1],
            emotion_conformer=emotion[0],
            emotion_perceiver=emotion[1],
            model_dim=gpt.model_dim,
        ),
        gpt=gpt,
        s2mel=S2MelConfig(
            **published.s2mel_sizes(c, 1),
            latent_projection_dims=(gpt.model_dim, *LATENT_PROJECTION_HIDDEN, codec.hidden_size),
        ),
        vocoder=published.vocoder(v, sound),
        emotion=published.emotion(c),
    )


CHECKPOINT = Published(
    version=2.0,
    marks=(),
    repository="IndexTeam/IndexTTS-2",
    own_license="bilibili Model Use License Agreement",
    file_keys={"tokenizer": "dataset.bpe_model", **published.FILE_KEYS},
    files={},
    usual=("bpe.model", "gpt.pth", "s2mel.pth", "wav2vec2bert_stats.pt", "feat1.pt", "feat2.pt"),
    auxiliary=("w2vbert", "w2vbert_config", "codec", "campplus", "bigvgan", "bigvgan_config"),
    sources={
        "semantic_encoder": "w2vbert",
        "codec_encoder": "codec",
        "quantizer": "codec",
        "speaker_encoder": "campplus",
        "conditioning": "gpt",
        "gpt": "gpt",
        "s2mel": "s2mel",
        "vocoder": "bigvgan",
    },
    wrappers=published.WRAPPERS,
    tokenizer="sentencepiece",
    text=TextConfig(languages=("zh", "en"), case="upper", split_cjk=True),
    model_config=model_config,
)
