"""Words missing in codes: which are told, and which tables are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgetts.decoding.spoken import CodeSounds
from edgetts.errors import PackError
from edgetts.pack.load import open_pack
from edgetts.pack.locate import builtin_pack

WORD, MARK = 0, 9
# Code 10 n + k is the sound n; codes below 10 are silence.
SOUNDS = CodeSounds.of([-1] * 10 + [n for n in range(1, 9) for _ in range(10)], WORD, [[7, 8]])
TEXT = [WORD, 1, 2, 3, WORD, 4, 5, MARK, WORD, 6, 7, 8, 1]


def codes(*sounds: int, pause: int = 0) -> list[int]:
    """Three codes a sound, two of them the same, and codes of silence after it."""
    return [code for s in sounds for code in (10 * s, 10 * s, 10 * s + 5, *[3] * pause)]


@pytest.mark.parametrize(
    ("spoken", "missing", "unclear"),
    [
        ([1, 2, 3, 4, 5, 6, 7, 8, 1], 0, 0),
        ([1, 2, 3, 6, 7, 8, 1], 1, 1),  # a skipped word
        ([4, 5, 6, 7, 8, 1], 1, 1),  # the first
        ([1, 2, 3, 4, 5], 1, 1),  # the last
        ([1, 2, 3], 2, 2),
        ([], 3, 3),
        ([1, 2, 3, 8, 4, 5, 2, 6, 7, 8, 1], 0, 0),  # sounds between words
        ([1, 3, 4, 5, 6, 7, 8, 1], 0, 1),  # one sound of three is not heard
        ([1, 2, 3, 4, 5, 6, 7, 1], 0, 0),  # one of four
        ([1, 2, 3, 4, 6, 7, 8, 1], 0, 1),  # one of two
        ([1, 3, 4, 5, 6, 7, 1], 0, 1),
        ([1, 2, 3, 4, 5, 6, 8, 7, 1], 0, 0),  # sounds that pass for each other
        ([5, 5, 5, 5, 5, 5], 2, 3),  # all of it wrong but one word, half heard
        ([1, 2, 3, 1, 2, 3, 4, 5, 6, 7, 8, 1], 0, 0),  # said twice: nothing is missing
    ],
)
def test_words_without_their_sounds_are_missing_or_unclear(spoken: list[int], missing: int, unclear: int) -> None:
    assert SOUNDS.lacking(TEXT, codes(*spoken)) == (missing, unclear)
    assert SOUNDS.lacking(TEXT, [4, *codes(*spoken, pause=2)]) == (missing, unclear)


def test_each_word_has_its_share() -> None:
    assert SOUNDS.spoken_shares(TEXT, codes(1, 3, 6, 7, 8, 1)).tolist() == pytest.approx([1, 2 / 3, 0, 1])
    assert SOUNDS.spoken_shares([1, WORD, MARK, WORD, 2], codes(2)).tolist() == [0, 1, 1]  # a word without sounds
    assert SOUNDS.spoken_shares([WORD, 1, 2], codes(1, 1)).tolist() == [1, 0.5]


def test_silence_is_no_sound() -> None:
    """As one it would cost as much as a wrong sound, and the cheapest alignment would be another."""
    text = [WORD, 1, 2, WORD, 3]
    assert SOUNDS.lacking(text, [30, 10]) == SOUNDS.lacking(text, [30, 3, 3, 10]) == (1, 2)


def test_a_text_without_sounds_lacks_nothing() -> None:
    assert SOUNDS.lacking([], codes(1)) == SOUNDS.lacking([WORD, MARK], []) == (0, 0)


@pytest.mark.parametrize(
    "table",
    [
        [],
        {"token_of_code": [1, 2]},
        {"token_of_code": "12", "word_start": 0, "alike": []},
        {"token_of_code": [1, 2.5], "word_start": 0, "alike": []},
        {"token_of_code": [1, -2], "word_start": 0, "alike": []},
        {"token_of_code": [1], "word_start": 0, "alike": [[1, 2, 3]]},
        {"token_of_code": [1], "word_start": 0, "alike": [1]},
        {"token_of_code": [True], "word_start": 0, "alike": []},
    ],
)
def test_a_damaged_table_is_refused(table: object, tmp_path: Path) -> None:
    path = tmp_path / "code_sounds.json"
    path.write_text(json.dumps(table))
    with pytest.raises(PackError, match="not a table of sounds"):
        CodeSounds.read(path)
    path.write_text("{")
    with pytest.raises(PackError, match="not a table of sounds"):
        CodeSounds.read(path)


def test_the_shipped_table_fits_the_shipped_model() -> None:
    pack = open_pack(builtin_pack())
    sounds = CodeSounds.of_pack(pack)
    assert sounds is not None and pack.config.silence_code is not None
    assert sounds.token_of_code[pack.config.silence_code] == -1
    assert sum(token != -1 for token in sounds.token_of_code) > 300
