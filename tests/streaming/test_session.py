"""Streams on the mini pack: the offline sound, order, retries, cancelling, errors, several at once."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers.made_codes import give_codes
from helpers.streams import QUICK, TEXT, own_threads

from edgetts.api import TTS, AudioChunk, SpeechStream
from edgetts.backends.lanes import Held, HostLane, Lanes, Timer
from edgetts.decoding.attempts import Attempt, derive_seed
from edgetts.decoding.guards import Lacking
from edgetts.errors import GenerationError, UsageError
from edgetts.options import SynthesisOptions
from edgetts.streaming.renderer import SegmentRenderer
from edgetts.streaming.schedule import Fixed, Whole
from edgetts.streaming.session import Session
from edgetts.streaming.state import SegmentState
from edgetts.voices.speaker import make_speaker
from edgetts.voices.voice import Voice


def joined(chunks: list[AudioChunk]) -> np.ndarray:
    offset = 0
    for chunk in chunks:
        assert chunk.offset == offset
        offset += len(chunk.samples)
    assert [c.last for c in chunks] == [False] * (len(chunks) - 1) + [True]
    return np.concatenate([c.samples for c in chunks])


def test_one_part_is_the_pipeline_bit_by_bit(tts: TTS, voice: Voice) -> None:
    options = SynthesisOptions(**{**QUICK, "seed": None})
    segments = tts.frontend().segments(TEXT, 20).segments
    spoken = [
        tts.pipeline.speak(make_speaker(tts.pipeline.networks, voice), s.ids, options, derive_seed(3, i))
        for i, s in enumerate(segments)
    ]
    expected = np.concatenate(
        [
            part
            for s, w in zip(segments, spoken, strict=True)
            for part in (w.waveform.numpy(), np.zeros(round(s.pause_after_s * tts.sample_rate), np.float32))
        ]
    )
    said = tts.say(TEXT, voice, max_segment_tokens=20, **QUICK)
    assert len(segments) > 1
    assert np.array_equal(said.samples, expected)
    streamed = joined(list(tts.stream(TEXT, voice, max_segment_tokens=20, chunks=(1000,), **QUICK)))
    assert np.array_equal(streamed, expected)
    assert [s.codes for s in said.segments] == [s.codes for s in spoken]


@pytest.mark.parametrize("chunks", ["whole", (30,)])
def test_sound_is_woken_only_by_codes_that_it_waits_for(tts: TTS, voice: Voice, chunks: Any) -> None:
    """Not by each of the 45: to wake a thread takes time from the other one. It looks before it waits, too."""
    with pytest.MonkeyPatch.context() as patch:
        asked, target = list[int](), (Whole if chunks == "whole" else Fixed).target
        patch.setattr(Whole if chunks == "whole" else Fixed, "target", lambda *a: asked.append(0) or target(*a))
        stream = tts.stream("One two three.", voice, chunks=chunks, **QUICK)
        joined(list(stream))
    assert len(stream.segments[0].codes) == 45 and len(asked) < 15


@pytest.mark.parametrize("n_beams", [1, 3])
def test_many_parts_have_the_offline_length_and_codes_and_nearly_its_sound(
    tts: TTS, voice: Voice, n_beams: int
) -> None:
    options: dict[str, Any] = {**QUICK, "n_beams": n_beams}
    said = tts.say(TEXT, voice, **options)
    stream = tts.stream(TEXT, voice, chunks=(18, 12), **options)
    chunks = list(stream)
    samples = joined(chunks)
    assert len(chunks) > len(said.segments) + 1
    assert samples.shape == said.samples.shape
    assert [tuple(s.codes) for s in stream.segments] == [s.codes for s in said.segments]
    assert {c.text for c in chunks} == {s.spoken for s in said.segments}
    assert not np.array_equal(samples, said.samples)


def test_sound_comes_before_the_segment_is_finished(tts: TTS, voice: Voice) -> None:
    with tts.stream(TEXT, voice, chunks=(20,), **QUICK) as stream:
        first = next(stream)
        assert len(first.samples) and not first.ends_segment and not first.last
    assert not own_threads()


def test_no_codes_are_made_while_a_listener_waits(tts: TTS, voice: Voice, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both threads want the same cores: the first part has them, and later parts share them."""
    made: list[int] = []
    sessions: list[Session] = []
    make_sound, render = Session._make_sound, SegmentRenderer.render

    def with_session(self: Session) -> None:
        sessions.append(self)
        make_sound(self)

    def slow(self: SegmentRenderer, *arguments: Any, **settings: Any) -> Any:
        (session,) = sessions
        before = len(session.state.segments[0].codes)
        time.sleep(0.2)  # time for many codes
        made.append(len(session.state.segments[0].codes) - before)
        assert made[1:] or not session._engine.codes_lock._is_held  # another stream could make its codes
        return render(self, *arguments, **settings)

    monkeypatch.setattr(Session, "_make_sound", with_session)
    monkeypatch.setattr(SegmentRenderer, "render", slow)
    chunks = list(tts.stream("One two three.", voice, chunks=(5, 5, 100), **QUICK))
    assert sum(len(c.samples) for c in chunks)
    assert made[0] <= 1  # the one that was being made
    assert sum(made[1:]) > 1


def test_codes_and_sound_are_computed_each_in_a_lane_and_timed_there(
    tts: TTS, voice: Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered: list[tuple[str, str]] = []
    timed: list[str] = []

    class Lane(HostLane):
        def __init__(self, name: str) -> None:
            self.name = name

        @contextlib.contextmanager
        def entered(self) -> Iterator[None]:
            entered.append((self.name, threading.current_thread().name))
            yield

        def timer(self, held: Held) -> Timer:
            timed.append(self.name)
            return super().timer(held)

    monkeypatch.setattr(tts.engine, "lanes", Lanes(Lane("codes"), Lane("sound")))
    with tts.stream("One two three.", voice, chunks=(10,), **QUICK) as stream:
        n_chunks = len(list(stream))
    assert sorted(entered) == [("codes", "edgetts-codes"), ("sound", "edgetts-sound")]
    assert timed.count("codes") == 1 and timed.count("sound") == n_chunks


@pytest.mark.parametrize("n_beams", [1, 2])
def test_whole_segments_are_the_sound_of_say(tts: TTS, voice: Voice, n_beams: int) -> None:
    options = {**QUICK, "n_beams": n_beams, "max_segment_tokens": 20}
    audio = tts.say(TEXT, voice, **options)
    with tts.stream(TEXT, voice, chunks="whole", **options) as stream:
        chunks = list(stream)
    assert np.array_equal(joined(chunks), audio.samples) and len(audio.segments) > 1
    assert sum(len(chunk.samples) > 0 and chunk.ends_segment for chunk in chunks) == len(audio.segments)
    with pytest.raises(UsageError, match=r"chunks is 'half'; .*'whole'"):
        tts.stream(TEXT, voice, chunks="half", **options)  # type: ignore[arg-type]


def test_int16_is_the_same_sound(tts: TTS, voice: Voice) -> None:
    floats = joined(list(tts.stream("One.", voice, chunks=(30,), **QUICK)))
    ints = joined(list(tts.stream("One.", voice, chunks=(30,), dtype="int16", **QUICK)))
    assert ints.dtype == np.int16
    assert np.abs(ints / 32767 - floats).max() < 1 / 32000
    with pytest.raises(UsageError, match="int16"):
        tts.stream("One.", voice, dtype="int8")  # type: ignore[arg-type]


def test_a_guard_retries_unheard_sound_and_cuts_heard_sound(tts: TTS, voice: Voice) -> None:
    # Random weights never end by themselves, so the cap by text length is reached in every attempt.
    options = {**QUICK, "guards": True, "retries": 1, "max_codes": 60}
    unheard = tts.stream("One.", voice, chunks=(1000,), **options)
    list(unheard)
    assert unheard.segments[0].attempts == 2 and len(unheard.segments[0].notices) == 1
    heard = tts.stream("One.", voice, chunks=(20,), **options)
    samples = joined(list(heard))
    assert len(samples)
    assert heard.segments[0].attempts == 1 and len(heard.segments[0].notices) == 1
    assert "Segment 1, 'One.': no end after" in heard.notices[-1]


def ends_after(lengths: list[int], monkeypatch: pytest.MonkeyPatch, pace_s: float = 0.0) -> None:
    """Instead of decoding: attempts that end by themselves after so many codes, each told after `pace_s`."""
    give_codes(monkeypatch, (range(n) for n in lengths), pace_s=pace_s, max_codes=1000)


LONG = "Three words here. Somebody walked along a river in the evening."


GUARDED: dict[str, Any] = {**QUICK, "guards": True, "retries": 1, "max_segment_tokens": 20}


@pytest.mark.parametrize("n_beams", [1, 3])
def test_each_segment_must_be_long_enough(
    tts: TTS, voice: Voice, n_beams: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_segments = len(tts.frontend().segments(LONG, 20).segments)
    assert n_segments > 1
    options = {**GUARDED, "n_beams": n_beams}
    lengths = [99] * (n_segments - 1)
    ends_after([*lengths, 1, 99], monkeypatch)
    said = tts.say(LONG, voice, **options)
    assert [s.attempts for s in said.segments] == [1] * (n_segments - 1) + [2]
    assert len(said.segments[-1].codes) == 99 and not said.notices
    for speak in (lambda: tts.say(LONG, voice, **options), lambda: list(tts.stream(LONG, voice, **options))):
        ends_after([*lengths, 1, 0], monkeypatch)
        with pytest.raises(GenerationError, match="did not say all of.*in 2 tries"):
            speak()


def test_words_that_a_heard_segment_lost_are_named(tts: TTS, voice: Voice, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "Hello world."
    ends_after([30], monkeypatch, pace_s=0.05)
    monkeypatch.setattr("edgetts.text.length.MIN_LETTER_S", 0.08)  # 0.8 s: 40 codes, and 45 are allowed
    stream = tts.stream(text, voice, chunks=(18,), **GUARDED)
    assert len(joined(list(stream)))
    (spoken,) = stream.segments
    assert spoken.attempts == 1 and len(spoken.codes) == 30
    assert [n for n in stream.notices if text in n and "words may be missing" in n], stream.notices


def test_words_that_the_codes_lack_are_read_again_unless_heard(
    tts: TTS, voice: Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "Hello world."
    asked: list[tuple[int, ...]] = []  # attempts of less than 40 codes lack two words

    def lacking(ids: tuple[int, ...], codes: list[int]) -> Lacking:
        asked.append(ids)
        return Lacking(2, 2) if len(codes) < 40 else Lacking()

    monkeypatch.setattr(tts.pipeline, "code_sounds", SimpleNamespace(lacking=lacking))
    ends_after([39, 41], monkeypatch)
    said = tts.say(text, voice, **GUARDED)
    assert (said.segments[0].attempts, len(said.segments[0].codes), said.notices) == (2, 41, ())
    assert asked == [tts.frontend().segments(text, 20).segments[0].ids] * 2
    ends_after([39], monkeypatch, pace_s=0.05)
    stream = tts.stream(text, voice, chunks=(18,), **GUARDED)
    assert len(joined(list(stream))) and stream.segments[0].attempts == 1
    assert [n for n in stream.notices if text in n and "2 words may be missing" in n], stream.notices


def test_pieces_of_text_are_spoken_once_in_order(tts: TTS, voice: Voice) -> None:
    pieces = ["One", " two", " three.", " Fo", "ur five", " six! Sev", "en"]
    whole = "".join(pieces)
    stream = tts.stream(iter(pieces), voice, **QUICK)
    chunks = list(stream)
    joined(chunks)
    spans = sorted({(c.start, c.end) for c in chunks})
    assert spans[0][0] == 0 and spans[-1][1] == len(whole)
    assert all(before[1] == after[0] for before, after in itertools.pairwise(spans))
    words = " ".join(s.queued.text for s in stream.segments).replace(".", "").replace("!", "").split()
    assert words == ["One", "two", "three", "Four", "five", "six", "Seven"]


def test_a_clause_is_spoken_while_the_next_is_awaited(tts: TTS, voice: Voice) -> None:
    said = threading.Event()

    def text() -> Iterator[str]:
        yield "One two three. "
        yield "Four "
        assert said.wait(20)  # only given out when the first clause has been heard
        yield "five."

    chunks = []
    for chunk in tts.stream(text(), voice, **QUICK):
        chunks.append(chunk)
        if chunk.ends_segment:
            said.set()
    assert joined(chunks).size
    first_end = next(c for c in chunks if c.ends_segment)
    assert first_end.awaits_text
    pause = next(c for c in chunks if c.segment == 1)
    assert not pause.samples.any() and pause.seconds > 0.1  # the natural pause comes with what follows it


def test_streams_advance_side_by_side(tts: TTS, voice: Voice) -> None:
    alone = [joined(list(tts.stream(TEXT, voice, chunks=(20,), **{**QUICK, "seed": seed}))) for seed in (1, 2, 3)]
    order: list[int] = []

    def consume(index: int, stream: SpeechStream) -> None:
        chunks = []
        for chunk in stream:
            order.append(index)
            chunks.append(chunk)
        results[index] = joined(chunks)

    results: dict[int, np.ndarray] = {}
    streams = [tts.stream(TEXT, voice, chunks=(20,), **{**QUICK, "seed": seed}) for seed in (1, 2, 3)]
    threads = [threading.Thread(target=consume, args=item) for item in enumerate(streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert all(np.array_equal(results[i], alone[i]) for i in range(3))
    assert set(order[: len(order) // 2]) == {0, 1, 2}, order


def test_async_twin(tts: TTS, voice: Voice) -> None:
    async def pieces() -> AsyncIterator[str]:
        for piece in ("One two ", "three. ", "Four."):
            await asyncio.sleep(0.01)
            yield piece

    async def main() -> None:
        async with tts.astream(TEXT, voice, chunks=(20,), **QUICK) as stream:
            assert np.array_equal(joined([c async for c in stream]), expected)
        assert len(joined([c async for c in tts.astream(pieces(), voice, **QUICK)]))
        stream = tts.astream(TEXT, voice, chunks=(20,), **QUICK)
        await stream.__anext__()
        await stream.aclose()
        with pytest.raises(StopAsyncIteration):
            await stream.__anext__()

    expected = joined(list(tts.stream(TEXT, voice, chunks=(20,), **QUICK)))
    asyncio.run(main())
    assert not own_threads()


def test_speeds_are_kept(tts: TTS, voice: Voice) -> None:
    list(tts.stream(TEXT, voice, chunks=(20,), **QUICK))
    files = list((tts.store.cache_dir.parent / "speeds").glob("*.json"))
    assert len(files) == 1
    stream = tts.stream(TEXT, voice, **QUICK)
    assert 0 < stream.prebuffer_s < 30
    stream.close()


@pytest.mark.parametrize("waits_for", ["the last code", "the end"])
def test_a_chunk_that_ends_with_its_segment_sounds_the_same_whenever_the_end_is_known(
    tts: TTS, voice: Voice, monkeypatch: pytest.MonkeyPatch, waits_for: str
) -> None:
    """All codes may be there before it is known that no more come."""
    text = "One two three."
    with tts.stream(text, voice, chunks="whole", **QUICK) as stream:
        expected = joined(list(stream))
        (segment,) = stream._session.state.segments
    attempt = Session._attempt

    def slow(self: Session, segment: SegmentState) -> Attempt:
        made = attempt(self, segment)
        if waits_for == "the end":
            time.sleep(1)  # the codes are there, the segment is not done
        return made

    monkeypatch.setattr(Session, "_attempt", slow)
    sizes = (len(segment.codes),)
    assert np.array_equal(joined(list(tts.stream(text, voice, chunks=sizes, first_steps=1, **QUICK))), expected)
