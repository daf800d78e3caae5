"""Text in a script that the model does not speak: one sentence names the script and the model's languages."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgetts.errors import UsageError
from edgetts.options import SynthesisOptions
from edgetts.pack.load import open_pack
from edgetts.pack.locate import builtin_pack
from edgetts.pack.text import tokenizer_of
from edgetts.planner import SegmentPlanner
from edgetts.text.foreign_scripts import script_notice, script_of, spoken_languages
from edgetts.text.frontend import TextFrontend


@pytest.fixture(scope="module")
def english() -> TextFrontend:
    return TextFrontend(tokenizer_of(open_pack(builtin_pack())))


@pytest.fixture(scope="module")
def both(mini_pack: Path) -> TextFrontend:
    return TextFrontend(tokenizer_of(open_pack(mini_pack)))


TEXTS = [
    ("Привет, мир", "Cyrillic letters"),
    ("Мама мыла раму. А папа? Нет!", "Cyrillic letters"),
    ("مرحبا بالعالم", "Arabic letters"),
    ("नमस्ते दुनिया", "Devanagari letters"),
    ("안녕하세요, 반갑습니다.", "Korean letters"),
    ("สวัสดีครับ", "Thai letters"),
    ("Καλημέρα κόσμε", "Greek letters"),
    ("שלום עולם", "Hebrew letters"),
    ("ありがとう", "Japanese kana"),
]


@pytest.mark.parametrize(("text", "script"), TEXTS)
def test_one_sentence_where_nothing_is_left(both: TextFrontend, english: TextFrontend, text: str, script: str) -> None:
    for frontend, languages in ((english, "English"), (both, "Chinese and English")):
        plan = frontend.segments(text)
        assert plan.segments == ()
        (notice,) = plan.notices
        assert notice.startswith(f"{script} (")
        assert notice.endswith(f") cannot be spoken by this model, which speaks only {languages}.")


@pytest.mark.parametrize(
    ("text", "scripts"),
    [
        ("Hello мир and good morning.", ["Cyrillic"]),
        ("He said привет, 안녕 and नमस्ते to all.", ["Cyrillic", "Korean", "Devanagari"]),
        ("The sign says 出口.", ["Chinese characters"]),
    ],
)
def test_parts_are_told_and_the_rest_is_spoken(english: TextFrontend, text: str, scripts: list[str]) -> None:
    plan = english.segments(text)
    assert plan.segments
    assert all(script in plan.notices[0] for script in scripts)
    assert "speaks only English" in plan.notices[0]


def test_chinese_is_no_other_script_for_a_model_of_chinese() -> None:
    notice, rest = script_notice("𠮷😀こ", ("zh", "en"))
    assert notice is not None and notice.startswith("Japanese kana (こ) cannot") and rest == ["𠮷", "😀"]
    assert script_notice("𠮷😀", ("zh",)) == (None, ["𠮷", "😀"])


def test_single_greek_letters_are_read_as_before(english: TextFrontend) -> None:
    plan = english.segments("The angles α and β, 5 μm, πr.")
    assert plan.notices == ()


@pytest.mark.parametrize("char", ["a", "é", "ŋ", "5", "!", "😀", "\u0301", "ⅷ", "\ue000"])
def test_what_is_no_foreign_letter(char: str) -> None:
    assert script_of(char) is None


def test_many_characters_are_shown_in_part(english: TextFrontend) -> None:
    (notice,) = english.segments("Съешь же ещё этих мягких французских булок").notices
    assert "…" in notice and len(notice) < 140


def test_names_of_languages() -> None:
    assert spoken_languages(("en",)) == "English"
    assert spoken_languages(("zh", "en")) == "Chinese and English"
    assert spoken_languages(("zh", "en", "ja")) == "Chinese, English and Japanese"


def test_planning_says_it_in_one_sentence(english: TextFrontend) -> None:
    sentence = r"nothing to speak in the text: Cyrillic letters \(.*\) cannot .* only English.$"
    with pytest.raises(UsageError, match=sentence):
        SegmentPlanner(english, SynthesisOptions(), in_parts=True, markup=False, markdown=False).whole("Привет, мир")
