"""Clauses of text that arrives bit by bit: complete, early, and never with a word cut in half."""

from __future__ import annotations

import itertools
import re

import pytest
from helpers.growth import KINDS, counting, text_of
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetts.streaming import clauses as clauses_module
from edgetts.streaming.clauses import MAX_MARKS, MAX_UNBROKEN_CHARS, ClauseSplitter

TEXT = (
    'Dr. Smith, who lives at 3.14 Main St. in the U.S., said no. "Really?" she asked; well, yes: e.g. at 12:30! '
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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('Wait... what? "No!" he said.', ["Wait...", "what?", '"No!"', "he said."]),
        (
            "It's 5 p.m. Go to www.example.com. Done (really). ",
            ["It's 5 p.m. Go to www.example.com.", "Done (really)."],
        ),
        (
            "And J. R. Smith came with Prof. Lee, who left. Bye",
            ["And J. R. Smith came with Prof. Lee,", "who left.", "Bye"],
        ),
        ("So did I. Then we left.", ["So did I.", "Then we left."]),
        (
            "Well - yes; that is all: 3,5 and 1.000,00 or 12:30",
            ["Well - yes; that is all:", "3,5 and 1.000,00 or 12:30"],
        ),
        ("One two three four — five six; seven", ["One two three four —", "five six; seven"]),
        ("他说：“你好。”然后走了，没有回头……天黑了！", ["他说：“你好。”", "然后走了，没有回头……", "天黑了！"]),
        (
            "他说「走吧。」她问：真的吗？是的；我想，那就这样吧。",
            ["他说「走吧。」", "她问：真的吗？", "是的；我想，那就这样吧。"],
        ),
        ("第3.5章结束。He said ok。然后（OK!）好", ["第3.5章结束。", "He said ok。", "然后（OK!）", "好"]),
        ("Title\nThe text begins.\n\nNext", ["Title", "The text begins.", "Next"]),
        ("Really?! Yes!! No", ["Really?!", "Yes!!", "No"]),
        ("- - - ... !!! 5", ["- - - ... !!! 5"]),
    ],
)
def test_ordinary_text(text: str, expected: list[str]) -> None:
    assert [c.strip() for c in clauses(text, 1) if c.strip()] == expected


@pytest.mark.parametrize("next_line", ["and goes on there", "然后继续"])
def test_a_long_line_goes_on_in_the_next(next_line: str) -> None:
    text = f"A sentence that was wrapped at some column by an editor\n{next_line}. The end"
    assert [c.strip() for c in clauses(text, 1)] == [text.split(". ", maxsplit=1)[0] + ".", "The end"]


@pytest.mark.parametrize("next_line", ["\nand so on", "And so on", "- and so on", "  2 and so on", "\u2028and so on"])
def test_a_long_line_ends_in_front_of_what_begins_anew(next_line: str) -> None:
    line = "A line of more than forty characters without a mark"
    found = clauses(f"{line}\n{next_line}", 1)
    assert [found[0].strip(), "".join(found[1:]).strip()] == [line, next_line.strip()]


def test_a_short_line_is_not_waited_behind() -> None:
    splitter = ClauseSplitter()
    assert splitter.push("My number is 5\n") == ["My number is 5\n"]
    assert not splitter.waits_after_line


def test_a_long_line_can_be_taken_before_the_next_arrives() -> None:
    line = "A line of more than forty characters without a mark\n"
    splitter = ClauseSplitter()
    assert splitter.flush_line() == []
    assert splitter.push(line + "  ") == [] and splitter.waits_after_line
    assert splitter.flush_line() == [line]
    assert splitter.pending == "  " and not splitter.waits_after_line
    assert splitter.push("and on. ") == ["  and on."]


MARKUP = st.lists(st.sampled_from(["[pause:1.5]", "<break time='1s'/>", "[", "<", "[x", "</p ", "]", ">"]), max_size=6)
ANYTHING = st.lists(
    st.text(alphabet="ab ,.!?\n\"'字。，12\u0301😀\u200d🇩\u2028", max_size=40)
    | st.builds(lambda char, n: char * n, st.sampled_from("a. \n。字1-<[😀"), st.integers(1, 1500)),
    max_size=5,
)


@settings(max_examples=150, deadline=None)
@given(ANYTHING, MARKUP, st.lists(st.integers(1, 700), min_size=1, max_size=10), st.booleans())
def test_pieces_change_nothing_and_all_is_kept(
    parts: list[str], tags: list[str], sizes: list[int], markup: bool
) -> None:
    text = "".join(map("".join, itertools.zip_longest(parts, tags, fillvalue="")))
    whole = clauses(text, len(text) + 1, markup=markup)
    splitter, found, at = ClauseSplitter(markup=markup), list[str](), 0
    for size in itertools.cycle(sizes):
        found += splitter.push(text[at : at + size])
        assert len(splitter.pending) <= MAX_UNBROKEN_CHARS
        at += size
        if at >= len(text):
            break
    assert found + splitter.flush() == whole
    assert "".join(whole) == text and all(whole)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 100_000])
@pytest.mark.parametrize("markup", [False, True])
def test_work_is_in_proportion_to_the_text(kind: str, size: int, markup: bool) -> None:
    def work(n: int) -> int:
        text = "Hi there" + text_of(kind, n)
        with counting(clauses_module) as counted:
            clauses(text, size, markup=markup)
            return counted()

    few, many = work(8_000), work(16_000)
    assert many < 2.4 * few


@pytest.mark.parametrize("kind", KINDS)
def test_what_follows_does_not_hold_a_clause_back(kind: str) -> None:
    splitter = ClauseSplitter(markup=True)
    found = splitter.push("Hi there, my friend. " + text_of(kind, 1_500))
    assert found[0] == "Hi there, my friend."


@pytest.mark.parametrize("text", ["Hi there" + "." * 25_000, "好" + "。" * 25_000, "Hi" + "!" * 25_000])
def test_a_line_drawn_with_marks_ends_a_clause(text: str) -> None:
    found = clauses(text, 1)
    assert len(found[0].rstrip(text[-1])) + MAX_MARKS == len(found[0])


@pytest.mark.parametrize(
    ("unit", "seams"),
    [
        ("x", {"xx"}),
        ("привет" + "hello", {"тh", "oп"}),
        ("e\u0301", {"\u0301e"}),
        ("👩\u200d👩", {"👩👩"}),
        ("🇩🇪", {"🇪🇩"}),
        ("ab12", {"b1", "2a"}),
        ("👍🏽", {"🏽👍"}),
    ],
)
def test_an_endless_word_is_cut_where_it_hurts_least(unit: str, seams: set[str]) -> None:
    text = (unit * 3000)[:3000]
    found = clauses(text, 7)
    assert "".join(found) == text and max(map(len, found)) <= MAX_UNBROKEN_CHARS
    found_seams = {left[-1] + right[0] for left, right in itertools.pairwise(found)}
    assert found_seams and found_seams <= seams


@pytest.mark.parametrize(
    "text", ["Wait. [pause and then. More of it. ", "If a < b then so. More of it. ", "x [. Then. More. "]
)
def test_a_tag_that_never_closes_holds_nothing_for_long(text: str) -> None:
    found = clauses(text + "Words and words. " * 40, 1, markup=True)
    assert max(map(len, found)) < 300


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_annotations_of_pronunciation_are_not_cut(size: int) -> None:
    text = "Don't leave me alone in the <desert|D EH1 . Z ER0 T>! It was the <2nd|S EH1 K AH0 N D. X> time, 他<重|CHONG2。X>复。"
    found = [clause.strip() for clause in clauses(text, size, annotations=True)]
    assert found == [
        "Don't leave me alone in the <desert|D EH1 . Z ER0 T>!",
        "It was the <2nd|S EH1 K AH0 N D. X> time,",
        "他<重|CHONG2。X>复。",
    ]
    assert len(clauses(text, size)) > len(found)


def test_a_sign_that_begins_no_annotation_delays_nothing_for_long() -> None:
    text = "It holds that a <b and that all of it is true, as we know. And x <y.\nThen z. "
    assert [c.strip() for c in clauses(text, 1, annotations=True)] == [
        "It holds that a <b and that all of it is true, as we know.",
        "And x <y.",
        "Then z.",
    ]


def test_marks_and_titles_of_arabic_and_spanish() -> None:
    assert clauses("كيف حالكم اليوم؟ مرحبا بكم في المدينة، نعم", 3) == [
        "كيف حالكم اليوم؟",
        " مرحبا بكم في المدينة،",
        " نعم",
    ]
    assert clauses("La Sra. Gil y la Dra. Ruiz. Sí", 3) == ["La Sra. Gil y la Dra. Ruiz.", " Sí"]
