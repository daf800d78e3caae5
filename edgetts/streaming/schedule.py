"""When to render: how many codes a part of a segment should have, so that its sound is there in time.

In: what is known about speeds, how much sound the listener still has, how many codes wait. Out: a number of
codes. The first part is small; later ones are as large as can be ready before the sound runs out, because
larger parts have fewer seams and cost less. On a machine that cannot keep up the listener is given a head
start (`LatencyEstimator.prebuffer_s`). Knows no threads and no clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edgetts.audio.playback.sink import MIN_PREBUFFER_S, prebuffer_seconds
from edgetts.errors import UsageError
from edgetts.streaming.latency import LatencyModel

SAFETY = 1.5  # a part may take so many times its estimate: playback is planned for half as much again
MARGIN_S = 0.05  # of sound that is left when a part arrives as expected
MAX_CHUNK_CODES = 500  # 10 s: larger parts gain nothing
MIN_CHUNK_CODES = 24  # 0.5 s: less is mostly overhead
MIN_FIRST_CODES = 30  # 0.6 s, of which the first part gives out 0.4 s
MAX_FIRST_CODES = 250  # 5 s: on machines that keep up with large parts only
SIZES = (MIN_CHUNK_CODES, 36, 54, 81, 121, 182, 273, 410)  # of parts that are looked at
SLOW_CHUNK_CODES = 182  # on machines where no part is ready in time
LEAST_SAFETY = 1.1
LEARNING_GROWTH = 1.5  # from part to part while speeds are not known
SEEDED_CHUNKS = (MIN_FIRST_CODES, 60, 120)  # where a seed has to give the same sound on every machine
COMFORT_S = 2.0  # the length of part by which the steady real-time factor is judged


@dataclass(frozen=True)
class BufferState:
    """What a schedule looks at, for the next part of a segment."""

    n_waiting: int  # codes that are made and not rendered
    lead_s: float | None  # sound that the listener has left; None: playback has not started yet
    n_parts: int  # that were rendered in this stream
    previous_codes: int  # codes of the part before, 0 at the start of a segment
    context_frames: int  # mel that will be the further prompt


class Schedule(Protocol):
    """Says when to render."""

    def target(self, situation: BufferState, /) -> int | None:
        """Codes that the next part should have, if the segment has so many; None: all of it."""

    def is_urgent(self, situation: BufferState, /) -> bool:
        """Whether the listener hears nothing until this part is there, so that fewer flow steps are worth it."""


class Whole:
    """Every segment in one part: offline."""

    def target(self, _situation: BufferState) -> int | None:
        return None

    def is_urgent(self, _situation: BufferState) -> bool:
        return False


@dataclass(frozen=True)
class Fixed:
    """Parts of given sizes in codes, the last of which repeats; the same sound on every machine."""

    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.sizes or not all(isinstance(n, int) and n > 0 for n in self.sizes):
            raise UsageError(f"Chunks of {self.sizes} codes are not possible; give numbers of 1 or more, as 30,60.")

    def target(self, situation: BufferState) -> int | None:
        return self.sizes[min(situation.n_parts, len(self.sizes) - 1)]

    def is_urgent(self, situation: BufferState) -> bool:
        return situation.n_parts == 0


@dataclass(frozen=True)
class LatencyEstimator:
    """Estimates for one call: measured speeds, with what the call and its voice add to the work."""

    speeds: LatencyModel
    code_rate: float  # codes per second of speech
    frames_per_code: float
    prompt_frames: int  # of the voice
    n_evals: int  # of the DiT for one part
    n_rows: float  # branches of guidance, on average
    held_frames: int  # whose sound the first part of a segment cannot give out yet
    edge_frames: int  # that a part computes beside its own: held ones and the vocoder's context

    def render_s(self, n_codes: int, context_frames: int) -> float | None:
        """Seconds from so many codes to their sound."""
        n_frames = n_codes * self.frames_per_code + self.edge_frames
        latents = self.speeds.seconds("latents", n_codes)
        flow = self.speeds.seconds("flow", self.n_rows * (self.prompt_frames + context_frames + n_frames))
        vocoder = self.speeds.seconds("vocoder", n_frames)
        if latents is None or flow is None or vocoder is None:
            return None
        return latents + self.n_evals * flow + vocoder

    def codes_s(self, n_codes: int) -> float | None:
        """Seconds to make so many codes."""
        return self.speeds.seconds("codes", n_codes) if n_codes else 0.0

    def share(self, n_codes: int, context_frames: int) -> float | None:
        """Compute time over audio time in parts of this size; None before it is known.

        Both threads share the machine, so a second of one costs the other something: half of it is counted.
        """
        codes, render = self.codes_s(n_codes), self.render_s(n_codes, context_frames)
        if codes is None or render is None:
            return None
        return (max(codes, render) + min(codes, render) / 2) * self.code_rate / n_codes

    def rtf(self, context_frames: int) -> float | None:
        """The real-time factor in the long run, in parts of a comfortable size."""
        return self.share(round(COMFORT_S * self.code_rate), context_frames)

    def least_codes(self, context_frames: int) -> int:
        """The smallest part that plays for longer than the next one of its size takes.

        A part has a fixed cost (prompt and context are computed again), so smaller ones fall behind for good.
        Where all do with the usual safety, the size that does without it, or one that falls behind little.
        """
        for safety in (SAFETY, LEAST_SAFETY):
            for n_codes in SIZES:
                share = self.share(n_codes, context_frames)
                if share is None or safety * share <= 1:
                    return n_codes
        return SLOW_CHUNK_CODES

    def is_tight(self, context_frames: int) -> bool:
        """Whether this machine is known to have nothing to spare: slow parts are paid from a head start."""
        rtf = self.rtf(context_frames)
        return rtf is not None and SAFETY * rtf >= 1

    def prebuffer_s(self, context_frames: int, remaining_s: float | None = None) -> float:
        """Seconds of sound that a listener should have before it starts.

        Where the machine has time to spare, the sizes of the parts see to it that the first one suffices.
        """
        if not self.is_tight(context_frames):
            return MIN_PREBUFFER_S
        chunk_s = self.least_codes(context_frames) / self.code_rate
        return prebuffer_seconds(self.rtf(context_frames), chunk_s, remaining_s)

    def first_sound_s(self, n_codes: int) -> float:
        """Seconds of sound that a first part of so many codes gives out."""
        n_frames = n_codes * self.frames_per_code - self.held_frames
        return max(0.0, n_frames / self.frames_per_code / self.code_rate)


@dataclass(frozen=True)
class Adaptive:
    """Parts that are ready before the sound runs out, by what was measured."""

    pace: LatencyEstimator
    first_codes: int = MIN_FIRST_CODES

    def target(self, situation: BufferState) -> int | None:
        if situation.lead_s is None:
            if self.pace.is_tight(situation.context_frames):  # the head start comes in steady steps
                return self.pace.least_codes(situation.context_frames)
            return self._first(situation)
        low, high = self.pace.least_codes(situation.context_frames), MAX_CHUNK_CODES
        if self._fits(low, situation) is None:
            grown = int(situation.previous_codes * LEARNING_GROWTH)
            return min(max(MIN_CHUNK_CODES, grown), MAX_CHUNK_CODES)
        while low < high:  # the largest that fits, the smallest possible if none does
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._fits(middle, situation) else (low, middle - 1)
        return low

    def is_urgent(self, situation: BufferState) -> bool:
        # On a machine with nothing to spare the head start is waited for, not this part.
        is_tight = self.pace.is_tight(situation.context_frames)
        return situation.previous_codes == 0 and not situation.lead_s and not is_tight

    def _first(self, situation: BufferState) -> int:
        """The smallest first part whose sound lasts until a smallest next one is there."""
        pace = self.pace
        if situation.n_waiting < self.first_codes:
            return self.first_codes
        least = pace.least_codes(situation.context_frames)
        for n_codes in range(self.first_codes, MAX_FIRST_CODES):
            render, code = pace.render_s(n_codes, 0), pace.codes_s(1)
            if render is None or not code:
                return self.first_codes
            n_made = int(render / code)  # while the first one is rendered
            then = BufferState(n_made, pace.first_sound_s(n_codes), 1, n_codes, situation.context_frames)
            if self._fits(least, then):
                return n_codes
        return MAX_FIRST_CODES

    def _fits(self, n_codes: int, situation: BufferState) -> bool | None:
        """Whether a part of so many codes is ready in time; None: not known."""
        assert situation.lead_s is not None
        codes = self.pace.codes_s(max(0, n_codes - situation.n_waiting))
        render = self.pace.render_s(n_codes, situation.context_frames)
        if codes is None or render is None:
            return None
        return SAFETY * (codes + render) + MARGIN_S <= situation.lead_s
