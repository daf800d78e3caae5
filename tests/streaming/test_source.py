"""Lines from a text that arrives: a language model's 500 tokens, all of them once, in order, none held back."""

from __future__ import annotations

import asyncio
import itertools
import random
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgetts.errors import Cancelled, GenerationError, UsageError
from edgetts.pack.load import open_pack
from edgetts.pack.text import tokenizer_of
from edgetts.streaming.source import MAX_PLANNED_CHARS, MAX_WAITING_CHARS, SLICE_CHARS, TextFeed, pump, queued_segments
from edgetts.streaming.state import QueuedSegment, StreamState
from edgetts.text.config import Language
from edgetts.text.frontend import TextFrontend, TextPlan
from edgetts.text.lines import LINE_PAUSE_S, PARAGRAPH_PAUSE_S

SENTENCES = (
    "Well, here is what happened: the kettle boiled, nobody was there!",
    'Dr. Smith paid 3.50 for it... "Really?" she asked.',
    "The answer is simple; we wait, and then we go on",
    "\n\nA new paragraph begins, and goes on for quite a while without any mark at all",
)


@pytest.fixture(scope="module")
def frontend(mini_pack: Path) -> TextFrontend:
    return TextFrontend(tokenizer_of(open_pack(mini_pack)))


def feed(
    state: StreamState, frontend: TextFrontend, notices: list[str], *, markup: bool = False, markdown: bool = False
) -> TextFeed:
    def plan(text: str, previous: Language | None) -> TextPlan:
        return frontend.segments(text, 120, markup=markup, previous=previous)

    return TextFeed(state, plan, markup=markup, notices=notices, markdown=markdown)


def test_five_hundred_tokens(frontend: TextFrontend) -> None:
    chance = random.Random(0)
    text = " ".join(chance.choice(SENTENCES) for _ in range(60))
    tokens = re.findall(r"\s*\S{1,4}", text)[:500]
    state, notices = StreamState(), list[str]()

    def arriving() -> object:
        for token in tokens:
            if chance.random() < 0.05:
                time.sleep(0.002)
            yield token

    source = feed(state, frontend, notices)
    thread = pump(arriving(), source)  # type: ignore[arg-type]
    lines: list[QueuedSegment] = list(source)
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
    state = StreamState()
    source = feed(state, frontend, [])
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
    state = StreamState()
    source = feed(state, frontend, [], markup=True)
    for piece in ("One two. [pau", "se:1.", "5] Three four."):
        source.push(piece)
    source.finish()
    lines = list(source)
    assert len(lines) == 2 and lines[1].pause_before_s == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("My number is:\n555-1234\n", "five five five, one two three four"),
        ("The price is:\n42.\n", "forty two."),
        ("我的号码是：\n555-1234\n", "五五五一二三四"),
        ("好的。\n42\n", "四十二"),
    ],
)
def test_the_language_last_heard_goes_on(frontend: TextFrontend, text: str, spoken: str) -> None:
    state = StreamState()
    source = feed(state, frontend, [])
    lines = iter(source)
    said = []
    for char in text:  # each clause is planned by itself, as in a conversation
        source.push(char)
        with state.changed:
            has_clause = bool(source._clauses)
        if has_clause:
            said.append(next(lines).text)
    source.finish()
    said += [line.text for line in lines]
    assert said[-1] == spoken, said


def test_a_cancel_ends_both_sides(frontend: TextFrontend) -> None:
    state = StreamState()
    source = feed(state, frontend, [])
    state.cancel()
    with pytest.raises(Cancelled):
        source.push("One two. ")
    with pytest.raises(Cancelled):
        next(iter(source))


def test_pieces_must_be_text(frontend: TextFrontend) -> None:
    with pytest.raises(UsageError, match="int"):
        feed(StreamState(), frontend, []).push(3)  # type: ignore[arg-type]


def test_lines_of_a_plan(frontend: TextFrontend) -> None:
    plan = frontend.segments("One two three. Four five six.", 20)
    lines = list(queued_segments(plan, 1.0, offset=100, pause_s=0.5))
    assert [line.start for line in lines] == [100 + s.start for s in plan.segments]
    assert lines[0].pause_before_s == 0.5
    assert [line.pause_before_s for line in lines[1:]] == [s.pause_after_s for s in plan.segments[:-1]]


def ended_by(state: StreamState, seconds: float = 10.0) -> BaseException | None:
    """The error that a consumer gets, waiting for it as one does."""
    with state.changed:
        assert state.changed.wait_for(lambda: state.is_cancelled, seconds)
    return state.error


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (SystemExit(3), SystemExit),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (ValueError("no"), ValueError),
        (asyncio.CancelledError(), GenerationError),  # would cancel the consumer's own task without a word
        (GeneratorExit(), GenerationError),
        (StopAsyncIteration(), GenerationError),
        (Cancelled("another stream"), Cancelled),
        (type("Panic", (BaseException,), {})("at the disco"), GenerationError),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_whatever_the_source_raises_ends_the_consumer(
    frontend: TextFrontend, raised: BaseException, expected: type[BaseException]
) -> None:
    def pieces() -> Iterator[str]:
        yield "Hello there my friend. "
        raise raised

    state = StreamState()
    thread = pump(pieces(), feed(state, frontend, []))
    error = ended_by(state)
    thread.join(10)
    assert type(error) is expected and not thread.is_alive()
    assert error is raised or (error.__cause__ is raised and type(raised).__name__ in str(error))


class Flood:
    """The same sentence for ever, and how often it was asked for."""

    def __init__(self) -> None:
        self.n_given = 0

    def __iter__(self) -> Iterator[str]:
        while True:
            self.n_given += 1
            yield "More and more of it. "


def test_a_flood_of_text_waits_until_it_is_wanted(frontend: TextFrontend) -> None:
    state, flood = StreamState(), Flood()
    source = feed(state, frontend, [])
    thread = pump(flood, source)
    lines = iter(source)
    most = (MAX_WAITING_CHARS + MAX_PLANNED_CHARS + SLICE_CHARS) / len("More and more of it. ")
    offset = 0
    while offset < MAX_WAITING_CHARS:
        offset = next(lines).end
        assert flood.n_given <= offset / len("More and more of it. ") + most
    assert thread.is_alive()
    state.cancel()
    thread.join(10)
    assert not thread.is_alive()


def test_one_long_piece_waits_too(frontend: TextFrontend) -> None:
    state = StreamState()
    source = feed(state, frontend, [])
    text = ("More and more of it. " * (2 * MAX_WAITING_CHARS // len("More and more of it. "))).rstrip()

    def push() -> None:
        source.push(text)
        source.finish()

    thread = threading.Thread(target=push, daemon=True)
    thread.start()
    lines = iter(source)
    ends = [next(lines).end]
    assert thread.is_alive()
    ends += [line.end for line in lines]
    thread.join(10)
    assert not thread.is_alive() and ends == sorted(ends) and ends[-1] == len(text)


def test_who_may_not_sleep_is_told_that_there_is_no_room(frontend: TextFrontend) -> None:
    told: list[int] = []
    state = StreamState(lambda: told.append(1))
    source = feed(state, frontend, [])
    while source.offer("More and more of it. "):
        pass
    assert not told
    next(iter(source))
    assert told and source.offer("More and more of it. ")


def test_a_long_line_is_spoken_although_nothing_follows(frontend: TextFrontend) -> None:
    source = feed(StreamState(), frontend, [])
    source.push("A line of more than forty characters without a mark\n")
    lines = iter(source)
    assert next(lines).text.endswith("mark")
    source.push("and goes on. ")
    source.finish()
    assert [line.text for line in lines] == ["and goes on."]


def arriving(frontend: TextFrontend, *pieces: str, markup: bool = False) -> list[tuple[str, float]]:
    """Lines and the pauses before them of pieces that arrive one after the other, each when all before it is planned."""
    source = feed(StreamState(), frontend, [], markup=markup)
    lines, found = iter(source), []
    for piece in pieces:
        source.push(piece)
        found += [next(lines)] if piece.strip() else []
    source.finish()
    return [(line.text, line.pause_before_s) for line in [*found, *lines]]


def test_line_ends_are_pauses_in_an_arriving_text(frontend: TextFrontend) -> None:
    pieces = ("Shopping list\n", "milk\n", "\n", "Now the end. ", "\nStop. ")
    assert arriving(frontend, *pieces) == [
        ("Shopping list", 0.0),
        ("milk", LINE_PAUSE_S),
        ("Now the end.", PARAGRAPH_PAUSE_S),
        ("Stop.", pytest.approx(0.35)),
    ]


def test_a_line_end_beside_a_tag_adds_nothing_in_an_arriving_text(frontend: TextFrontend) -> None:
    assert arriving(frontend, "Hello there.\n", "[pause:0.1]\n\nworld. ", markup=True)[1][1] == pytest.approx(0.35)


def test_markdown_that_arrives_is_read_without_its_marks(frontend: TextFrontend) -> None:
    source = feed(StreamState(), frontend, [], markdown=True)
    text = "# The list\nBuy **milk. And** then [eggs](https://a.b/c) now. "
    for piece in ("# The li", "st\nBuy *", "*mi", "lk. And*", "* then [eg", "gs](htt", "ps://a.b/c) now. "):
        source.push(piece)
    source.finish()
    lines = list(source)
    assert [(line.text, text[line.start : line.end].strip()) for line in lines] == [
        ("The list", "The list"),
        ("Buy milk. And then eggs now.", "Buy **milk. And** then [eggs](https://a.b/c) now."),
    ]
    assert lines[1].pause_before_s == PARAGRAPH_PAUSE_S
