"""The user's view of a stream: an iterator of audio chunks that can be closed at any time.

In: a session's state. Out: `AudioChunk`s, in a `for` loop or an `async for` loop. Errors of the worker threads are
raised here. Closing the stream, leaving its `with` block or dropping it ends the work.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import weakref
from collections.abc import AsyncIterable, Callable
from types import TracebackType

import numpy as np
import numpy.typing as npt

from edgetts.audio.formats import FULL_SCALE, to_pcm16
from edgetts.backends.own_thread import in_own_thread
from edgetts.backends.process import check_process, is_forked
from edgetts.decoding.attempts import shown
from edgetts.errors import UsageError
from edgetts.options import SampleType
from edgetts.streaming.chunk import AudioChunk
from edgetts.streaming.session import Session
from edgetts.streaming.source import TextFeed, slices
from edgetts.streaming.state import Samples, SegmentState, Sound


class SpeechStream:
    """Iterate over it for `AudioChunk`s; close it, or leave a `with` block, to stop at once.

    session: running. notices: of the text; may grow while text arrives. feed: for the text of a session that has none
    yet. started_at: by `time.perf_counter`. seed: repeats this stream, given the same fixed chunk sizes.
    """

    def __init__(
        self, session: Session, notices: list[str], dtype: SampleType = "float32", feed: TextFeed | None = None
    ) -> None:
        self.sample_rate = session.sample_rate
        self.seed = session.seed
        self.started_at = session.state.started_at
        self.feed = feed
        self._notices = notices
        self._dtype = dtype
        self._state = session.state
        self._session = session
        self._n_taken = 0  # samples
        self._has_last = False  # the last chunk was taken
        # The threads know the session, not this object: when it is dropped, they end.
        self._finalizer = weakref.finalize(self, session.close)

    @property
    def prebuffer_s(self) -> float:
        """Seconds of audio that a player should pre-buffer before it starts, so that it does not underrun."""
        return self._session.prebuffer_s

    @property
    def compute_seconds(self) -> float:
        """Seconds from the start to the last samples, or until now if the stream is not complete."""
        return (self._state.completed_at or time.perf_counter()) - self.started_at

    @property
    def segments(self) -> tuple[SegmentState, ...]:
        """The segments spoken so far; complete after the last chunk."""
        check_process()
        with self._state.changed:
            return tuple(self._state.segments)

    @property
    def speed_notice(self) -> str | None:
        """The one of `notices` that says that playback starts late on this machine, or None."""
        return self._session.speed_notice

    @property
    def notices(self) -> tuple[str, ...]:
        """Sentences for the user so far: text not spoken as written, objections of guards."""
        of_segments = [
            f"Segment {i + 1}, {shown(segment.queued.written)}: {notice}"
            for i, segment in enumerate(self.segments)
            for notice in segment.notices
        ]
        return (*self._notices, *self._session.notices, *of_segments)

    def __repr__(self) -> str:
        seconds, n_segments = self._n_taken / self.sample_rate, len(self._state.segments)
        at = "over" if self.is_over else "waiting for text" if self._state.is_waiting_for_text else "speaking"
        return f"SpeechStream({seconds:.2f} s taken, segments so far: {n_segments}, {at}, seed={self.seed})"

    def __iter__(self) -> SpeechStream:
        return self

    def __next__(self) -> AudioChunk:
        chunk = self._take(wait=True)
        if chunk is None:
            raise StopIteration
        return chunk

    def take_ready(self) -> AudioChunk | None:
        """The next chunk if one is ready, else None; `is_over` tells whether more can come."""
        return self._take(wait=False)

    @property
    def is_over(self) -> bool:
        """Whether the last chunk was taken or the stream closed."""
        return self._has_last or not self._finalizer.alive

    def _take(self, *, wait: bool) -> AudioChunk | None:
        """The next chunk; None at the end, or if there is none yet and `wait` is False.

        Raises the stream's error, after the chunks that were made before it.
        """
        check_process()
        state = self._state
        try:
            with state.changed:
                # Keep the last samples until it is known whether they are the last. That is immediate, unless text is
                # still arriving, which is not waited for.
                while not self._is_decided():
                    if not wait:
                        return None
                    state.changed.wait()
                chunk = None if self._has_last else self._next_chunk()
        except BaseException:  # Ctrl-C, too: no work may continue in the background
            self.close()
            raise
        if self._has_last:
            self.close()
        return chunk

    def _is_decided(self) -> bool:
        state = self._state
        if self._has_last or state.is_complete or state.is_cancelled:
            return True
        # The end of the text so far: `complete` follows in a moment, or more text will.
        is_end = len(state.sounds) == 1 and state.sounds[0].ends_segment
        may_be_last = is_end and state.has_all_segments and state.sounds[0].segment == len(state.segments) - 1
        return bool(state.sounds) and not may_be_last

    def _next_chunk(self) -> AudioChunk | None:
        """The oldest waiting samples as a chunk; an empty one if none are left; None if the stream was closed."""
        state = self._state
        if state.sounds:
            sound = state.sounds.pop(0)
            state.changed.notify_all()
            self._has_last = state.is_complete and not state.sounds
        else:
            self._has_last = True
            if state.error is not None:
                raise state.error
            if not state.is_complete:
                return None
            sound = Sound(np.zeros(0, np.float32), len(state.segments) - 1, ends_segment=True)
        queued = state.segments[sound.segment].queued
        offset, self._n_taken = self._n_taken, self._n_taken + len(sound.samples)
        is_newest = sound.ends_segment and sound.segment == len(state.segments) - 1
        return AudioChunk(
            samples=sound.samples if self._dtype == "float32" else _to_int16(sound.samples),
            sample_rate=self.sample_rate,
            offset=offset,
            text=queued.text,
            start=queued.start,
            end=queued.end,
            segment=sound.segment,
            ends_segment=sound.ends_segment,
            awaits_text=is_newest and state.is_waiting_for_text and not self._has_last,
            last=self._has_last,
        )

    def play(self, device: str | None = None) -> None:
        """Play what has not been taken yet, while the rest is synthesized, and return when it has been heard.

        Needs the extra `play`. device: part of an output device's name; None: the system's default. Ctrl-C, and
        `close` in another thread, stop at once. Raises UsageError or AudioError if no device can play it, and errors
        of the synthesis.
        """
        from edgetts.audio.playback.portaudio import PortAudioSink

        with self, PortAudioSink(device) as sink:
            sink.open(self.sample_rate)
            try:
                for chunk in self:
                    sink.prebuffer_s = self.prebuffer_s
                    sink.write(_to_float32(chunk.samples))
                    if chunk.awaits_text:
                        sink.end()  # no underrun: the next text has not arrived yet
                sink.drain()
            except BaseException:  # Ctrl-C, too: stop playback first
                sink.abort()
                raise

    def close(self) -> None:
        """Stop within one step of the work and free its memory. May be called twice."""
        self._has_last = True
        self._finalizer()

    def __enter__(self) -> SpeechStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class AsyncSpeechStream:
    """The same for `async for`, without blocking the event loop.

    start: makes the stream, given a callback for new samples; it is called in a thread when the first chunk is
    requested.
    text: pieces that arrive asynchronously, for the stream's feed.
    """

    def __init__(
        self, start: Callable[[Callable[[], None]], SpeechStream], text: AsyncIterable[str] | None = None
    ) -> None:
        self._start = start
        self._text = text
        self._stream: SpeechStream | None = None
        self._ready = asyncio.Event()  # for the next chunk
        self._room = asyncio.Event()  # for more text
        self._pump: asyncio.Task[None] | None = None
        self._is_closed = False

    @property
    def stream(self) -> SpeechStream:
        """The underlying stream with seed, notices and segments; available after the first chunk was requested."""
        if self._stream is None:
            raise UsageError("The stream has not started: request a chunk first.")
        return self._stream

    async def begin(self) -> None:
        """Start now instead of with the first chunk. Raises errors of the request."""
        if self._stream is None and not self._is_closed:
            await self._open()

    def __repr__(self) -> str:
        return f"Async{self._stream!r}" if self._stream is not None else "AsyncSpeechStream(not started)"

    def __aiter__(self) -> AsyncSpeechStream:
        return self

    async def __anext__(self) -> AudioChunk:
        check_process()
        await self.begin()
        stream = self._stream
        while stream is not None and not stream.is_over:
            self._ready.clear()
            chunk = stream.take_ready()
            if chunk is not None:
                return chunk
            if not stream.is_over:
                await self._ready.wait()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Stop, as `SpeechStream.close`."""
        self._is_closed = True
        if is_forked():
            return
        if self._pump is not None:
            self._pump.cancel()
        if self._stream is not None:
            await asyncio.to_thread(self._stream.close)

    async def __aenter__(self) -> AsyncSpeechStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _open(self) -> None:
        loop, ready, room = asyncio.get_running_loop(), self._ready, self._room

        def wake() -> None:
            ready.set()
            room.set()

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed: no task waits
                loop.call_soon_threadsafe(wake)

        self._stream = await in_own_thread(self._start, tell)
        feed = self._stream.feed
        if self._text is not None and feed is not None:
            pump = loop.create_task(_pump_async(self._text, feed, room))
            self._pump = pump
            # A task that waits for text that never comes ends with the stream it feeds.
            weakref.finalize(self._stream, _cancel_task, loop, pump)


async def _pump_async(pieces: AsyncIterable[str], feed: TextFeed, room: asyncio.Event) -> None:
    """Read `pieces` into `feed`; while it is full, wait for `room`."""
    try:
        async for piece in pieces:
            for part in slices(piece):
                room.clear()
                while not feed.offer(part):
                    await room.wait()
                    room.clear()
        feed.finish()
    # BaseException includes cancellation and GeneratorExit. The consumer raises the error and must not wait forever.
    except BaseException as error:
        feed.fail(error)  # no effect on a closed stream
        if isinstance(error, asyncio.CancelledError):
            raise


def _cancel_task(loop: asyncio.AbstractEventLoop, task: asyncio.Task[None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop was closed, and its tasks with it
        loop.call_soon_threadsafe(task.cancel)


def _to_float32(samples: npt.NDArray[np.float32] | npt.NDArray[np.int16]) -> Samples:
    return samples if samples.dtype == np.float32 else samples.astype(np.float32) / np.float32(FULL_SCALE)  # type: ignore[return-value]


def _to_int16(samples: Samples) -> npt.NDArray[np.int16]:
    pcm: npt.NDArray[np.int16] = np.frombuffer(to_pcm16(samples), "<i2").astype(np.int16)
    return pcm
