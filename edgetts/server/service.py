"""A request from arrival to its log line: admission, the networks, the stream, measurements.

In: `SpeechRequest`s, optionally with a source of text. Out: audio chunks for a protocol to send, one log line per
request, and metrics. It does not know protocols or JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import AsyncIterable, AsyncIterator, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from edgetts.errors import Cancelled
from edgetts.pack.plain_json import shown
from edgetts.server.faults import Fault, Stalled, fault_of, refused
from edgetts.server.host import Host
from edgetts.server.metrics import Metrics
from edgetts.server.request_queue import Busy, Closed, RequestQueue
from edgetts.server.settings import Settings
from edgetts.server.within import within
from edgetts.voices.names import MAX_NAME_LENGTH

if TYPE_CHECKING:
    from edgetts.request import SpeechRequest
    from edgetts.streaming.chunk import AudioChunk
    from edgetts.streaming.stream import AsyncSpeechStream, SpeechStream

logger = logging.getLogger(__name__)

T = TypeVar("T")


class ClientGone(Exception):
    """The client disconnected, or reads too slowly."""


class LiveSpeech:
    """One request in progress: an async iterator of chunks that measures for log and metrics."""

    def __init__(self, request: SpeechRequest, id: str, protocol: str, arrived_at: float, stall_s: float) -> None:
        self.request = request
        self.id = id
        self.protocol = protocol
        self.arrived_at = arrived_at
        self.first_sound_s: float | None = None
        self.n_characters = len(request.text or "")
        self.n_samples = 0
        self.n_underruns = 0
        self.is_stalled = False
        self.awaits_text = False
        self.advanced_at = time.monotonic()  # when sound was asked for, or text came, last
        self._stall_s = stall_s
        self._plays_until: float | None = None
        self._chunks: AsyncSpeechStream | None = None
        self._is_ended = False

    @property
    def stream(self) -> SpeechStream:
        """The stream (seed, rate, segments); valid after `attach`."""
        assert self._chunks is not None
        return self._chunks.stream

    def attach(self, chunks: AsyncSpeechStream) -> None:
        """Set the stream to read from."""
        self._chunks = chunks

    async def begin(self) -> None:
        """Start now instead of with the first chunk. Raises the errors of `TTS.start`."""
        assert self._chunks is not None
        await self._unless_stalled(self._chunks.begin())

    async def _unless_stalled(self, work: Coroutine[Any, Any, T]) -> T:
        """The work's result. Raises Stalled when it takes too long although there is text to speak."""
        working = asyncio.ensure_future(work)
        try:
            while not working.done():
                idle_s = 0.0 if self.awaits_text else time.monotonic() - self.advanced_at
                if idle_s >= self._stall_s:
                    self.is_stalled = True
                    raise Stalled
                await asyncio.wait({working}, timeout=self._stall_s - idle_s)
            return working.result()
        finally:
            working.cancel()
            # The error's traceback has this frame, and the frame would have the error: a cycle that keeps the stream
            # and its networks until the next garbage collection.
            del working

    def __aiter__(self) -> LiveSpeech:
        return self

    async def __anext__(self) -> AudioChunk:
        """Raises the stream's errors, and Closed if the daemon ended it."""
        assert self._chunks is not None
        self.advanced_at = time.monotonic()
        try:
            chunk = await self._unless_stalled(self._chunks.__anext__())
        except (StopAsyncIteration, Cancelled):
            if self._is_ended:
                raise Closed from None
            raise
        if len(chunk.samples):
            self._measure(chunk)
        return chunk

    def _measure(self, chunk: AudioChunk) -> None:
        now = time.perf_counter()
        if self.first_sound_s is None:
            self.first_sound_s, self._plays_until = now - self.arrived_at, now
        assert self._plays_until is not None
        if now > self._plays_until and not chunk.awaits_text:
            self.n_underruns += 1
        self._plays_until = max(now, self._plays_until) + chunk.seconds
        self.n_samples += len(chunk.samples)

    async def end(self) -> None:
        """Stop the stream; its iterator raises Closed."""
        self._is_ended = True
        if self._chunks is not None:
            await self._chunks.aclose()

    @property
    def seconds(self) -> float:
        return self.n_samples / self.stream.sample_rate if self.n_samples else 0.0

    @property
    def rtf(self) -> float | None:
        """Compute time over audio time; None without audio."""
        return self.stream.compute_seconds / self.seconds if self.n_samples else None


class Service:
    """State shared by the protocols of a daemon."""

    def __init__(self, host: Host, settings: Settings) -> None:
        self.host = host
        self.settings = settings
        self.limits = settings.limits
        self.queue = RequestQueue(self.limits.streams, self.limits.waiting)
        # One enrollment at a time: it takes much memory and most of the machine.
        self.learning = RequestQueue(1, self.limits.waiting_to_learn)
        self.metrics = Metrics(lambda: self.queue.n_waiting, lambda: self.queue.n_served, lambda: self.host.is_loaded)
        self.is_stopping = False
        self.is_stalled = False  # only a restart helps
        self._running: set[LiveSpeech] = set()
        self._n_done = 0

    @property
    def progress(self) -> tuple[int, int]:
        """Changes with every chunk of audio and every finished request."""
        return self._n_done, sum(live.n_samples for live in self._running)

    @contextlib.asynccontextmanager
    async def speak(
        self,
        request: SpeechRequest,
        protocol: str,
        *,
        pieces: AsyncIterable[str] | None = None,
        arrived_at: float | None = None,
        is_bounded: bool = True,
    ) -> AsyncIterator[LiveSpeech]:
        """Wait for a slot, then synthesize inside the block. Leaving the block stops the stream.

        pieces: text source of a request without text. arrived_at: by `time.perf_counter`. is_bounded: False for clients
        on this machine: no limits on length and delays of the text. Raises Busy and Closed before the block; errors of
        synthesis are raised by the iteration.
        """
        arrived_at = arrived_at or time.perf_counter()
        live = LiveSpeech(request, secrets.token_hex(6), protocol, arrived_at, self.limits.stall_s)
        outcome, fault = "done", None
        try:
            if self.is_stopping:
                raise Closed
            if is_bounded and live.n_characters > self.limits.text_characters:
                raise _too_long(self.limits.text_characters)
            async with self.queue.slot(), self.host.use() as tts:
                text = None if pieces is None else self._counted(pieces, live, is_bounded)
                chunks = _stream(partial(tts.start, request), text)
                live.attach(chunks)
                self._running.add(live)
                try:
                    yield live
                finally:
                    self._running.discard(live)
                    if not live.is_stalled:  # its threads do not end
                        await asyncio.shield(chunks.aclose())
        except Busy:
            outcome = "busy"
            raise
        except Closed:
            outcome = "stopped"
            raise
        except (asyncio.CancelledError, GeneratorExit, ClientGone):
            outcome = "cancelled"
            raise
        except BaseException as error:
            fault = fault_of(error)
            if isinstance(error, Stalled):
                self.is_stalled = True
                logger.error("request %s: no sound for %g s although there is text", live.id, self.limits.stall_s)
            outcome = "refused" if fault.status < 500 else "failed"
            if not isinstance(error, Fault) and fault.code == "internal_error":
                logger.exception("request %s failed", live.id)
            raise
        finally:
            self._record(live, outcome, fault)

    async def _counted(self, pieces: AsyncIterable[str], live: LiveSpeech, is_bounded: bool) -> AsyncIterator[str]:
        """The pieces; counts characters and enforces the limits."""
        seconds = self.limits.text_s if is_bounded else None
        waiting = aiter(pieces)
        while True:
            live.awaits_text = True
            try:
                piece = await within(anext(waiting), seconds)
            except StopAsyncIteration:
                return
            except asyncio.TimeoutError:
                message = f"No text arrived for {seconds:g} s, and its end was not sent."
                raise Fault(408, message, code="text_timeout") from None
            finally:
                live.awaits_text, live.advanced_at = False, time.monotonic()
            live.n_characters += len(piece)
            if is_bounded and live.n_characters > self.limits.text_characters:
                raise _too_long(self.limits.text_characters)
            yield piece

    def _record(self, live: LiveSpeech, outcome: str, fault: Fault | None) -> None:
        metrics = self.metrics
        self._n_done += outcome == "done"
        metrics.requests.labels(live.protocol, outcome).inc()
        metrics.characters.inc(live.n_characters)
        metrics.underruns.inc(live.n_underruns)
        if fault is not None:
            metrics.errors.labels(fault.code or fault.kind).inc()
        if live.first_sound_s is not None:
            metrics.first_sound.observe(live.first_sound_s)
            metrics.audio_seconds.inc(live.seconds)
        if outcome == "done" and live.rtf is not None:
            metrics.rtf.observe(live.rtf)
        logger.info("%s", self._line(live, outcome, fault))

    def _line(self, live: LiveSpeech, outcome: str, fault: Fault | None) -> str:
        """The log line of a request as `key=value` pairs; with text only if `tells_text`."""
        first_ms = None if live.first_sound_s is None else round(live.first_sound_s * 1000)
        table = {
            "id": live.id,
            "protocol": live.protocol,
            "voice": voice_name(live.request),
            "characters": live.n_characters,
            "first_sound_ms": first_ms,
            "seconds": round(live.seconds, 2),
            "rtf": None if live.rtf is None else round(live.rtf, 3),
            "underruns": live.n_underruns,
            "outcome": outcome,
        }
        if fault is not None:
            table["error"] = shown(fault.message, 200)
        if self.settings.tells_text:
            table["text"] = shown(live.request.text, 1000)
        return "speech " + " ".join(f"{key}={'-' if value is None else value}" for key, value in table.items())

    async def stop(self, seconds: float) -> None:
        """Refuse new requests, wait up to `seconds` for running streams, then stop them."""
        self.is_stopping = True
        self.queue.close()
        self.learning.close()
        deadline = time.monotonic() + seconds
        while self._running and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        for live in list(self._running):
            await live.end()


def _stream(start: partial[SpeechStream], text: AsyncIterable[str] | None) -> AsyncSpeechStream:
    from edgetts.streaming.stream import AsyncSpeechStream

    return AsyncSpeechStream(start, text)


def voice_name(request: SpeechRequest) -> str | None:
    """The voice as one word for a log line."""
    name = getattr(request.voice, "name", request.voice)
    if name is None:
        return None
    # Over the Unix socket it may be any text.
    return "".join(c if c.isprintable() else "?" for c in "_".join(str(name).split())[:MAX_NAME_LENGTH])


def _too_long(most: int) -> Fault:
    return refused(
        f"The text has more than {most} characters: split it into several requests.", "input", "text_too_long"
    )
