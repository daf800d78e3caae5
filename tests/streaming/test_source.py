"""Lines from a text that arrives: a language model's 500 tokens, all of them once, in order, none held back."""

from __future__ import annotations

import itertools
import random
import re
import time
from pathlib import Path

import pytest

from edgetts.errors import Cancelled, UsageError
from edgetts.pack.load import open_pack
from edgetts.pack.text import tokenizer_of
from edgetts.streaming.feed import Board, Line
from edgetts.streaming.source import TextFeed, plan_lines, pump
from edgetts.text.frontend import TextFrontend

SENTENCES = (
    "Well, here is what happened: the kettle boiled, nobody was there!",
    "Dr. Smith paid 3.50 for it... \"Really?\" she asked.",
    "The answer is simple; we wait, and then we go on",
    "\n\nA new paragraph begins, and goes on for quite a while without any mark at all",
)


@pytest.fixture(scope="module")
def frontend(mini_pack: Path) -> TextFrontend:
    return TextFrontend(tokenizer_of(open_pack(mini_pack)))


def feed(board: Board, frontend: TextFrontend, notices: list[str], *, markup: bool = False) -> TextFeed:
    return TextFeed(board, lambda text: frontend.segments(text, 120, markup=markup), markup=markup, notices=notices)


def test_five_hundred_tokens(frontend: TextFrontend) -> None:
    chance = random.Random(0)
    text = " ".join(chance.choice(SENTENCES) for _ in range(60))
    tokens = re.findall(r"\s*\S{1,4}", text)[:500]
    board, notices = Board(), list[str]()

    def arriving() -> object:
        for token in tokens:
            if chance.random() < 0.05:
                time.sleep(0.002)
            yield token

    source = feed(board, frontend, notices)
    thread = pump(arriving(), source)  # type: ignore[arg-type]
    lines: list[Line] = list(source)
    thread.join(10)
    given = "".join(tokens)
    assert not thread.is_alive() and not notices
    assert lines[0].start == 0 and lines[-1].end == len(given.rstrip())
    assert all(a.end == b.start for a, b in itertools.pairwise(lines))
    spoken = "".join(re.findall(r"[a-z]+", " ".join(line.text for line in lines).lower()))
    # Numbers and titles are written out, so words without them are compared.
    kept = re.sub(r"Dr\.|3\.50", "", given)
    for word in re.findall(r"[a-z]+", kept.lower()):
        assert word in spoken
        spoken = spoken[spoken.index(word) + len(word) :]
    assert [line.ready_at for line in lines] == sorted(line.ready_at for line in lines)


def test_pauses_come_between_and_not_after(frontend: TextFrontend) -> None:
    board = Board()
    source = feed(board, frontend, [])
    iterator = iter(source)
    source.push("One two. ")
    first = next(iterator)
    source.push("Three four, five six and so on, ")
    source.finish()
    second = next(iterator)
    assert first.pause_before_s == 0.0
    assert second.pause_before_s == pytest.approx(0.35)
    assert list(iterator) == []


def test_tags_are_pauses_in_an_arriving_text(frontend: TextFrontend) -> None:
    board = Board()
    source = feed(board, frontend, [], markup=True)
    for piece in ("One two. [pau", "se:1.", "5] Three four."):
        source.push(piece)
    source.finish()
    lines = list(source)
    assert len(lines) == 2 and lines[1].pause_before_s == pytest.approx(1.5)


def test_a_cancel_ends_both_sides(frontend: TextFrontend) -> None:
    board = Board()
    source = feed(board, frontend, [])
    board.cancel()
    with pytest.raises(Cancelled):
        source.push("One two. ")
    with pytest.raises(Cancelled):
        next(iter(source))


def test_pieces_must_be_text(frontend: TextFrontend) -> None:
    with pytest.raises(UsageError, match="int"):
        feed(Board(), frontend, []).push(3)  # type: ignore[arg-type]


def test_lines_of_a_plan(frontend: TextFrontend) -> None:
    plan = frontend.segments("One two three. Four five six.", 20)
    lines = list(plan_lines(plan, 1.0, offset=100, pause_s=0.5))
    assert [line.start for line in lines] == [100 + s.start for s in plan.segments]
    assert lines[0].pause_before_s == 0.5
    assert [line.pause_before_s for line in lines[1:]] == [s.pause_after_s for s in plan.segments[:-1]]
