"""Which language reads which part of a text."""

from __future__ import annotations

from typing import Any

import pytest

from edgetts.text.config import Language
from edgetts.text.multilingual.detect import runs
from edgetts.text.multilingual.languages import SPOKEN, language_id


def languages(text: str, previous: Language | None = None, spoken: tuple[Language, ...] = SPOKEN) -> list[str]:
    found = runs(text, spoken, previous)
    assert "".join(text[run.start : run.stop] for run in found) == text
    return [run.language for run in found]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        *((text, "en") for text in ("Hello", "thank you", "It works.", "See you at the cafe", "No way.", "Come on!", "Python 3.12")),
        *((text, "en") for text in ("A naïve café owner wrote a résumé in Zürich.", "San Francisco is nice.", "I like すし very much", "123", "7", "12:30", "-5", "$3.50", "2024-05-03", "!?", "½")),
        *((text, "es") for text in ("Hola", "Gracias", "¡Ya!", "Vamos a la playa", "La casa es grande", "Buenos dias", "Qué tal", "HOLA A TODOS")),
        *((text, "es") for text in ("Me gusta el pan", "No te preocupes.", "claro que no", "Voy a <Boston|B AO1 S T AH0 N> mañana.")),
        *((text, "zh") for text in ("你好", "今天天气好", "請問這是什麼", "鲜の味道", "他说hello world", "漢字", "Ni3 hao3", "12。", "￥5、￥6")),
        *((text, "ja") for text in ("おはよう", "東京大学", "駅", "気温", "カタカナ", "Pythonで学ぶ", "ｶﾀｶﾅ", "今日は晴れ。東京大学。")),
        *((text, "ar") for text in ("صباح الخير", "أستخدم Python كل يوم", "الرقم 12", "٣٤٥", "١٢٫٥ ٪", "۱۲")),
    ],
)  # fmt: skip
def test_one_language(text: str, language: str) -> None:
    assert languages(text) == [language]


def test_a_text_in_all_of_them() -> None:
    text = "صباح الخير! Good morning. ¡Hola! 你好。おはよう。"
    assert languages(text) == ["ar", "en", "es", "zh", "ja"]


@pytest.mark.parametrize(
    ("text", "previous", "found"),
    [
        ("12:30", "es", ["es"]),
        ("12:30", None, ["en"]),
        ("12:30", "ja", ["ja"]),
        ("12。", "ja", ["ja"]),
        ("1. 你好。", None, ["zh"]),
        ("1! 你好。", None, ["zh"]),
        ("12! Vamos.", None, ["es"]),
        ("OK, Madrid.", "es", ["es"]),
        ("Madrid.", "es", ["es"]),
        ("Madrid.", "en", ["en"]),
        ("漢字", "ja", ["ja"]),
        ("漢字", "en", ["zh"]),
        ("Madrid. ¿Sí?", None, ["es"]),
        ("漢字。ひらがな。", None, ["ja"]),
        ("你好。ひらがな。", None, ["zh", "ja"]),
    ],
)
def test_what_decides_nothing_goes_with_its_neighbors(text: str, previous: Language | None, found: list[str]) -> None:
    assert languages(text, previous) == found


def test_a_language_that_the_model_does_not_speak_is_not_found() -> None:
    assert languages("¡Hola! Good morning.", spoken=("en", "zh")) == ["en"]
    assert languages("¡Hola!", spoken=("ja",)) == ["ja"]
    assert languages("123", spoken=("ja", "es")) == ["ja"]
    assert languages("", spoken=("ja",)) == languages("") == []


def test_rows_of_the_language_table() -> None:
    known = {"en": 0, "zh": 1, "de": 2, "es": 3, "ru": 4, "ko": 5, "fr": 6, "ja": 7, "ar": 13, "common": 105}
    assert {code: language_id(code) for code in known} == known
    assert language_id("zhen") == language_id("xx") == 105
    assert language_id("JA") == 7


def test_the_language_of_the_golden_texts_is_found(texts: list[dict[str, Any]]) -> None:
    cases = [case for case in texts if case["lang"].lower() in SPOKEN and case["text"].strip()]
    different = [case["text"] for case in cases if languages(case["text"]) != [case["lang"].lower()]]
    assert len(cases) > 70
    assert different == ["1234567890123"]  # which is in any language
