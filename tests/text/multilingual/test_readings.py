"""Every case of the table of readings in five languages."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgetts.text.glossary import Glossary
from edgetts.text.multilingual import japanese, numbers
from edgetts.text.multilingual.normalize import MultilingualNormalizer
from edgetts.text.traced import TracedText

WORDS = "ja-words"
CASES = [
    tuple(line.split("\t"))
    for line in (Path(__file__).parent / "data/readings.tsv").read_text(encoding="utf-8").splitlines()
    if not line.startswith("# ")
]


def read(normalizer: MultilingualNormalizer, text: str, code: str) -> str:
    return normalizer.spoken_text(TracedText.of(text), code, []).text


@pytest.mark.parametrize(("text", "kind", "reading"), CASES, ids=[f"{case[1]} {case[0]}" for case in CASES])
def test_reading(ours: MultilingualNormalizer, text: str, kind: str, reading: str) -> None:
    code = kind.removesuffix("-words")
    spoken = ours.spoken_text(TracedText.of(text), code, notices := [])
    if kind == WORDS:
        spoken = ours.for_model(spoken, code, notices)
    assert spoken.text == reading
    assert notices == []
    assert list(spoken.origins) == sorted(spoken.origins)
    assert len(spoken.origins) == len(spoken.text)


def test_the_table_is_large_and_has_no_case_twice() -> None:
    assert len({case[:2] for case in CASES}) == len(CASES)
    assert sum(case[1][:2] in ("ja", "es", "ar") for case in CASES) >= 150
    assert {case[1] for case in CASES} == {"zh", "en", "ja", "es", "ar", WORDS}


@pytest.mark.parametrize("code", ["es", "ar"])
def test_no_figure_is_left(ours: MultilingualNormalizer, code: str) -> None:
    for text in (
        "7",
        "12/34/5678",
        "1.2.3",
        "1,2,3",
        "a1b2",
        "99:99",
        "٧",
        "3½",
        "1-2-3-4",
        "00",
        "$",
        "5€€",
        "1/0",
        "%5",
    ):
        assert not any(char.isdecimal() for char in read(ours, text, code)), text


def test_a_glossary_speaks_first() -> None:
    glossary = Glossary.from_dict({"km": {"es": "kaeme", "ja": "キロ", "ar": "كيلو"}})
    normalizer = MultilingualNormalizer(glossary=glossary)
    assert read(normalizer, "5 km", "es") == "cinco kaeme"
    assert read(normalizer, "5 km", "ja") == "5 キロ"
    assert read(normalizer, "5 km", "ar") == "خمسة كيلو"


def test_what_stands_for_an_annotation_is_never_taken_from_the_text(ours: MultilingualNormalizer) -> None:
    assert read(ours, "qxbqx <a|AH0> qxqxaqxqx", "es") == "qxbqx <a|AH0> qxqxaqxqx"


def test_long_numbers_are_said_figure_by_figure() -> None:
    assert numbers.spanish(10**12) == " ".join(["uno", *["cero"] * 12])
    assert numbers.arabic(10**12) == " ".join(["واحد", *["صفر"] * 12])
    assert numbers.spanish(10**12 - 1).startswith("novecientos noventa y nueve mil")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (1, "واحدة"),
        (8, "ثمان"),
        (12, "اثنتا عشرة"),
        (18, "ثماني عشرة"),
        (20, "عشرون"),
        (21, "إحدى وعشرون"),
        (28, "ثمان وعشرون"),
        (100, "مائة"),
    ],
)
def test_arabic_numbers_of_feminine_nouns(number: int, words: str) -> None:
    assert numbers.arabic_feminine(number) == words


def test_japanese_words_without_a_dictionary_are_told() -> None:
    normalizer = MultilingualNormalizer(find_words=japanese.words_by_script)
    normalizer._has_dictionary = False
    notices: list[str] = []
    written = normalizer.for_model(TracedText.of("東京から大阪まで新幹線で2時間です."), "ja", notices)
    assert written.text == "東京 から 大阪 まで 新幹線 で 2 時間 です ."
    assert set(notices) == {japanese.WORDS_NOTICE}


def test_own_white_space_stays_between_japanese_words() -> None:
    spaced = japanese.spaced(TracedText.of(" あ  いう\u3000え "), list)
    assert spaced.text == " あ  い う\u3000え "
    assert spaced.origins == (0, 1, 2, 3, 4, 5, 5, 6, 7, 8)
