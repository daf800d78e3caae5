"""The multilingual front end's work grows in proportion to the text, whatever it is made of: counted, not timed.

Counted are calls, characters given to patterns, and characters given to the tokenizer.
"""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
from helpers.growth import KINDS, counting

import edgetts.text
from edgetts.text.multilingual.frontend import MultilingualFrontend
from edgetts.text.multilingual.tokenizer import BytePairTokenizer
from edgetts.text.traced import TracedText

MODULES = [import_module(found.name) for found in pkgutil.walk_packages(edgetts.text.__path__, "edgetts.text.")]
MORE_KINDS = {
    "annotations": "<重|CHONG2>复",
    "annotations of phones": "<read|R EH1 D> it, ",
    "unclosed annotations": "<a|b",
    "special tokens of annotations": "<|SPECIAL_TOKEN_1|>",
    "kana": "すもももももももものうち",
    "Japanese": "今日は2025年12月3日、値段は3,980円です。",
    "Spanish": "El 12/3/2026 a las 8:05 pagué 25,50 € y $3. ",
    "Arabic": "السعر 150 ريالا في 12/3/2026 والنسبة ٧٥٪. ",
    "five languages": "Hello. ¡Hola! 你好。おはよう。 مرحبا! ",
    "hidden letters": "qx",
    "stops and figures": "1.",
    "colons and figures": "8:",
    "e-mail signs": "a@",
}
ALL_KINDS = {**KINDS, **MORE_KINDS}
LANGUAGES = {
    "annotations": "zh",
    "annotations of phones": "en",
    "kana": "ja",
    "Japanese": "ja",
    "Spanish": "es",
    "Arabic": "ar",
}
MOST_PER_CHARACTER = 900
FEW, FEW_LINES = 1_000, 300  # characters: several segments; each line is a text of its own


@pytest.mark.parametrize("kind", ALL_KINDS)
@pytest.mark.parametrize("language", ["es", "own"])
def test_work_is_in_proportion_to_the_text(
    frontend: MultilingualFrontend, kind: str, language: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if language == "own":
        language = LANGUAGES.get(kind)  # None: found from the text
    given = [0]
    substitute, count = TracedText.substitute, BytePairTokenizer.count

    def counted_substitute(text: TracedText, pattern: re.Pattern[str], replace: Callable[..., str]) -> TracedText:
        given[0] += len(text)
        return substitute(text, pattern, replace)

    def counted_tokens(tokenizer: BytePairTokenizer, text: str) -> int:
        given[0] += len(text)
        return count(tokenizer, text)

    monkeypatch.setattr(TracedText, "substitute", counted_substitute)
    monkeypatch.setattr(BytePairTokenizer, "count", counted_tokens)

    def text_of(n: int) -> str:
        unit = ALL_KINDS[kind]
        return unit * (n // len(unit))  # whole ones: what is cut at the end is read by other rules

    def work(n: int) -> int:
        text = text_of(n)
        given[0] = 0
        with counting(*MODULES) as counted:
            frontend.segments(text, language=language)
            return counted() + given[0]

    n = FEW_LINES if "lines" in kind else FEW
    frontend.segments(text_of(2 * n), language=language)  # loads what is loaded once
    few, many = work(n), work(2 * n)
    assert many < 2.4 * few + 10_000
    assert many < MOST_PER_CHARACTER * 2 * n
