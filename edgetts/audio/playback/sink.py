"""Where speech goes to be heard: the interface, its counters, and how much to have before starting.

In: float32 samples at the rate that `open` was told. Out: sound. This file knows no device.
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
MAX_PREBUFFER_S = 30.0  # beyond this a pause in the middle is better than a longer wait before the start
SLOW_PREBUFFER_S = 5.0  # slower than real time, length unknown: some of it, the rest by rebuffering
JITTER = 0.5  # a chunk takes up to this fraction more or less than the RTF says, evenly spread
STARVATION_ODDS = 1e-4  # accepted chance that one utterance starves although the machine keeps up


@dataclass(frozen=True)
class PlaybackStats:
    """A look at a sink. Samples are counted since `open` and at `sample_rate`, the device's (Hz, 0 before the
    first `open`); after `close` the last look stays."""

    state: State
    sample_rate: int
    played_samples: int  # speech handed to the device
    silent_samples: int  # silence handed to it, before, between and after
    buffered_samples: int  # speech waiting
    underruns: int  # times that speech stopped because the next samples were not there
    rebuffers: int  # times that it went on after that
    device_underflows: int  # times that the device said it was served too late (a busy processor)
    reopened: int  # times that the device had vanished and came back

    @property
    def played_s(self) -> float:
        """Seconds of speech handed to the device."""
        return self.played_samples / self.sample_rate if self.sample_rate else 0.0

    @property
    def buffered_s(self) -> float:
        """Seconds of speech waiting."""
        return self.buffered_samples / self.sample_rate if self.sample_rate else 0.0


class Sink(abc.ABC):
    """A place that plays mono speech in the order in which it is written.

    One thread opens, writes, ends and drains. `abort` and `stats` may be called from any thread.
    Used as a context manager it is closed at the end, and what then has not been heard is dropped:
    `drain` first.
    """

    prebuffer_s: float
    """Seconds to have before speech starts (0 to MAX_PREBUFFER_S), from `prebuffer_seconds`; may be
    changed at any time and counts from the next start or rebuffering."""

    @abc.abstractmethod
    def open(self, sample_rate: int) -> None:
        """Get ready for samples at this rate (Hz); after `abort`, ready again. Counters start at 0."""

    @abc.abstractmethod
    def write(self, samples: Samples) -> None:
        """Add (S,) float32 samples in [-1, 1]; sleeps while the buffer is full.

        Raises Cancelled after `abort`, and AudioError when the device is lost or a sample is not finite.
        """

    @abc.abstractmethod
    def end(self) -> None:
        """All that was written is a whole utterance: it plays out even if it is short, and silence after
        it is no underrun. Returns before it was heard; what is written next waits for its own prebuffer.
        Raises as `write`."""

    @abc.abstractmethod
    def drain(self) -> None:
        """`end`, then wait until the last sample was heard. The sink can be written to again."""

    @abc.abstractmethod
    def abort(self) -> None:
        """Fall silent at once and drop what is waiting; a sleeping `write` or `drain` raises Cancelled."""

    @abc.abstractmethod
    def close(self) -> None:
        """`abort` and let go of the device; a closed sink may be closed again, and opened."""

    @property
    @abc.abstractmethod
    def stats(self) -> PlaybackStats:
        """The counters of now."""

    def __enter__(self: AnySink) -> AnySink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def prebuffer_seconds(rtf: float | None, chunk_s: float, remaining_s: float | None = None) -> float:
    """Seconds of speech to have before starting, so that it does not stop again.

    rtf: measured compute time over audio time; None when nothing was measured yet.
    chunk_s: the longest piece that arrives at once in the first seconds.
    remaining_s: length of all that is to be said, if known.

    The longest wait for one chunk, and against unlucky runs of slow chunks what keeps the odds of running
    dry under STARVATION_ODDS: for a random walk without an end (Lundberg's bound, below real time only) and
    for one as long as the rest of the speech (Hoeffding's), whichever is less. At and above real time also
    what the rest will fall behind, or a fixed wait when its length is unknown.
    """
    if rtf is None:
        return MIN_PREBUFFER_S
    if not 0 <= rtf < math.inf or not 0 <= chunk_s < math.inf or not 0 <= (remaining_s or 0) < math.inf:
        raise ValueError(
            f"a real-time factor and lengths are finite and not negative, not {rtf}, {chunk_s}, {remaining_s}"
        )
    variance = JITTER**2 / 3  # of an even spread, relative to a chunk's mean time
    log_odds = -math.log(STARVATION_ODDS)
    unlucky = chunk_s * variance * rtf**2 * log_odds / (2 * (1 - rtf)) if rtf < 1 else math.inf
    behind = 0.0
    if remaining_s is not None:
        behind = remaining_s * max(0.0, 1 - 1 / rtf) if rtf else 0.0
        unlucky = min(unlucky, math.sqrt(2 * variance * log_odds * chunk_s * (remaining_s - behind)))
    elif rtf >= 1:
        behind, unlucky = SLOW_PREBUFFER_S, 0.0
    seconds = rtf * (1 + JITTER) * chunk_s + behind + unlucky
    if remaining_s is not None:
        seconds = min(seconds, remaining_s)
    return min(max(seconds, MIN_PREBUFFER_S), MAX_PREBUFFER_S)
