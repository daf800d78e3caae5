"""A whole checkpoint folder in upstream's layout at mini size, with nothing published in it.

The networks' tensors are the seeded ones that the golden tensors were computed with; what stands in for
the small published files (tokenizer, matrices, statistics) is made here from a fixed seed.
"""

from __future__ import annotations

import base64
import shutil
import string
import struct
from pathlib import Path

import torch
import yaml
from safetensors.torch import save_file

from helpers.checkpoint import component_tensors
from helpers.paths import DATA, DATA_25

SEED = 20_000
MINI_TEXT_TOKENS = 4000
SEMANTIC_WIDTH = 1024
EMOTION_WIDTH = 1280  # of the published matrix, also beside a small model
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED = 1, 2, 3, 4
_PAIRS = (b"th", b"in", b" a", b" th", b" the", b"ing")
_WORD_START = "\u2581"
_WORDS = ("THE", "AND", "HELLO", "WORLD", "IS", "ING", "ER", "TH")
_CJK = "你好世界今天气很大家一二三四五六七八九十的是不了人我在有他这中"


def write_checkpoint(folder: Path) -> Path:
    """Fill `folder` as upstream's downloader would, `hf_cache` included."""
    hub = folder / "hf_cache"
    config = DATA / "config" / "mini"
    _write_auxiliary(hub)
    shutil.copy(config / "config.yaml", folder / "config.yaml")
    torch.save(component_tensors("gpt"), folder / "gpt.pth")
    torch.save({"net": _modules(component_tensors("s2mel"))}, folder / "s2mel.pth")
    save_file(component_tensors("codec"), hub / "semantic_codec_model.safetensors")
    _write_matrices(folder)
    (folder / "bpe.model").write_bytes(sentencepiece_model())
    return folder


def write_checkpoint_25(folder: Path, n_text_tokens: int = MINI_TEXT_TOKENS) -> Path:
    """The same of IndexTTS-2.5. n_text_tokens: that the GPT knows."""
    folder.mkdir(exist_ok=True)
    _write_auxiliary(folder / "hf_cache")
    config = (DATA_25 / "config" / "config.yaml").read_text()
    was, now = (f"number_text_tokens: {n}\n" for n in (MINI_TEXT_TOKENS, n_text_tokens))
    (folder / "config.yaml").write_text(config.replace(was, now))
    torch.save(component_tensors("gpt", folder=DATA_25, n_text_rows=n_text_tokens + 1), folder / "gpt.pth")
    torch.save({"net": _modules(component_tensors("s2mel", folder=DATA_25))}, folder / "s2mel.pth")
    torch.save({"model": component_tensors("codec", folder=DATA_25)}, folder / "codec.pth")
    _write_matrices(folder)
    (folder / "multilingual_zh_ja_yue_char_del.tiktoken").write_bytes(tiktoken_vocabulary())
    return folder


def tiktoken_vocabulary() -> bytes:
    """A small vocabulary of byte pairs: every byte, and some pairs. The first two ids are what the published ones are,
    an exclamation and a quotation mark."""
    singles = [bytes([byte]) for byte in (*range(33, 256), *range(33))]
    pieces = [*singles, *_PAIRS]
    return b"".join(base64.b64encode(piece) + b" %d\n" % rank for rank, piece in enumerate(pieces))


def _modules(tensors: dict[str, torch.Tensor]) -> dict[str, dict[str, torch.Tensor]]:
    modules: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        module, _, key = name.partition(".")
        modules.setdefault(module, {})[key] = tensor
    return modules


def _write_auxiliary(hub: Path) -> None:
    """The models of other publishers, which both families use."""
    config = DATA / "config" / "mini"
    for part in (hub / "w2v-bert-2.0", hub / "bigvgan"):
        part.mkdir(parents=True)
    shutil.copy(config / "w2vbert.json", hub / "w2v-bert-2.0" / "config.json")
    shutil.copy(DATA / "config" / "preprocessor_config.json", hub / "w2v-bert-2.0")
    shutil.copy(config / "bigvgan.json", hub / "bigvgan" / "config.json")
    torch.save({"generator": component_tensors("bigvgan")}, hub / "bigvgan" / "bigvgan_generator.pt")
    torch.save(component_tensors("campplus"), hub / "campplus_cn_common.bin")
    save_file(component_tensors("w2vbert"), hub / "w2v-bert-2.0" / "model.safetensors")


def _write_matrices(folder: Path) -> None:
    generator = torch.Generator().manual_seed(SEED)
    rows = sum(yaml.safe_load((DATA / "config" / "mini" / "config.yaml").read_text())["emo_num"])
    torch.save(torch.randn(rows, 192, generator=generator), folder / "feat1.pt")
    torch.save(torch.randn(rows, EMOTION_WIDTH, generator=generator), folder / "feat2.pt")
    statistics = {
        "mean": torch.randn(SEMANTIC_WIDTH, generator=generator),
        "var": 0.5 + torch.rand(SEMANTIC_WIDTH, generator=generator),
    }
    torch.save(statistics, folder / "wav2vec2bert_stats.pt")


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
