"""Clauses of text that arrives bit by bit: complete, early, and never with a word cut in half."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetts.streaming.clauses import ClauseSplitter

TEXT = (
    "Dr. Smith, who lives at 3.14 Main St. in the U.S., said no. \"Really?\" she asked; well, yes: e.g. at 12:30! "
    "It costs 1,000 dollars... or not\nA new line without an end"
)


def clauses(text: str, size: int, **options: bool | int) -> list[str]:
    splitter = ClauseSplitter(**options)  # type: ignore[arg-type]
    found = [c for i in range(0, len(text), size) for c in splitter.push(text[i : i + size])]
    return found + splitter.flush()


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_clauses_do_not_depend_on_the_cut(size: int) -> None:
    assert [c.strip() for c in clauses(TEXT, size)] == [
        "Dr. Smith, who lives at 3.14 Main St. in the U.S.,",
        "said no.",
        '"Really?"',
        "she asked; well,",
        "yes: e.g. at 12:30!",
        "It costs 1,000 dollars...",
        "or not",
        "A new line without an end",
    ]


def test_a_clause_comes_with_the_character_behind_its_mark() -> None:
    splitter = ClauseSplitter()
    assert splitter.push("Hello there.") == []  # it could be "there.com"
    assert splitter.push(" ") == ["Hello there."]
    assert splitter.pending == " "
    assert splitter.push("How") == []


def test_chinese_marks_end_a_clause_without_a_space() -> None:
    assert clauses("你好。今天天气很好，我们去公园吧！好", 1) == ["你好。", "今天天气很好，我们去公园吧！", "好"]


def test_long_text_without_marks_is_cut_between_words() -> None:
    text = "word " * 100
    found = clauses(text, 4, max_chars=50)
    assert "".join(found) == text and max(map(len, found)) <= 51
    assert all(set(c.split()) == {"word"} for c in found if c.strip())
    assert clauses("字" * 120, 5, max_chars=50)[0] == "字" * 50
    assert clauses("x" * 120, 5, max_chars=50) == ["x" * 120]  # one word, however long


def test_tags_are_not_cut() -> None:
    text = 'Wait here now. [pause:1.5] Go on, <break time="5. 0 ms"/> then stop.'
    found = clauses(text, 1, markup=True)
    assert "".join(found) == text
    assert all(c.count("[") == c.count("]") and c.count("<") == c.count(">") for c in found)
    assert found[1].strip().startswith("[pause:1.5] Go on")


@settings(max_examples=200, deadline=None)
@given(
    st.text(alphabet="ab ,.!?\n\"'字。，12", max_size=120),
    st.lists(st.integers(1, 9), max_size=30),
    st.sampled_from([10, 40, 300]),
)
def test_nothing_is_lost_and_no_word_is_cut(text: str, sizes: list[int], max_chars: int) -> None:
    splitter, found, at = ClauseSplitter(max_chars=max_chars), [], 0
    for size in sizes:
        found += splitter.push(text[at : at + size])
        at += size
    found += [*splitter.push(text[at:]), *splitter.flush()]
    assert "".join(found) == text
    for left, right in itertools.pairwise(found):
        assert not (re.search(r"[ab12]\Z", left) and re.match(r"[ab12]", right))
