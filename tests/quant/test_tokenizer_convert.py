from __future__ import annotations

import io
import json
import random
from pathlib import Path

import pytest
from helpers.paths import GOLDEN, SHARED
from helpers.small_tokenizer import CONTROL, NORMAL, PIECES, UNKNOWN, UNUSED, USER_DEFINED, field, model_bytes
from hypothesis import given
from hypothesis import strategies as st

from edgetts.errors import CheckpointError
from edgetts.quant.protobuf import WireError, read_fields
from edgetts.quant.tokenizer_convert import MAX_MODEL_BYTES, build_tokenizer, read_tokenizer

UNKNOWN_ID = 2


def tokens(text: str) -> list[str]:
    return list(build_tokenizer(model_bytes(), "small.model").encode(text).tokens)


def test_ids_are_places_in_the_model() -> None:
    tokenizer = build_tokenizer(model_bytes(), "small.model")
    assert [tokenizer.id_to_token(i) for i in range(len(PIECES))] == [text for text, _, _ in PIECES]


def test_a_user_defined_piece_beats_all_others() -> None:
    assert tokens("NI3 你") == ["▁", "NI3", "▁", "你"]


def test_spaces_are_single_and_words_are_marked() -> None:
    assert tokens("  HELLO   WORLD ") == ["▁HELLO", "▁WORLD"]


def test_a_control_piece_in_a_text_is_unknown() -> None:
    ids = build_tokenizer(model_bytes(), "small.model").encode("A<s>B</s>").ids
    assert 0 not in ids and 1 not in ids and ids.count(UNKNOWN_ID) == 2


UNIGRAM_BUT = "unigram model that IndexTTS-2 publishes"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (model_bytes(trainer=field(3, 2)), "BPE"),
        (model_bytes(trainer=field(3, 3)), "word model"),
        (model_bytes(trainer=field(24, 1)), "end of words"),
        (model_bytes(normalizer=field(5, 0)), "start of words"),
        (model_bytes([]), "no pieces"),
        (model_bytes([*PIECES, ("A", -1.0, NORMAL)]), "twice"),
        (model_bytes([*PIECES, ("AB", -1.0, UNUSED)]), "unused"),
        (model_bytes([*PIECES, ("AB", -1.0, 9)]), "unknown type"),
        (model_bytes([*PIECES, ("A▁B", -1.0, NORMAL)]), "several words"),
        (model_bytes([piece for piece in PIECES if piece[2] != UNKNOWN]), "0 unknown pieces"),
        (model_bytes([("<unk>", 0.0, UNKNOWN), ("<s>", 0.0, CONTROL), ("好", 0.0, USER_DEFINED)]), "no normal"),
    ],
)
def test_a_model_whose_ids_would_differ_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(CheckpointError, match=reason) as caught:
        build_tokenizer(data, "bpe.model")
    assert UNIGRAM_BUT in str(caught.value)


@pytest.mark.parametrize(
    "data", [b"", b"not a model at all", model_bytes()[:-3], model_bytes(normalizer=field(2, b"damaged map"))]
)
def test_a_damaged_model_is_refused(data: bytes) -> None:
    with pytest.raises(CheckpointError):
        build_tokenizer(data, "bpe.model")


def test_missing_and_oversized_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_tokenizer(tmp_path / "none.model")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_tokenizer(tmp_path)
    big = tmp_path / "big.model"
    with big.open("wb") as file:
        file.truncate(MAX_MODEL_BYTES + 1)
    with pytest.raises(CheckpointError, match="at most"):
        read_tokenizer(big)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        fields = list(read_fields(data))
    except WireError:
        fields = []
    assert sum(len(value) for _, value in fields if isinstance(value, bytes)) <= len(data)
    with pytest.raises(CheckpointError):
        build_tokenizer(data, "fuzz")


@given(st.data())
def test_a_model_with_one_byte_changed_is_read_or_refused(data: st.DataObject) -> None:
    damaged = bytearray(model_bytes())
    damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        build_tokenizer(bytes(damaged), "fuzz")
    except CheckpointError as error:
        assert "fuzz" in str(error)


TRAINING_WORDS = "THE QUICK BROWN FOX JUMPS OVER A LAZY DOG AND THEN ANOTHER BEGINS TO SING"


@pytest.mark.parametrize("byte_fallback", [False, True])
def test_ids_are_those_of_sentencepiece(byte_fallback: bool) -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    shuffle = random.Random(0)
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(shuffle.choices(TRAINING_WORDS.split(), k=6)) + ", SO." for _ in range(300)]),
        model_writer=model,
        model_type="unigram",
        vocab_size=340 if byte_fallback else 80,
        hard_vocab_limit=False,
        byte_fallback=byte_fallback,
        user_defined_symbols=["你", "好", "NI3", "HAO3"],
        minloglevel=3,
    )
    theirs = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    ours = build_tokenizer(model.getvalue(), "trained")
    characters = "THEQUICKBROWNFX   ,.你好NI3HAO3<s>éÉ①ﬁ，\u3000\t▁😀"
    for _ in range(500):
        text = "".join(shuffle.choices(characters, k=shuffle.randint(0, 20)))
        assert ours.encode(text).ids == theirs.encode(text), text


@pytest.mark.skipif(SHARED is None, reason="needs the published text model in ../shared")
def test_the_published_model_gives_the_golden_ids() -> None:
    assert SHARED is not None
    converted = read_tokenizer(SHARED / "reference/real/bpe.model")
    assert converted.get_vocab_size() == 12_000
    vocabulary = json.loads(converted.to_str())["model"]["vocab"]
    place = {text: i for i, (text, _) in enumerate(vocabulary)}
    for case in json.loads((GOLDEN / "text.json").read_text(encoding="utf-8")):
        assert [place.get(token, UNKNOWN_ID) for token in case["tokens"]] == case["ids"]
