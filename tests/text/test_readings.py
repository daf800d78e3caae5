"""Every case of the table of readings, and what holds for all texts."""

from __future__ import annotations

import pytest
from helpers.readings_cases import cases, is_piece
from helpers.small_tokenizer import CONFIG

from edgetts.text.config import Language
from edgetts.text.normalize import TextNormalizer

LANGUAGE: dict[str, Language | None] = {"en": "en", "zh": "zh", "auto": None}


@pytest.fixture(scope="module")
def ours() -> TextNormalizer:
    return TextNormalizer(CONFIG, is_piece=is_piece)


@pytest.mark.parametrize(("text", "language", "reading"), cases(), ids=[case[0] for case in cases()])
def test_reading(ours: TextNormalizer, text: str, language: str, reading: str) -> None:
    assert ours.normalize(text, LANGUAGE[language]) == reading


def test_the_table_is_large_and_has_no_case_twice() -> None:
    rows = cases()
    assert len(rows) >= 300
    assert len({row[:2] for row in rows}) == len(rows)
    assert {row[1] for row in rows} == set(LANGUAGE)
