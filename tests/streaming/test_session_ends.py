"""How streams end: cancelled, by errors of the text or the model, and many at once."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.streams import QUICK, TEXT, own_threads

from edgetts.api import TTS, AudioChunk
from edgetts.errors import GenerationError, UsageError
from edgetts.models.gpt import KVCache
from edgetts.pipeline import Pipeline
from edgetts.streaming.renderer import SegmentRenderer
from edgetts.streaming.session import Session
from edgetts.voices.voice import Voice


def wait_for_no_threads(seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while own_threads() and time.monotonic() < end:
        time.sleep(0.01)
    assert not own_threads()


def test_leaving_the_loop_ends_everything(tts: TTS, voice: Voice) -> None:
    for _ in tts.stream(TEXT, voice, chunks=(20,), **QUICK):
        break
    deadline = time.monotonic() + 5
    while own_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not own_threads()


KINDS = (Session, SegmentRenderer, KVCache)


def test_a_hundred_cancels_at_any_time_leave_nothing(tts: TTS, voice: Voice) -> None:
    random = np.random.default_rng(0)
    list(tts.stream("One.", voice, **QUICK))
    gc.collect()
    before = [o for o in gc.get_objects() if type(o) in KINDS]  # of other tests, whose traces are kept
    files = len(list(Path("/proc/self/fd").iterdir())) if sys.platform == "linux" else 0
    for _ in range(100):
        stream = tts.stream(TEXT, voice, chunks=(20,), **QUICK)
        time.sleep(float(random.uniform(0, 0.03)))
        stream.close()
        assert list(stream) == []
    del stream
    assert not own_threads()
    gc.collect()
    left = [type(o) for o in gc.get_objects() if type(o) in KINDS and not any(o is known for known in before)]
    assert not left
    if sys.platform == "linux":
        assert len(list(Path("/proc/self/fd").iterdir())) == files


def test_a_closed_stream_stops_a_waiting_consumer(tts: TTS, voice: Voice) -> None:
    def never() -> Iterator[str]:
        yield "One two "
        threading.Event().wait(0.2)
        yield "three"

    stream = tts.stream(never(), voice, **QUICK)
    threading.Timer(0.05, stream.close).start()
    assert list(stream) == []
    # The thread that reads the text cannot be woken from the caller's own iterator: it ends with the next text.
    wait_for_no_threads()


def test_errors_surface_in_the_consumer(tts: TTS, voice: Voice, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Pipeline, *_: object, **__: object) -> torch.Tensor:
        raise GenerationError("The vocoder broke.")

    monkeypatch.setattr(Pipeline, "waveform", broken)
    stream = tts.stream(TEXT, voice, **QUICK)
    with pytest.raises(GenerationError, match="vocoder broke"):
        list(stream)
    wait_for_no_threads()
    assert list(stream) == []


def test_errors_of_the_text_surface_after_what_was_made(tts: TTS, voice: Voice) -> None:
    def text() -> Iterator[str]:
        yield "One two three. "
        yield "Four"
        while not heard:
            time.sleep(0.01)
        raise RuntimeError("the model went away")

    heard: list[AudioChunk] = []
    with pytest.raises(RuntimeError, match="went away"):
        for chunk in tts.stream(text(), voice, chunks=(20,), **QUICK):
            heard.append(chunk)
    assert heard and heard[0].text.startswith("One")


def test_nothing_to_speak(tts: TTS, voice: Voice) -> None:
    with pytest.raises(UsageError, match="nothing to speak"):
        tts.stream("", voice)
    with pytest.raises(UsageError, match="nothing to speak"):
        list(tts.stream(iter([" ", "\n"]), voice, **QUICK))


@pytest.mark.parametrize("raised", [SystemExit, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit])
def test_a_text_that_asks_to_exit_ends_its_stream(tts: TTS, voice: Voice, raised: type[BaseException]) -> None:
    expected = raised if raised in (SystemExit, KeyboardInterrupt) else GenerationError

    def pieces() -> Iterator[str]:
        yield "One two three. "
        raise raised

    with pytest.raises(expected):
        list(tts.stream(pieces(), voice, **QUICK))

    async def arriving() -> AsyncIterator[str]:
        for piece in pieces():
            yield piece

    async def consume() -> None:
        async for _ in tts.astream(arriving(), voice, **QUICK):
            pass

    with pytest.raises(expected):
        asyncio.run(asyncio.wait_for(consume(), 60))
    wait_for_no_threads()


def test_a_panic_of_the_planner_ends_the_stream(tts: TTS, voice: Voice, monkeypatch: pytest.MonkeyPatch) -> None:
    class Panic(BaseException):
        pass

    def panic(*_: object, **__: object) -> None:
        raise Panic("native code")

    monkeypatch.setattr(type(tts.frontend()), "segments", panic)
    with pytest.raises(GenerationError, match="Panic"):
        list(tts.stream(iter(["One two three. "]), voice, **QUICK))
    wait_for_no_threads()


def test_a_flood_of_text_is_not_taken_in(tts: TTS, voice: Voice) -> None:
    n_given = 0

    async def flood() -> AsyncIterator[str]:
        nonlocal n_given
        while True:
            n_given += 1
            yield "More and more of it. "

    async def consume() -> None:
        async with tts.astream(flood(), voice, max_segment_tokens=20, **QUICK) as stream:
            async for _ in stream:
                if stream.stream.segments[-1].queued.end > 100:
                    return

    asyncio.run(asyncio.wait_for(consume(), 60))
    assert n_given < 1000
    wait_for_no_threads()
