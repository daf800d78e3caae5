from __future__ import annotations

import pytest

from edgetts.text.config import Language
from edgetts.text.rules import MAX_PIECE_CHARS, NumberRules, Rule, _is_plain, _load_wetext
from edgetts.text.traced import TracedText

SENTENCES = (
    "The quick brown fox jumps over the lazy dog.",
    "He said, 'Well, I don't know!' and left; then it rained.",
    "Yes. It was late - too late. Annabel and Peter went home.",
    "This is the end of the beginning: nothing more, nothing less?",
)


def read(text: str, rule: Rule, language: Language = "en") -> tuple[str, list[str]]:
    notices: list[str] = []
    rules = NumberRules(lambda _: rule)
    return rules.read(TracedText.of(text), language, notices).text, notices


@pytest.mark.parametrize("text", SENTENCES)
def test_what_is_taken_for_plain_is_left_alone_by_the_rules(text: str) -> None:
    assert _is_plain(text.replace("'Well", "Well").replace("!'", "!"), "en")
    assert _load_wetext("en")(text) == text


@pytest.mark.parametrize("word", ["Sun", "Mr.", "Dr.", "TV", "UK", "No.", "Jr", "Capt.", "5", "a@b", "x & y", "A.M."])
def test_what_the_rules_change_is_not_plain(word: str) -> None:
    assert not _is_plain(f"He saw {word}", "en")


def test_long_text_is_read_in_pieces_cut_between_sentences() -> None:
    seen: list[str] = []

    def rule(text: str) -> str:
        seen.append(text)
        return text.upper()

    text = "Dr. Who paid 5 pounds for the book. " * 20
    spoken, notices = read(text, rule)
    assert (spoken, notices) == (text.upper(), [])
    assert {piece.strip() for piece in seen} == {"Dr. Who paid 5 pounds for the book."}


@pytest.mark.parametrize("text", ["5" * 1000, "x 5 " * 300, "第5，" * 300, "a5-" * 300])
def test_pieces_are_short_and_together_the_whole(text: str) -> None:
    seen: list[str] = []

    def rule(piece: str) -> str:
        seen.append(piece)
        return piece

    assert read(text, rule, "zh")[0] == text
    assert max(map(len, seen)) <= MAX_PIECE_CHARS


def test_a_failure_is_confined_to_its_word_and_reported() -> None:
    def rule(text: str) -> str:
        if "#" in text:
            raise AssertionError
        return text.replace("5", "five").replace("7", "seven")

    spoken, notices = read("it is 5 or #7 or 7", rule)
    assert spoken == "it is five or #seven or seven"
    assert notices == ["The number rules cannot read '#7': '#' stays unchanged."]


def test_rules_that_always_fail_lose_nothing() -> None:
    def rule(text: str) -> str:
        raise RuntimeError(text)

    assert read("take 5 of #7 now", rule)[0] == "take 5 of #7 now"


def test_rules_that_return_nothing_lose_nothing() -> None:
    assert read("take 5 now", lambda _: "")[0] == "take 5 now"


def test_the_real_rules_on_what_they_raise_on() -> None:
    notices: list[str] = []
    spoken = NumberRules().read(TracedText.of("see #1 and [5] and 3+ 4, 5×6é"), "en", notices)
    assert spoken.text == "see number one and [five] and three plus four, five times six é"
    assert notices == []
