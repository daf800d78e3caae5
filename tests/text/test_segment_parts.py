"""Cuts in sentences over the limit fall between written words, at clause marks first, into parts about alike."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetts.pack.locate import builtin_pack
from edgetts.text import parts as parts_module
from edgetts.text.frontend import TextFrontend
from edgetts.text.parts import equal_parts


def tokens(text: str) -> list[str]:
    """Characters, a word's first one with the mark of a beginning."""
    return re.findall("▁?.", "▁" + text.replace(" ", "▁"))


def cut(text: str, max_tokens: int, words: set[int] | None = None) -> list[str]:
    pieces = tokens(text)
    found = equal_parts(pieces, max_tokens, words)
    assert [place for part in found for place in part] == list(range(len(pieces)))
    assert all(0 < len(part) <= max_tokens for part in found)
    return ["".join(pieces[place] for place in part).replace("▁", " ").strip() for part in found]


@pytest.fixture(scope="module")
def builtin(tmp_path_factory: pytest.TempPathFactory) -> TextFrontend:
    from edgetts import TTS

    return TTS.load(builtin_pack(), home=tmp_path_factory.mktemp("home")).frontend()


def test_a_clause_mark_near_the_middle_is_better_than_the_middle() -> None:
    assert cut("aaaa bbbb cccc, dddd eeee ffff gggg", 25) == ["aaaa bbbb cccc,", "dddd eeee ffff gggg"]
    assert cut("aa, bbbb cccc dddd eeee ffff gggg", 25) == ["aa, bbbb cccc dddd", "eeee ffff gggg"]


def test_no_more_parts_than_it_takes() -> None:
    assert cut("aa, bb, cc, dd, ee, ff, gg, hh,", 15) == ["aa, bb, cc, dd,", "ee, ff, gg, hh,"]
    assert cut("aaaa aaaa aaaa aaaa aaaa aaaa", 20) == ["aaaa aaaa aaaa", "aaaa aaaa aaaa"]


def test_a_spoken_word_within_a_written_one_is_cut_only_where_it_must_be() -> None:
    text = "aaaa one two three bbbb"  # "one two three" stands for one written word
    words = {4, 15}
    assert cut(text, 15, words) == ["aaaa", "one two three bbbb"]
    assert cut(text, 11, words) == ["aaaa", "one two three", "bbbb"]
    assert [word for part in cut(text, 8, words) for word in part.split()] == text.split()
    assert [len(part) for part in cut("abcdefghi", 3)] == [3, 3, 3]


@given(st.text("ab ,", min_size=1, max_size=80), st.integers(1, 30), st.sets(st.integers(0, 80)))
def test_nothing_is_lost_and_no_part_is_over_the_limit(text: str, max_tokens: int, words: set[int]) -> None:
    cut(text, max_tokens, words)


@given(st.text("ab ,", min_size=2, max_size=9), st.integers(1, 6), st.sets(st.integers(0, 9)))
def test_no_other_cuts_are_fewer_or_better(text: str, max_tokens: int, words: set[int]) -> None:
    """Against every choice of cuts that there is."""
    pieces = tokens(text)
    if len(pieces) <= max_tokens:
        return
    costs = parts_module._cuts(pieces, max_tokens, words)
    inner = sorted(costs)[1:-1]
    choices = [(0, *chosen, len(pieces)) for n in range(len(inner) + 1) for chosen in itertools.combinations(inner, n)]
    fitting = [edges for edges in choices if all(b - a <= max_tokens for a, b in itertools.pairwise(edges))]
    fewest = min(len(edges) for edges in fitting) - 1

    def cost(edges: tuple[int, ...]) -> float:
        lengths = [b - a for a, b in itertools.pairwise(edges)]
        return sum((n * fewest / len(pieces) - 1) ** 2 for n in lengths) + sum(costs[edge] for edge in edges)

    found = (0, *itertools.accumulate(map(len, equal_parts(pieces, max_tokens, words))))
    assert len(found) - 1 == fewest
    assert cost(found) == pytest.approx(min(cost(edges) for edges in fitting if len(edges) - 1 == fewest))


@pytest.mark.parametrize(
    "text",
    [
        "The city has 1,234,567 people.",
        "It was the time of COVID-19 and nobody in the whole of the old town went out to the market.",
        "Please call +49 30 1234567 between nine and five, or write to us at the address on the back.",
        "The long bill that the tall man paid came to $1,234.50 in all, which nobody had expected of him.",
        "On 2024-01-05 the ship with the grain left the harbor, and on 2024-02-17 it came to the other side.",
        "Write to jane.doe@example.com or look at https://example.com/news/today for all that you need to know.",
        "The well-known state-of-the-art semi-detached house was sold—late in the day—to a man from the city.",
    ],
)
@pytest.mark.parametrize("limit", [80, 90, 110])
def test_no_written_word_is_cut(builtin: TextFrontend, text: str, limit: int) -> None:
    plan = builtin.segments(text, limit)
    assert "".join(text[segment.start : segment.end] for segment in plan.segments) == text
    for segment in plan.segments[1:]:
        assert text[segment.start - 1].isspace() or text[segment.start - 1] == "—", (segment.written, text)
        assert not text[: segment.start].rstrip().endswith(("+49", "+49 30"))


def test_a_number_over_the_limit_is_cut_between_its_spoken_words(builtin: TextFrontend) -> None:
    spoken = [segment.text for segment in builtin.segments("It has 1,234,567 people.", 40).segments]
    assert (
        " ".join(spoken) == "It has one million two hundred thirty four thousand five hundred and sixty seven people."
    )
    shown = [segment.written for segment in builtin.segments("The city has 1,234,567 people.", 60).segments]
    assert shown == ["The city has 1,234,567", "people."]


def test_the_work_grows_with_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    cost = parts_module._cost

    def counted(tokens: list[str], place: int, otherwise: float) -> float:
        nonlocal calls
        calls += 1
        return cost(tokens, place, otherwise)

    monkeypatch.setattr(parts_module, "_cost", counted)
    for words in (200, 400):
        calls = 0
        equal_parts(tokens("abcd " * words), 40)
        assert calls <= 3 * words
