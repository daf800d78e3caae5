"""A tiktoken vocabulary as a `tokenizer.json`: the same ids for any text."""

from __future__ import annotations

import base64
import random
from pathlib import Path

import pytest
from helpers.paths import SHARED
from tokenizers import Tokenizer

from edgetts.errors import CheckpointError
from edgetts.quant.tiktoken_convert import (
    SPECIAL_TOKENS,
    WORDS,
    build_tiktoken,
    piece_bytes,
    read_tiktoken,
)

BYTES = [bytes([byte]) for byte in range(256)]
PIECES = [*BYTES, b"th", b" t", b"the", b" the", b"ab", b"bc", b"abcd", "é".encode(), b"", b"in", b"ing", "你".encode()]
EXTRA = ("你", "好", "é", "😀", " ", "\n", "the", "ing", "'s", "12", "...", "\u3000", "\u200b", "مر", "カ")


def content(pieces: list[bytes]) -> bytes:
    lines = [(base64.b64encode(piece) or b"=") + b" %d\n" % rank for rank, piece in enumerate(pieces)]
    return b"".join(lines)


def compare(tokenizer: Tokenizer, pieces: list[bytes], n_texts: int) -> None:
    tiktoken = pytest.importorskip("tiktoken", reason="tiktoken is of the extra `test`")
    special = {token: len(pieces) + place for place, token in enumerate(SPECIAL_TOKENS)}
    ranks = {piece: rank for rank, piece in enumerate(pieces)}
    theirs = tiktoken.Encoding("x", pat_str=WORDS, mergeable_ranks=ranks, special_tokens=special)
    generator = random.Random(0)

    def part() -> str:
        kind = generator.randrange(4)
        if kind == 0:
            return chr(generator.randrange(32, 127))
        if kind == 1:
            return generator.choice(EXTRA)
        if kind == 2:
            return generator.choice(SPECIAL_TOKENS[:200])
        return chr(generator.choice((generator.randrange(0xD800), generator.randrange(0xE000, 0x1F000))))

    for _ in range(n_texts):
        text = "".join(part() for _ in range(generator.randrange(1, 40)))
        assert tokenizer.encode(text).ids == theirs.encode(text, allowed_special="all"), text


def test_the_special_tokens_are_the_published_ones() -> None:
    assert len(SPECIAL_TOKENS) == len(set(SPECIAL_TOKENS)) == 1673
    at = {token: place + 58836 for place, token in enumerate(SPECIAL_TOKENS)}
    known = {
        "<|endoftext|>": 58836,
        "<|en|>": 58838,
        "<|su|>": 58936,
        "<|HAPPY|>": 58948,
        "<|translate|>": 58952,
        "<|SPECIAL_TOKEN_1|>": 58958,
        "<|0.00|>": 59008,
        "<|30.00|>": 60508,
    }
    assert {token: at[token] for token in known} == known


def test_ids_are_those_of_tiktoken() -> None:
    compare(build_tiktoken(content(PIECES), "pieces"), PIECES, 300)


def test_a_piece_that_no_pair_makes_is_met_as_a_whole_word_alone() -> None:
    tokenizer = build_tiktoken(content(PIECES), "pieces")
    abcd = PIECES.index(b"abcd")  # ab, c, d: nothing joins them
    assert tokenizer.encode("abcd").ids == [abcd]
    assert abcd not in tokenizer.encode("xabcd").ids


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (content(PIECES)[:-8], "Line 268"),
        (b"not base64! 0\n", "Line 1"),
        (content(PIECES[1:]), "255 of 256 single bytes"),
        (content([*PIECES, b"ab"]), "the same piece twice"),
        (b"", "0 of 256 single bytes"),
        (content(PIECES).replace(b" 5\n", b" 6\n"), "Line 6"),
        (content([*PIECES, b"<|HAPPY|>"]), "special tokens"),
    ],
)
def test_a_damaged_file_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(CheckpointError, match=reason):
        build_tiktoken(data, "pieces")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_tiktoken(tmp_path / "none.tiktoken")


@pytest.mark.skipif(SHARED is None, reason="needs the published vocabulary in ../shared")
def test_every_published_id_round_trips() -> None:
    assert SHARED is not None
    source = SHARED / "reference-2.5/real/multilingual_zh_ja_yue_char_del.tiktoken"
    tokenizer = Tokenizer.from_str(read_tiktoken(source).to_str())
    assert tokenizer.get_vocab_size() == 60509
    pieces = [base64.b64decode(line.split()[0]) for line in source.read_text().splitlines()]
    assert len(pieces) == 58836
    for rank, piece in enumerate(pieces):
        spelling = tokenizer.id_to_token(rank)
        assert piece_bytes(spelling) == piece
        assert tokenizer.token_to_id(spelling) == rank
    for place, token in enumerate(SPECIAL_TOKENS):
        assert tokenizer.encode(token).ids == [58836 + place]
        assert tokenizer.decode([58836 + place], skip_special_tokens=False) == token
    compare(tokenizer, pieces, 1000)
