"""Shared state of a stream's threads: segments, their codes, finished chunks.

One condition variable guards everything, so that a cancel or an error wakes all waiting threads. Nothing here computes
or polls.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edgetts.decoding.guards import Expected
from edgetts.decoding.prompt import GPTPrompt
from edgetts.errors import Cancelled, GenerationError

Samples = npt.NDArray[np.float32]  # (S,)


@dataclass(frozen=True)
class QueuedSegment:
    """A segment of the text, spoken as one unit."""

    text: str  # as it is spoken
    written: str  # as the user wrote it
    ids: tuple[int, ...]
    start: int  # offsets in the user's text
    end: int
    pause_before_s: float
    expected: Expected  # how long it can take
    ready_at: float  # when its text was complete, by `time.perf_counter`
    language: str | None = None  # for a model with a language input


@dataclass(frozen=True)
class Sound:
    """Samples waiting for the consumer."""

    samples: Samples
    segment: int  # index of the segment they belong to
    ends_segment: bool


@dataclass
class SegmentState:
    """Progress of a segment; final once its last samples were output."""

    queued: QueuedSegment
    prompt: GPTPrompt | None = None  # from the first attempt until the segment is rendered
    seed: int = 0  # of the attempt that was kept
    attempts: int = 0
    codes: list[int] = field(default_factory=list)
    is_done: bool = False  # no more codes will come
    n_awaited: int | None = None  # codes with which the thread of sound wakes up; None: it waits for no code
    n_rendered: int = 0  # codes whose samples were output
    notices: list[str] = field(default_factory=list)
    start: int = 0  # samples from the beginning of the stream
    end: int = 0
    first_sound_at: float | None = None  # `time.perf_counter`


class StreamState:
    """The shared state of one stream. All of it is read and written with `changed` held."""

    def __init__(self, on_sound: Callable[[], None] | None = None) -> None:
        self.started_at = time.perf_counter()
        self.changed = threading.Condition()
        self.segments: list[SegmentState] = []
        self.n_segments_done = 0  # completely output
        self.has_all_segments = False
        self.is_waiting_for_text = False  # that has not arrived yet
        self.sounds: list[Sound] = []
        self.is_complete = False  # all sounds are in `sounds` or were taken from it
        self.completed_at: float | None = None  # `time.perf_counter`
        self.error: BaseException | None = None
        self.is_cancelled = False
        self._on_sound = on_sound  # called without the lock when there may be something for a non-blocking consumer

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Wait until `is_so()`; `changed` is held before and after. Raises Cancelled if the stream ends."""
        self.changed.wait_for(lambda: self.is_cancelled or is_so())
        self.check_going_on()

    def check_going_on(self) -> None:
        """Raises Cancelled if the stream ends. The only thing to be asked without the lock."""
        if self.is_cancelled:
            raise Cancelled("The speech was cancelled.")

    def cancel(self) -> None:
        """Stop all work and drop waiting samples."""
        with self.changed:
            self.is_cancelled = True
            self.sounds.clear()
            self.changed.notify_all()
        self.tell()

    def fail(self, error: BaseException) -> None:
        """Stop all work; the consumer gets the waiting samples, then the error."""
        with self.changed:
            if self.error is None and not self.is_cancelled:
                self.error = _as_raised(error)
            self.is_cancelled = True
            self.changed.notify_all()
        self.tell()

    def give(self, sound: Sound, n_ahead: int) -> None:
        """Hand samples to the consumer, as soon as at most `n_ahead` others wait for it."""
        with self.changed:
            self.wait_until(lambda: sum(len(waiting.samples) for waiting in self.sounds) <= n_ahead)
            self.sounds.append(sound)
            self.changed.notify_all()
        self.tell()

    def complete(self) -> None:
        """There will be no more sounds."""
        with self.changed:
            self.is_complete = True
            self.completed_at = time.perf_counter()
            self.changed.notify_all()
        self.tell()

    def tell(self) -> None:
        """Notify non-blocking consumers of samples, the end, or room for text. Call it without the lock."""
        if self._on_sound is not None:
            self._on_sound()


def _as_raised(error: BaseException) -> BaseException:
    """`error` in a form that is safe to raise in the consumer.

    Exceptions that end generators, iterations and tasks (GeneratorExit, StopIteration, asyncio.CancelledError) would
    silently end the consumer's own, so they become the cause of an error. SystemExit and KeyboardInterrupt stay.
    """
    is_ending = isinstance(error, (StopIteration, StopAsyncIteration)) or not isinstance(error, Exception)
    if not is_ending or isinstance(error, (SystemExit, KeyboardInterrupt)):
        return error
    said = f" ({error})" if str(error) else ""
    broken = GenerationError(f"The speech broke off: {type(error).__name__}{said} was raised while it was made.")
    broken.__cause__ = error
    return broken
