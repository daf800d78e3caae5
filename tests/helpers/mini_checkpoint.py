"""A whole checkpoint folder in upstream's layout at mini size, with nothing published in it.

The networks' tensors are the seeded ones that the golden tensors were computed with; what stands in for
the small published files (tokenizer, matrices, statistics) is made here from a fixed seed.
"""

from __future__ import annotations

import shutil
import string
import struct
from pathlib import Path

import torch
import yaml
from safetensors.torch import save_file

from helpers.checkpoint import component_tensors
from helpers.paths import DATA

SEED = 20_000
SEMANTIC_WIDTH = 1024
EMOTION_WIDTH = 1280  # of the published matrix, also beside a small model
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED = 1, 2, 3, 4
_WORD_START = "\u2581"
_WORDS = ("THE", "AND", "HELLO", "WORLD", "IS", "ING", "ER", "TH")
_CJK = "你好世界今天气很大家一二三四五六七八九十的是不了人我在有他这中"


def write_checkpoint(folder: Path) -> Path:
    """Fill `folder` as upstream's downloader would, `hf_cache` included."""
    hub = folder / "hf_cache"
    config = DATA / "config" / "mini"
    for part in (hub / "w2v-bert-2.0", hub / "bigvgan"):
        part.mkdir(parents=True)
    shutil.copy(config / "config.yaml", folder / "config.yaml")
    shutil.copy(config / "w2vbert.json", hub / "w2v-bert-2.0" / "config.json")
    shutil.copy(DATA / "config" / "preprocessor_config.json", hub / "w2v-bert-2.0")
    shutil.copy(config / "bigvgan.json", hub / "bigvgan" / "config.json")
    torch.save(component_tensors("gpt"), folder / "gpt.pth")
    modules: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in component_tensors("s2mel").items():
        module, _, key = name.partition(".")
        modules.setdefault(module, {})[key] = tensor
    torch.save({"net": modules}, folder / "s2mel.pth")
    torch.save({"generator": component_tensors("bigvgan")}, hub / "bigvgan" / "bigvgan_generator.pt")
    torch.save(component_tensors("campplus"), hub / "campplus_cn_common.bin")
    save_file(component_tensors("w2vbert"), hub / "w2v-bert-2.0" / "model.safetensors")
    save_file(component_tensors("codec"), hub / "semantic_codec_model.safetensors")

    generator = torch.Generator().manual_seed(SEED)
    rows = sum(yaml.safe_load((config / "config.yaml").read_text())["emo_num"])
    torch.save(torch.randn(rows, 192, generator=generator), folder / "feat1.pt")
    torch.save(torch.randn(rows, EMOTION_WIDTH, generator=generator), folder / "feat2.pt")
    statistics = {
        "mean": torch.randn(SEMANTIC_WIDTH, generator=generator),
        "var": 0.5 + torch.rand(SEMANTIC_WIDTH, generator=generator),
    }
    torch.save(statistics, folder / "wav2vec2bert_stats.pt")
    (folder / "bpe.model").write_bytes(sentencepiece_model())
    return folder


def sentencepiece_model() -> bytes:
    """A small SentencePiece unigram model: control pieces first as upstream has them, then characters and words."""
    pieces = [("<s>", 0.0, _CONTROL), ("</s>", 0.0, _CONTROL), ("<unk>", 0.0, _UNKNOWN)]
    pieces += [(character, 0.0, _USER_DEFINED) for character in _CJK]
    characters = _WORD_START + string.ascii_uppercase + string.digits + ",.?!-'…"
    pieces += [(character, -6.0 - i / 10, _NORMAL) for i, character in enumerate(characters)]
    pieces += [(_WORD_START + word, -3.0 - i / 10, _NORMAL) for i, word in enumerate(_WORDS)]
    message = b"".join(_field(1, _piece(*piece)) for piece in pieces)
    trainer = _number(3, 1) + _number(4, len(pieces)) + _number(40, 2) + _number(41, 0) + _number(42, 1)
    return message + _field(2, trainer) + _field(3, _field(1, b"identity"))


def _piece(text: str, score: float, kind: int) -> bytes:
    return _field(1, text.encode()) + b"\x15" + struct.pack("<f", score) + _number(3, kind)


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    data = bytearray()
    while value >= 0x80:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)
