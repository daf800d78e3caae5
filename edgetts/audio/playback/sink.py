"""The interface of playback, its counters, and the length of the prebuffer.

In: float32 samples at the rate given to `open`. Out: sound. Does not know devices.
"""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from edgetts.audio.playback.player import State

Samples = npt.NDArray[np.float32]  # (S,)
AnySink = TypeVar("AnySink", bound="Sink")

MIN_PREBUFFER_S = 0.2
MAX_PREBUFFER_S = 30.0  # beyond this, pauses during speech are better than a longer wait before it
SLOW_PREBUFFER_S = 5.0  # if synthesis is slower than real time and the length unknown; rebuffering does the rest
JITTER = 0.5  # the time of a chunk varies by up to this fraction of its mean, uniformly distributed
UNDERRUN_ODDS = 1e-4  # accepted probability of an underrun in an utterance if the machine is fast enough


@dataclass(frozen=True)
class PlaybackStats:
    """A snapshot of a sink's counters. Samples are counted since `open`; after `close` the values stay."""

    state: State
    sample_rate: int  # of the device, Hz; 0 before the first `open`
    played_samples: int  # speech given to the device
    silent_samples: int  # silence given to the device
    buffered_samples: int  # speech in the buffer
    underruns: int  # times that speech stopped because the buffer was empty
    rebuffers: int  # times that it went on after that
    device_underflows: int  # times that the device reported a late callback (a busy CPU)
    reopened: int  # times that a lost device was reopened

    @property
    def buffered_s(self) -> float:
        """Seconds of speech in the buffer."""
        return self.buffered_samples / self.sample_rate if self.sample_rate else 0.0


class Sink(abc.ABC):
    """Plays mono speech in the order of writing.

    One thread opens, writes, ends and drains. `abort` and `stats` may be called from any thread. As a context manager
    it is closed at the end, which drops samples that were not played yet: call `drain` first.
    """

    prebuffer_s: float
    """Seconds to buffer before speech starts (0 to MAX_PREBUFFER_S, see `prebuffer_seconds`). May be changed at any
    time; takes effect at the next start or rebuffering."""

    @abc.abstractmethod
    def open(self, sample_rate: int) -> None:
        """Prepare for samples at this rate (Hz), also after `abort`. Resets the counters."""

    @abc.abstractmethod
    def write(self, samples: Samples) -> None:
        """Add (S,) float32 samples in [-1, 1]; sleeps while the buffer is full.

        Raises Cancelled after `abort`, AudioError if the device is lost or a sample is not finite.
        """

    @abc.abstractmethod
    def end(self) -> None:
        """End an utterance: it is played even if it is shorter than the prebuffer, and silence after it is no
        underrun. The next utterance waits for its own prebuffer. Does not wait for playback. Raises as `write`."""

    @abc.abstractmethod
    def drain(self) -> None:
        """`end`, then wait until the last sample was played. The sink can be written to again."""

    @abc.abstractmethod
    def abort(self) -> None:
        """Stop playing at once and drop the buffer; a sleeping `write` or `drain` raises Cancelled."""

    @abc.abstractmethod
    def close(self) -> None:
        """`abort` and release the device; a closed sink may be closed or opened again."""

    @property
    @abc.abstractmethod
    def stats(self) -> PlaybackStats:
        """The current counters."""

    def __enter__(self: AnySink) -> AnySink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def prebuffer_seconds(rtf: float | None, chunk_s: float, remaining_s: float | None = None) -> float:
    """Seconds of speech to buffer before starting, so that playback does not underrun.

    rtf: measured compute time over audio time; None: not measured yet.
    chunk_s: the longest chunk in the first seconds.
    remaining_s: length of the whole speech; None: unknown.

    The sum of the longest wait for one chunk, a margin that keeps the probability of an underrun below UNDERRUN_ODDS
    (the smaller of Lundberg's bound for an infinite random walk, for rtf < 1, and Hoeffding's for the remaining
    length), and, for rtf >= 1, the delay that builds up over the rest, or a fixed one if its length is unknown.
    """
    if rtf is None:
        return MIN_PREBUFFER_S
    if not 0 <= rtf < math.inf or not 0 <= chunk_s < math.inf or not 0 <= (remaining_s or 0) < math.inf:
        raise ValueError(
            f"rtf, chunk_s and remaining_s must be finite and not negative, not {rtf}, {chunk_s}, {remaining_s}"
        )
    variance = JITTER**2 / 3  # of a uniform distribution, relative to a chunk's mean time
    log_odds = -math.log(UNDERRUN_ODDS)
    margin = chunk_s * variance * rtf**2 * log_odds / (2 * (1 - rtf)) if rtf < 1 else math.inf
    delay = 0.0
    if remaining_s is not None:
        delay = remaining_s * max(0.0, 1 - 1 / rtf) if rtf else 0.0
        margin = min(margin, math.sqrt(2 * variance * log_odds * chunk_s * (remaining_s - delay)))
    elif rtf >= 1:
        delay, margin = SLOW_PREBUFFER_S, 0.0
    seconds = rtf * (1 + JITTER) * chunk_s + delay + margin
    if remaining_s is not None:
        seconds = min(seconds, remaining_s)
    return min(max(seconds, MIN_PREBUFFER_S), MAX_PREBUFFER_S)
