"""A SentencePiece model of a few pieces, written byte by byte, and the tokenizer converted from it.

The published model may not be copied; this one has the same kinds of pieces: control, unknown,
user-defined (Chinese characters, pinyin), normal (letters, words, marks).
"""

from __future__ import annotations

import struct
from pathlib import Path

from edgetts.quant.tokenizer_convert import read_tokenizer
from edgetts.text.config import TextConfig
from edgetts.text.tokenizer import TextTokenizer

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED = 1, 2, 3, 4, 5
CONFIG = TextConfig(languages=("zh", "en"), case="upper", split_cjk=True)

Piece = tuple[str, float, int]

PIECES: list[Piece] = [
    ("<s>", 0.0, CONTROL),
    ("</s>", 0.0, CONTROL),
    ("<unk>", 0.0, UNKNOWN),
    *((char, 0.0, USER_DEFINED) for char in "一二三四五六七八九十百千万点零年月日你好我爱今天是的中文"),
    *((syllable, 0.0, USER_DEFINED) for syllable in ("NI3", "HAO3", "XVAN4", "LV4")),
    ("▁", -0.3, NORMAL),
    *((word, -4.0, NORMAL) for word in ("▁HELLO", "▁WORLD", "▁THE", "▁ONE", "▁TWO", "▁,", "▁.", "▁?", "▁'", "...")),
    *((mark, -5.0, NORMAL) for mark in ",.?!'-"),
    *((letter, -8.0, NORMAL) for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
]


def field(number: int, value: int | float | bytes) -> bytes:
    """One protobuf field."""
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    return varint(number << 3) + varint(value)


def varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def model_bytes(pieces: list[Piece] | None = None, trainer: bytes = b"", normalizer: bytes = b"") -> bytes:
    """A ModelProto; `trainer` and `normalizer` are fields of the two specs."""
    pieces = PIECES if pieces is None else pieces
    written = [field(1, field(1, text.encode()) + field(2, score) + field(3, kind)) for text, score, kind in pieces]
    return b"".join(written) + field(2, field(3, 1) + trainer) + field(3, normalizer)


def small_tokenizer(folder: Path, config: TextConfig = CONFIG) -> TextTokenizer:
    """The runtime tokenizer, converted from the model above into `folder`."""
    source, target = folder / "small.model", folder / "tokenizer.json"
    source.write_bytes(model_bytes())
    read_tokenizer(source).save(str(target))
    return TextTokenizer(target, config)
