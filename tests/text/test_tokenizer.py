from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.small_tokenizer import CONFIG, small_tokenizer
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from edgetts.errors import PackError
from edgetts.text.config import TextConfig
from edgetts.text.tokenizer import MAX_FILE_BYTES, TextTokenizer
from edgetts.text.traced import TracedText


def test_cjk_characters_are_apart_and_letters_upper_case(tokenizer: TextTokenizer) -> None:
    assert tokenizer.tokenize("你好hello 世") == ["▁", "你", "▁", "好", "▁HELLO", "▁", "世"]


def test_starts_point_into_the_text(tokenizer: TextTokenizer) -> None:
    text = "  hello  你 the"
    encoded = tokenizer.encode(text)
    places = dict(zip(encoded.tokens, encoded.starts, strict=True))
    assert text[places["▁HELLO"] :].startswith("hello")
    assert text[places["你"]] == "你"
    assert text[places["▁THE"] :].startswith("the")
    assert list(encoded.starts) == sorted(encoded.starts)


def test_nothing_becomes_nothing(tokenizer: TextTokenizer) -> None:
    assert tokenizer.encode("").ids == () == tokenizer.encode(" \n").ids


def test_ids_of_tokens_and_of_what_is_no_piece(tokenizer: TextTokenizer) -> None:
    encoded = tokenizer.encode("hello é")
    assert tokenizer.ids(list(encoded.tokens)) == list(encoded.ids)
    assert encoded.ids[-1] == tokenizer.unknown_id == 2


def test_unknown_characters_once_and_in_order(tokenizer: TextTokenizer) -> None:
    assert tokenizer.unknown_characters("hello 😀 wörld 😀 ñ, NI3") == ["😀", "ö", "ñ"]
    assert tokenizer.unknown_characters("") == []


def test_unknown_letters_are_spelled_with_known_ones(tokenizer: TextTokenizer) -> None:
    spelled = tokenizer.spell_known(TracedText.of("Café Łódź æther Straße 😀"))
    assert spelled.text == "Cafe Lodz aether Straße 😀"  # the upper case of ß is known: SS
    assert len(spelled.origins) == len(spelled.text)


def test_options_of_another_model(tmp_path: Path) -> None:
    words = ["[UNK]", "hello", "World", ",", "你好"]
    other = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    other.pre_tokenizer = Whitespace()
    other.enable_padding(length=16)
    other.enable_truncation(2)
    other.save(str(tmp_path / "tokenizer.json"))
    keeping = TextTokenizer(tmp_path / "tokenizer.json", TextConfig(("en",), "keep", False))
    assert keeping.tokenize("hello World, 你好") == ["hello", "World", ",", "你好"]
    assert keeping.ids(["hello", "planet"]) == [1, 0]
    lowering = TextTokenizer(tmp_path / "tokenizer.json", TextConfig(("en",), "lower", False))
    assert lowering.encode("Hello").ids == (1,)


def test_a_lone_surrogate_is_an_unknown_character(tokenizer: TextTokenizer) -> None:
    assert tokenizer.encode("hello \ud800").ids[-1] == tokenizer.unknown_id


def damaged(content: dict[str, Any], *path: str | int, value: object) -> str:
    *keys, last = path
    place: Any = content
    for key in keys:
        place = place[key]
    place[last] = value
    return json.dumps(content)


def test_damaged_files_get_a_sentence(tmp_path: Path) -> None:
    small_tokenizer(tmp_path)
    path = tmp_path / "tokenizer.json"
    good = path.read_text(encoding="utf-8")
    for content in (
        "",
        "{}",
        "[]",
        good[: len(good) // 2],
        damaged(json.loads(good), "model", "unk_id", value=None),
        damaged(json.loads(good), "model", "vocab", value=[]),
        damaged(json.loads(good), "model", "type", value="Other"),
        damaged(json.loads(good), "normalizer", value={"type": "Precompiled", "precompiled_charsmap": "AA"}),
    ):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(PackError, match=r"tokenizer\.json.*again"):
            TextTokenizer(path, CONFIG)
    path.write_bytes(b"\xff" * 10)
    with pytest.raises(PackError, match="damaged"):
        TextTokenizer(path, CONFIG)


def test_missing_and_oversized_files_get_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(PackError, match="cannot be read"):
        TextTokenizer(tmp_path / "none.json", CONFIG)
    with (tmp_path / "big.json").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(PackError, match="at most"):
        TextTokenizer(tmp_path / "big.json", CONFIG)
