"""Marks that a model does not know become those that it knows; nothing else changes, nothing is lost."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetts.errors import UsageError
from edgetts.text.config import TextConfig
from edgetts.text.marks import sentence_starts, with_known
from edgetts.text.traced import TracedText

PLAIN = (",", ".", "?", "!")


def known(text: str, marks: tuple[str, ...] = PLAIN, original: str | None = None) -> str:
    return with_known(TracedText.of(text), original or text, marks).text


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("Wait… what… no… yes.", "Wait, what, no, yes."),
        ("Wait... what?", "Wait, what?"),
        ("Wait . . . what?", "Wait, what?"),
        ("Wait.. what?", "Wait, what?"),
        ("Wait…what?", "Wait, what?"),
        ("Open…Who is there?", "Open. Who is there?"),
        ("Wait…… what?", "Wait, what?"),
        ("The door is open… Who is there?", "The door is open. Who is there?"),
        ("The door is open…", "The door is open."),
        ("He said, 'well…' and left.", "He said, well, and left."),
        ("…and then he ran.", "and then he ran."),
        ("... and then he ran.", "and then he ran."),
        ("- milk", "milk."),
        ("?! Really.", "Really."),
        ("'No,' he said. 'Why?' asked the boy.", "No, he said. Why? asked the boy."),
        ("He said 'no'.", "He said no."),
        ("the boys' house isn't John's.", "the boys house isn't John's."),
        ("He came 'late'.", "He came late."),
        ("He came - late.", "He came, late."),
        ("He came -- late.", "He came, late."),
        ("He came- and left -again.", "He came, and left, again."),
        ("A semi-detached house.", "A semi-detached house."),
        ("Really?! Yes!!! No...?", "Really? Yes! No?"),
        ("Well,, well ,. fine", "Well, well. fine."),
        ("George W. Bush and I. Then we left.", "George W Bush and I. Then we left."),
        ("Plan B. Go.", "Plan B Go."),
        ("I", "I."),
        ("Chapter one", "Chapter one."),
        ("We came,", "We came."),
        ("wait -", "wait."),
        ("Is it?", "Is it?"),
    ],
)
def test_unknown_marks_become_pauses(text: str, right: str) -> None:
    assert known(text) == right


def test_a_long_dash_is_a_pause_without_spaces_too() -> None:
    assert known("late-too late.", original="late—too late.") == "late, too late."
    assert known("well-known fact.", original="well-known fact.") == "well-known fact."


def test_what_a_pack_knows_stays() -> None:
    marks = (",", ".", "?", "!", "...", "-", "'")
    text = "Wait… 'what' - no?"
    assert known(text, marks) == text


def test_an_unknown_exclamation_is_a_full_stop() -> None:
    assert known("Stop! Why?", (",", ".", "?")) == "Stop. Why?"
    assert known("Stop! Why?", (",", ".")) == "Stop. Why."


@pytest.mark.parametrize("text", ["", "...", "?!", "- - -", "'", " "])
def test_marks_alone_are_left_for_whoever_says_so(text: str) -> None:
    assert known(text) == text


def test_characters_know_where_they_came_from() -> None:
    text = "…and — well… yes"
    traced = with_known(TracedText.of(text), text, PLAIN)
    assert len(traced.origins) == len(traced.text)
    for word in ("and", "well", "yes"):
        assert traced.origins[traced.text.index(word)] == text.index(word)


@given(st.text("aB 1I.,?!…-'—\n", max_size=40))
def test_no_letter_is_lost_and_only_known_marks_are_left(text: str) -> None:
    shown = re.sub(r"\s+", " ", text.replace("—", "-")).strip()
    start = text.index(text.strip()[0]) if text.strip() else 0
    traced = with_known(TracedText.of(shown), text + " " * (start + len(shown)), PLAIN)
    letters = [c for c in traced.text if c.isalnum()]
    assert letters == [c for c in shown if c.isalnum()]
    assert list(traced.origins) == sorted(traced.origins)
    if letters:
        assert traced.text[0].isalnum() or traced.text[0] in "-'"
        assert traced.text[-1] in ".?!"
        assert not re.search(r"…|[.,?!]\s*[.,?!]|  |(?<![aBI1])'|'(?![aBI1])", traced.text)


def test_sentences_begin_behind_a_mark_and_a_space() -> None:
    text = "One. Two? three! 'Four.' Five, six 1.5 end."
    assert [text[at:].split(maxsplit=1)[0] for at in sentence_starts(text)] == ["Two?", "three!", "'Four.'", "Five,"]


@pytest.mark.parametrize("marks", [(",",), (".",), (",", ".", ";"), ()])
def test_marks_that_cannot_be_worked_with_are_refused(marks: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="marks"):
        TextConfig(("en",), "upper", False, marks=marks)


def test_unknown_kinds_of_segments_are_refused() -> None:
    with pytest.raises(UsageError, match="paragraphs"):
        TextConfig(("en",), "upper", False, segments="paragraphs")
