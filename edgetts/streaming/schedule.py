"""Schedules: how many codes a chunk should have, so that its audio is ready in time.

In: latency estimates, the listener's buffered audio, the codes waiting. Out: a number of codes. The first chunk is
short. Later ones are as long as can be ready before the buffer runs out, because longer chunks have fewer seams and
cost less. A machine slower than real time pre-buffers (`LatencyEstimator.prebuffer_s`). Knows no threads and no clock.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar, Protocol

from edgetts.audio.playback.sink import MIN_PREBUFFER_S, prebuffer_seconds
from edgetts.errors import UsageError
from edgetts.streaming.latency import LatencyModel

SAFETY = 1.5  # a chunk may take this many times its estimate
MARGIN_S = 0.05  # of audio left in the buffer when a chunk arrives as estimated
# Seconds of speech: models differ in how many codes that are.
MAX_CHUNK_S = 10.0  # longer chunks gain nothing
MIN_CHUNK_S = 0.48  # less is mostly overhead
MIN_FIRST_S = 0.6
MIN_FIRST_SOUND_S = 0.4  # that the first chunk outputs at least: all but its end, which is computed again
MAX_FIRST_S = 5.0  # on machines that keep up only with long chunks
SIZES_S = (MIN_CHUNK_S, 0.72, 1.08, 1.62, 2.42, 3.64, 5.46, 8.2)  # candidates for the smallest sustainable chunk
SLOW_CHUNK_S = 3.64  # on machines slower than real time
LEAST_SAFETY = 1.1
LEARNING_GROWTH = 1.5  # from chunk to chunk while there are no estimates
SEEDED_S = (MIN_FIRST_S, 1.2, 2.4)  # with a seed: independent of measured speeds
COMFORT_S = 2.0  # chunk length at which the steady real-time factor is estimated


@dataclass(frozen=True)
class BufferState:
    """State of codes and playback buffer, on which a schedule decides."""

    n_waiting: int  # decoded codes that are not rendered yet
    lead_s: float | None  # seconds of buffered audio; None: playback has not started
    n_parts: int  # chunks rendered in this stream
    previous_codes: int  # of the previous chunk; 0 at the start of a segment
    context_frames: int  # finished mel used as additional prompt


class Schedule(Protocol):
    """Decides when to render.

    codes_beyond: how many codes beyond the target must be there before it is rendered. With one it is known whether a
    chunk is the segment's last, however fast codes come.
    depends_on_time: whether the target has to be asked for again with every code, as time goes by.
    """

    @property
    def codes_beyond(self) -> int: ...

    @property
    def depends_on_time(self) -> bool: ...

    def target(self, state: BufferState, /) -> int | None:
        """Codes of the next chunk, if the segment has so many; None: the whole segment."""

    def is_urgent(self, state: BufferState, /) -> bool:
        """Whether the listener waits in silence for this chunk, so that fewer flow steps are worth it."""

    def settled(self, n_codes: int, n_rendered: int, n_before: int, /) -> tuple[int, int]:
        """How many of a segment's `n_codes` codes so far can no longer be replaced, and how many chunks they make.

        n_rendered: of these codes, those whose samples were output. n_before: chunks of the segments before. A segment
        of which nothing is settled may be decoded again; of another one, a guard cuts off the rest.
        """


class Whole:
    """One chunk per segment: offline."""

    codes_beyond = 0
    depends_on_time = False

    def target(self, _state: BufferState) -> int | None:
        return None

    def is_urgent(self, _state: BufferState) -> bool:
        return False

    def settled(self, _n_codes: int, _n_rendered: int, _n_before: int) -> tuple[int, int]:
        return 0, 0  # all codes are there before anything is output


@dataclass(frozen=True)
class Fixed:
    """Chunks of given sizes in codes, the last one repeating; the same audio on every machine."""

    sizes: tuple[int, ...]
    codes_beyond: ClassVar[int] = 1
    depends_on_time: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.sizes or not all(isinstance(n, int) and n > 0 for n in self.sizes):
            raise UsageError(f"Chunks of {self.sizes} codes are not possible; give numbers of 1 or more, as 30,60.")

    def target(self, state: BufferState) -> int | None:
        return self.sizes[min(state.n_parts, len(self.sizes) - 1)]

    def is_urgent(self, state: BufferState) -> bool:
        return state.n_parts == 0

    def settled(self, n_codes: int, _n_rendered: int, n_before: int) -> tuple[int, int]:
        """Chunks whose codes are there count as output. Whether they were depends on how fast the machine is, and the
        sound must not. The code beyond them stays too: so they are rendered as chunks with something to follow."""
        sizes = self.sizes[n_before:] or self.sizes[-1:]  # of this segment's chunks, the last one repeating
        ends, n_full = tuple(accumulate(sizes)), n_codes - self.codes_beyond
        n_chunks, n_repeated = bisect_right(ends, n_full), max(0, n_full - ends[-1]) // sizes[-1]
        if n_chunks == 0:
            return 0, 0
        return ends[n_chunks - 1] + n_repeated * sizes[-1] + self.codes_beyond, n_chunks + n_repeated


@dataclass(frozen=True)
class FixedSeconds:
    """`Fixed` in seconds of speech, for a model that is not known yet."""

    sizes_s: tuple[float, ...]

    def at(self, code_rate: float, least_first_s: float = 0.0) -> Fixed:
        """For a model with so many codes a second, with a first chunk of at least so many seconds."""
        sizes_s = (max(self.sizes_s[0], least_first_s), *self.sizes_s[1:])
        return Fixed(tuple(max(1, round(seconds * code_rate)) for seconds in sizes_s))


@dataclass(frozen=True)
class LatencyEstimator:
    """Latency estimates for one call: the latency model applied to its voice and options."""

    speeds: LatencyModel
    code_rate: float  # codes per second of speech
    frames_per_code: float
    prompt_frames: int  # of the voice
    n_evals: int  # of the DiT for one part
    n_rows: float  # branches of guidance, on average
    held_frames: int  # at the end of a segment's first chunk that are not output yet
    edge_frames: int  # computed in addition per chunk: held frames and the vocoder's receptive field

    def render_s(self, n_codes: int, context_frames: int) -> float | None:
        """Seconds to render `n_codes` codes to samples."""
        n_frames = n_codes * self.frames_per_code + self.edge_frames
        features = self.speeds.seconds("features", n_codes)
        flow = self.speeds.seconds("flow", self.n_rows * (self.prompt_frames + context_frames + n_frames))
        vocoder = self.speeds.seconds("vocoder", n_frames)
        if features is None or flow is None or vocoder is None:
            return None
        return features + self.n_evals * flow + vocoder

    def codes(self, seconds: float) -> int:
        """Codes of so many seconds of speech."""
        return max(1, round(seconds * self.code_rate))

    def codes_s(self, n_codes: int) -> float | None:
        """Seconds to decode `n_codes` codes."""
        return self.speeds.seconds("codes", n_codes) if n_codes else 0.0

    def share(self, n_codes: int, context_frames: int) -> float | None:
        """Real-time factor with chunks of this size; None without measurements.

        Decoding and rendering share the machine: the longer one counts in full, the shorter one by half.
        """
        codes, render = self.codes_s(n_codes), self.render_s(n_codes, context_frames)
        if codes is None or render is None:
            return None
        return (max(codes, render) + min(codes, render) / 2) * self.code_rate / n_codes

    def rtf(self, context_frames: int) -> float | None:
        """The steady real-time factor, with chunks of COMFORT_S."""
        return self.share(self.codes(COMFORT_S), context_frames)

    def least_codes(self, context_frames: int) -> int:
        """The smallest sustainable chunk: it plays for longer than the next one of its size takes.

        Each chunk has a fixed cost (prompt and context are computed again), so with smaller ones the buffer runs out.
        If none is sustainable with SAFETY, the smallest one with LEAST_SAFETY, else of SLOW_CHUNK_S.
        """
        for safety in (SAFETY, LEAST_SAFETY):
            for n_codes in map(self.codes, SIZES_S):
                share = self.share(n_codes, context_frames)
                if share is None or safety * share <= 1:
                    return n_codes
        return self.codes(SLOW_CHUNK_S)

    def is_tight(self, context_frames: int) -> bool:
        """Whether this machine has no reserve, so that it must pre-buffer."""
        rtf = self.rtf(context_frames)
        return rtf is not None and SAFETY * rtf >= 1

    def prebuffer_s(self, context_frames: int, remaining_s: float | None = None) -> float:
        """Seconds of audio to pre-buffer before playback starts.

        A machine with reserve starts with the first chunk; the schedule keeps the buffer filled.
        """
        if not self.is_tight(context_frames):
            return MIN_PREBUFFER_S
        chunk_s = self.least_codes(context_frames) / self.code_rate
        return prebuffer_seconds(self.rtf(context_frames), chunk_s, remaining_s)

    @property
    def least_first_s(self) -> float:
        """Seconds of speech that a first chunk must have to output enough."""
        return max(MIN_FIRST_S, MIN_FIRST_SOUND_S + self.held_frames / self.frames_per_code / self.code_rate)

    def first_sound_s(self, n_codes: int) -> float:
        """Seconds of audio that a first chunk of `n_codes` outputs."""
        n_frames = n_codes * self.frames_per_code - self.held_frames
        return max(0.0, n_frames / self.frames_per_code / self.code_rate)


@dataclass(frozen=True)
class Adaptive:
    """Chunks that are ready before the buffer runs out, according to the latency model."""

    estimator: LatencyEstimator
    codes_beyond: ClassVar[int] = 0  # a code's time is worth more than the same sound
    depends_on_time: ClassVar[bool] = True

    def target(self, state: BufferState) -> int | None:
        if state.lead_s is None:
            if self.estimator.is_tight(state.context_frames):  # pre-buffer in chunks of the sustainable size
                return self.estimator.least_codes(state.context_frames)
            return self._first(state)
        low, high = self.estimator.least_codes(state.context_frames), self.estimator.codes(MAX_CHUNK_S)
        if self._fits(low, state) is None:
            grown = int(state.previous_codes * LEARNING_GROWTH)
            return min(max(self.estimator.codes(MIN_CHUNK_S), grown), high)
        while low < high:  # the largest that fits, the smallest possible if none does
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._fits(middle, state) else (low, middle - 1)
        return low

    def is_urgent(self, state: BufferState) -> bool:
        # Without reserve the listener waits for the pre-buffer, not for this chunk.
        is_tight = self.estimator.is_tight(state.context_frames)
        return state.previous_codes == 0 and not state.lead_s and not is_tight

    def settled(self, _n_codes: int, n_rendered: int, _n_before: int) -> tuple[int, int]:
        return n_rendered, 0

    def _first(self, state: BufferState) -> int:
        """The smallest first chunk that plays until the next, smallest sustainable one is ready."""
        estimator, shortest = self.estimator, self.estimator.codes(self.estimator.least_first_s)
        if state.n_waiting < shortest:
            return shortest
        least = estimator.least_codes(state.context_frames)
        longest = max(shortest, estimator.codes(MAX_FIRST_S))
        for n_codes in range(shortest, longest):
            render, code = estimator.render_s(n_codes, 0), estimator.codes_s(1)
            if render is None or not code:
                return shortest
            n_made = int(render / code)  # while the first one is rendered
            then = BufferState(n_made, estimator.first_sound_s(n_codes), 1, n_codes, state.context_frames)
            if self._fits(least, then):
                return n_codes
        return longest

    def _fits(self, n_codes: int, state: BufferState) -> bool | None:
        """Whether a chunk of `n_codes` is ready in time; None without measurements."""
        assert state.lead_s is not None
        codes = self.estimator.codes_s(max(0, n_codes - state.n_waiting))
        render = self.estimator.render_s(n_codes, state.context_frames)
        if codes is None or render is None:
            return None
        return SAFETY * (codes + render) + MARGIN_S <= state.lead_s
