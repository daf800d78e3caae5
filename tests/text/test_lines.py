"""Pauses at line ends: headings, lists, verses and paragraphs have them, wrapped prose has none."""

from __future__ import annotations

import textwrap

import pytest
from helpers.growth import KINDS, counting, text_of
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetts.text import lines as lines_module
from edgetts.text.frontend import TextFrontend
from edgetts.text.lines import LINE_PAUSE_S, PARAGRAPH_PAUSE_S, pause_of, split_lines
from edgetts.text.markup import Pause
from edgetts.text.traced import TracedText

PROSE = (
    "In the spring the market opens at seven, and everybody who has something to sell comes down from the hills. "
    "It costs three dollars to set up a table there. Mister Jones sells eggs and honey, Anna Smith has had the "
    "same corner for thirty years, and nobody can say what the old man from Berlin was selling before he left."
)


def shown(text: str) -> str:
    """The lines with | at a line's and || at a paragraph's pause."""
    marks = {LINE_PAUSE_S: "|", PARAGRAPH_PAUSE_S: "||"}
    parts = split_lines([TracedText.of(text)])
    return "".join(marks[p.seconds] if isinstance(p, Pause) else " ".join(p.text.split()) for p in parts)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Heading one\nThe text begins here", "Heading one|The text begins here"),
        ("Heading one\n\nThe text begins here", "Heading one||The text begins here"),
        ("Heading one\r\n \t\r\nThe text begins", "Heading one||The text begins"),
        ("Shopping list\nmilk\neggs\nbread\n\nTo do\ncall mom", "Shopping list|milk|eggs|bread||To do|call mom"),
        ("Buy:\n- whole milk\n- six eggs", "Buy:|- whole milk|- six eggs"),
        ("1. First thing to do\n2. second\n(c) third", "1. First thing to do|2. second|(c) third"),
        ("My number is:\n555-1234\n", "My number is:|555-1234"),
        (
            "Roses are red\nViolets are blue\nSugar is sweet\nAnd so are you",
            "Roses are red|Violets are blue|Sugar is sweet|And so are you",
        ),
        ("床前明月光\n疑是地上霜", "床前明月光|疑是地上霜"),
        ("第一章\n雨停了。", "第一章|雨停了。"),
        (
            "How to Install the Package on a Small Machine\nThe text begins here and is a good deal longer than that",
            "How to Install the Package on a Small Machine|The text begins here and is a good deal longer than that",
        ),
        ("The quick brown fox\njumps over the lazy dog.", "The quick brown fox jumps over the lazy dog."),
        ("This is a hard\nwrapped line.", "This is a hard wrapped line."),
        ("One two,\nthree four;\nfive", "One two, three four; five"),
        ("It rained.\nWe left!\nNow what?", "It rained. We left! Now what?"),
        ("One\u2028two\u2029three", "One|two||three"),
        ("He said:\n\u2028\u2028yes", "He said:|yes"),
        ("\n\n One\n\n", "One"),
        ("", ""),
        ("\n \n", ""),
    ],
)
def test_pauses(text: str, expected: str) -> None:
    assert shown(text) == expected


@pytest.mark.parametrize("width", [45, 60, 72, 79, 100])
def test_wrapped_prose_stays_as_it_is(width: int) -> None:
    assert shown("\n".join(textwrap.wrap(PROSE, width))) == PROSE


def test_wrapped_chinese_stays_as_it_is() -> None:
    text = "春天的时候市场七点开门山上的人都会把要卖的东西带下来大家都很高兴因为冬天实在太长了什么也没有" * 2
    assert "|" not in shown("\n".join(textwrap.wrap(text, 30)))


def test_a_list_between_wrapped_paragraphs() -> None:
    paragraph = "\n".join(textwrap.wrap(PROSE, 60))
    assert shown(f"{paragraph}\n\nMilk\nEggs\n\n{paragraph}") == f"{PROSE}||Milk|Eggs||{PROSE}"


@settings(deadline=None)
@given(st.text(alphabet="ab .,:1-\n\n\r\u2028\u2029A中", max_size=80))
def test_all_is_kept_in_order(text: str) -> None:
    parts = split_lines([TracedText.of(text)])
    stretches = [part for part in parts if isinstance(part, TracedText)]
    assert TracedText.join(stretches) == TracedText.of(text)
    assert all(part.text.strip() for part in stretches) or len(stretches) == 1
    # A pause stands between two stretches.
    assert len(parts) == 2 * len(stretches) - 1


def test_a_line_end_beside_a_pause_tag_adds_nothing(frontend: TextFrontend) -> None:
    plan = frontend.segments("Hello\n[pause:1.5]\n\nworld\n\nthe", markup=True)
    assert [segment.pause_after_s for segment in plan.segments] == [1.5, PARAGRAPH_PAUSE_S, 0.0]


def test_lines_become_segments_with_pauses(frontend: TextFrontend) -> None:
    text = "Hello world\nThe world\n\nHello.\nthe\n"
    plan = frontend.segments(text)
    assert [s.text for s in plan.segments] == ["Hello world", "The world", "Hello. the"]
    assert [s.pause_after_s for s in plan.segments] == [LINE_PAUSE_S, PARAGRAPH_PAUSE_S, 0.0]
    assert "".join(text[s.start : s.end] for s in plan.segments) == text


@pytest.mark.parametrize(
    ("gap", "before", "seconds"),
    [
        (" ", "One", 0.0),
        ("\n", "One", LINE_PAUSE_S),
        ("\n", "One,", 0.0),
        ("\n\u2028", "One,", LINE_PAUSE_S),
        (" \n \n", "One,", PARAGRAPH_PAUSE_S),
        ("\u2029", "One", PARAGRAPH_PAUSE_S),
    ],
)
def test_pause_of_a_gap(gap: str, before: str, seconds: float) -> None:
    assert pause_of(gap, before) == seconds


@pytest.mark.parametrize("kind", KINDS)
def test_work_is_in_proportion_to_the_text(kind: str) -> None:
    def work(n: int) -> int:
        text = TracedText.of("Hi there\n" + text_of(kind, n))
        with counting(lines_module) as counted:
            split_lines([text])
            return counted()

    assert work(8_000) < 2.3 * work(4_000)
