"""Runs a stream: one thread decodes codes, another renders sound from them, segment by segment.

In: an engine, a speaker, segments of text as they arrive, options, a schedule. Out: sounds in a `StreamState`, in
order, each as soon as it is rendered. While a chunk is rendered the next one's codes are decoded, but on the CPU not
while the listener waits for it in silence. The next segment's codes follow the last code. Knows no text or playback.

Before any code of a segment is settled (`Schedule.settled`: output, or about to be), a guard's objection means another
attempt, and words missing in all attempts are an error. After that, the rest is cut off, with a notice.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np

from edgetts.attempt import GuardedCodes
from edgetts.backends.lanes import Lane, Mark
from edgetts.decoding.attempts import Attempt, Attempts, derive_seed, words_missing
from edgetts.decoding.settings import FlowSettings
from edgetts.errors import GenerationError
from edgetts.options import SynthesisOptions
from edgetts.streaming.engine import Engine
from edgetts.streaming.measured import Measurements
from edgetts.streaming.renderer import Seams, SegmentRenderer
from edgetts.streaming.schedule import Adaptive, BufferState, FixedSeconds, Schedule, Whole
from edgetts.streaming.state import QueuedSegment, Samples, SegmentState, Sound, StreamState
from edgetts.voices.speaker import Speaker

MAX_SEGMENTS_AHEAD = 2  # decoded but not rendered: bounds memory and wasted work
MAX_SOUND_AHEAD_S = 60.0  # sound waiting for the consumer; beyond it the stream sleeps
CODES_PER_MEASUREMENT = 16


class Session:
    """Starts its threads when constructed and puts sounds into `state`; `close` ends it at any time."""

    def __init__(
        self,
        engine: Engine,
        speaker: Speaker,
        queue: Iterator[QueuedSegment],
        options: SynthesisOptions,
        seed: int,
        schedule: Schedule | FixedSeconds | None,
        state: StreamState,
        *,
        n_tokens: int | None = None,
        seams: Seams | None = None,
    ) -> None:
        """n_tokens: of all segments together, if known."""
        self._engine = engine
        self._speaker = speaker
        self._queue = queue
        self._options = options
        self.seed = seed
        self._seams = seams or Seams.of(options, engine.pipeline.config.audio.frame_rate)
        self._estimator = engine.estimator(speaker.reference_mel.shape[-1], options, self._seams)
        if isinstance(schedule, FixedSeconds):
            schedule = schedule.at(self._estimator.code_rate, self._estimator.least_first_s)
        self._schedule = schedule or Adaptive(self._estimator)
        self.state = state
        self.sample_rate = engine.pipeline.config.audio.sample_rate
        self._n_tokens = n_tokens
        self._speed_notice: str | None = None
        self._given_samples = 0
        self._sound_ends_at: float | None = None  # when playback of all samples so far ends; None: not started
        self._n_parts = 0
        self._is_awaited = False  # an urgent part is being rendered; decoding waits for it
        self._process = os.getpid()
        self._threads = [
            threading.Thread(target=self._run, args=(work, lane), name=f"edgetts-{name}", daemon=True)
            for name, work, lane in (
                ("codes", self._make_codes, engine.lanes.codes),
                ("sound", self._make_sound, engine.lanes.sound),
            )
        ]
        for thread in self._threads:
            thread.start()

    @property
    def prebuffer_s(self) -> float:
        """Current estimate of the seconds that a player should pre-buffer."""
        whole_s = self._engine.speeds.seconds("speech", self._n_tokens) if self._n_tokens else None
        remaining_s = None if whole_s is None else max(0.0, whole_s - self._given_samples / self.sample_rate)
        return self._estimator.prebuffer_s(self._seams.context, remaining_s)

    @property
    def notices(self) -> tuple[str, ...]:
        """Sentences for the user about the pipeline and the speed of this machine."""
        return (*self._engine.pipeline.notices, *filter(None, (self.speed_notice,)))

    @property
    def speed_notice(self) -> str | None:
        """The notice that playback starts late on this machine, or None. Once set, it does not change."""
        rtf = self._estimator.rtf(self._seams.context)
        if self._speed_notice is None and rtf is not None and rtf >= 1 and not isinstance(self._schedule, Whole):
            self._speed_notice = f"Speech is estimated to take {rtf:.1f} times its length here: playback starts late."
        return self._speed_notice

    def close(self) -> None:
        """Cancel the work and wait for the current step; the threads have ended afterwards.

        Does nothing in a forked process: it has no threads, and locks that they held are never released.
        """
        if os.getpid() != self._process:
            return
        self.state.cancel()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()

    def _run(self, work: Callable[[], None], lane: Lane) -> None:
        try:
            with lane.entered():
                work()
        # BaseException includes panics of native code. The consumer raises the error and must not wait forever.
        except BaseException as error:
            self.state.fail(error)  # no effect after a cancel or a failure of the other thread

    # --- codes -------------------------------------------------------------------------------------

    def _make_codes(self) -> None:
        state, n_parts = self.state, 0
        for index, queued in enumerate(self._queue):
            segment = SegmentState(queued)
            with state.changed:
                state.segments.append(segment)
                state.changed.notify_all()
            n_parts += self._speak(segment, derive_seed(self.seed, index), n_parts)
            with state.changed:
                state.wait_until(lambda: len(state.segments) - state.n_segments_done <= MAX_SEGMENTS_AHEAD)
        with state.changed:
            state.has_all_segments = True
            state.changed.notify_all()

    def _speak(self, segment: SegmentState, seed: int, n_before: int) -> int:
        """Decode a segment, again until no guard objects or a code is settled. Raises GenerationError.

        n_before: chunks of the segments before, with chunks of fixed sizes. Returns how many this one has.
        """
        state = self.state

        def settled() -> tuple[int, int]:
            return self._schedule.settled(len(segment.codes), segment.n_rendered, n_before)

        attempts = Attempts(seed, self._options.n_attempts)
        for attempt_seed in attempts.seeds():
            with state.changed:
                if attempts.number and settled()[0]:
                    break
                segment.codes.clear()
                segment.seed = attempt_seed
                segment.attempts = attempts.number + 1
                state.changed.notify_all()
            attempts.add(self._attempt(segment))
        kept = attempts.kept
        with state.changed:
            n_settled, _ = settled()
            if n_settled:
                kept = attempts.latest
            elif kept.is_loss or not kept.codes:
                raise words_missing(kept.problem, segment.attempts, segment.queued.written)
            segment.seed = kept.seed
            segment.codes[:] = kept.codes if len(kept.codes) >= n_settled else segment.codes[:n_settled]
            if kept.problem is not None and kept.problem.is_worth_telling:
                missing = ", and words may be missing" if kept.is_loss else ""
                segment.notices.append(f"{kept.problem}{missing}")
            segment.is_done = True
            state.changed.notify_all()
            return settled()[1] + 1  # and the last one

    def _attempt(self, segment: SegmentState) -> Attempt:
        """Decode a segment once, and hand each code to the sound as soon as it is certain."""
        state, speeds, pipeline = self.state, self._engine.speeds, self._engine.pipeline
        pipeline.pack.check_unchanged()
        with self._engine.codes_lock.hold() as hold:
            state.check_going_on()
            measured = Measurements(self._engine.lanes.codes.timer(hold), speeds.add)
            latest: Mark = None
            n_codes = 0
            if segment.prompt is None:
                segment.prompt = pipeline.prompt(self._speaker, segment.queued.ids, segment.queued.language)
            prompt, expected = segment.prompt, segment.queued.expected
            decoding = GuardedCodes(
                pipeline.networks, prompt, self._options, segment.seed, expected, pipeline.code_sounds
            )
            with contextlib.closing(decoding):
                for new in decoding:
                    for _ in new:
                        n_codes += 1
                        if n_codes == 1:
                            latest = measured.mark()  # excludes the prefix
                        elif n_codes % CODES_PER_MEASUREMENT == 1:
                            latest = measured.note("codes", CODES_PER_MEASUREMENT, latest)
                    if new:
                        with state.changed:
                            segment.codes += new
                            if segment.n_awaited is not None and len(segment.codes) >= segment.n_awaited:
                                state.changed.notify_all()  # not with each code: to wake threads takes time
                        if self._is_awaited:
                            with hold.released(), state.changed:
                                state.wait_until(lambda: not self._is_awaited)
                    hold.yield_to_others()
                    state.check_going_on()
        return decoding.attempt

    # --- sound -------------------------------------------------------------------------------------

    def _make_sound(self) -> None:
        state, index = self.state, 0

        def is_decided() -> bool:  # whether there is another segment
            return index < len(state.segments) or state.has_all_segments

        while True:
            with state.changed:
                state.wait_until(is_decided)
                if index == len(state.segments):
                    break
                segment = state.segments[index]
            self._give(np.zeros(round(segment.queued.pause_before_s * self.sample_rate), np.float32), index)
            self._sound(segment, index)
            self._engine.freed.look()
            index += 1
        state.complete()
        if self._engine.speeds_path is not None:
            self._engine.speeds.save(self._engine.speeds_path)

    def _sound(self, segment: SegmentState, index: int) -> None:
        """Render one segment, part by part."""
        state, speeds, pipeline = self.state, self._engine.speeds, self._engine.pipeline
        segment.start = segment.end = self._given_samples
        renderer: SegmentRenderer | None = None
        seed, n_previous, is_last = 0, 0, False
        while not is_last:
            codes, seed_now, is_last = self._next_codes(segment, renderer, seed, n_previous)
            if renderer is None or seed_now != seed:  # the first part, or a new attempt
                assert segment.prompt is not None  # there are codes
                features, stretch = pipeline.feature_pass(segment.prompt), self._options.duration_factor
                renderer = SegmentRenderer(
                    pipeline, self._speaker, features, seed_now, self._seams, speeds.add, stretch
                )
                seed, n_previous = seed_now, 0
            n_before = renderer.n_codes
            # A segment rendered as one part equals the offline result, even if it is urgent.
            is_urgent = not is_last and self._schedule.is_urgent(self._buffer_state(len(codes) - n_before, n_previous))
            settings = self._options.first_flow_settings() if is_urgent else self._options.flow_settings()
            samples = self._render(renderer, codes, settings, is_last, is_urgent)
            with state.changed:
                if segment.seed != seed:
                    is_last = False
                    continue
                if len(samples) or is_last:
                    segment.n_rendered = len(codes)
            n_previous = len(codes) - n_before
            self._n_parts += 1
            self._give(samples, index, ends_segment=is_last)
            segment.end = self._given_samples
        speeds.add("speech", len(segment.queued.ids), (segment.end - segment.start) / self.sample_rate)
        with state.changed:
            segment.notices += pipeline.networks.take_notices()
            segment.prompt = None  # the next segment has its own, and the states in it take memory
            state.n_segments_done += 1
            state.changed.notify_all()

    @contextlib.contextmanager
    def _awaited(self, is_urgent: bool) -> Iterator[None]:
        """On the CPU, where both threads share the cores, decoding waits while an urgent part is rendered."""
        with self.state.changed:
            self._is_awaited = is_urgent and self._engine.pipeline.device.type == "cpu"
        try:
            yield
        finally:
            with self.state.changed:
                self._is_awaited = False
                self.state.changed.notify_all()

    def _render(
        self, renderer: SegmentRenderer, codes: list[int], settings: FlowSettings, last: bool, is_urgent: bool
    ) -> Samples:
        state = self.state
        with self._engine.sound_lock.hold() as hold, self._awaited(is_urgent):
            timer = self._engine.lanes.sound.timer(hold)

            def should_stop() -> bool:
                hold.yield_to_others()
                return state.is_cancelled

            waveform = renderer.render(codes, settings, last=last, should_stop=should_stop, timer=timer)
        samples: Samples = waveform.numpy()
        self._engine.pipeline.pack.check_unchanged()  # samples made with weights of another pack are dropped
        if not np.isfinite(samples).all():
            raise GenerationError(
                "The model made samples that are not numbers (NaN or infinity): use compute=exact, or another pack."
            )
        return samples

    def _next_codes(
        self, segment: SegmentState, renderer: SegmentRenderer | None, seed: int, n_previous: int
    ) -> tuple[list[int], int, bool]:
        """Wait for the codes of the next part. Returns all codes up to its end, their seed, and whether it is the last.

        seed: of the attempt that `renderer` belongs to.
        """
        state = self.state
        n_wanted = 0

        def is_enough() -> bool:
            nonlocal n_wanted
            n_rendered = renderer.n_codes if renderer is not None and segment.seed == seed else 0
            n_codes = len(segment.codes)
            target = self._schedule.target(self._buffer_state(n_codes - n_rendered, n_previous))
            n_wanted = n_codes if target is None else min(n_rendered + target, n_codes)
            n_enough = None if target is None else n_rendered + target + self._schedule.codes_beyond
            segment.n_awaited = n_codes + 1 if self._schedule.depends_on_time else n_enough
            return segment.is_done or (n_enough is not None and n_codes >= n_enough)

        with state.changed:
            state.wait_until(is_enough)
            segment.n_awaited = None
            return segment.codes[:n_wanted], segment.seed, segment.is_done and n_wanted >= len(segment.codes)

    def _buffer_state(self, n_waiting: int, n_previous: int) -> BufferState:
        return BufferState(n_waiting, self._lead_s(), self._n_parts, n_previous, self._seams.context)

    def _lead_s(self) -> float | None:
        """Seconds of samples not played yet; None before playback starts."""
        return None if self._sound_ends_at is None else max(0.0, self._sound_ends_at - time.perf_counter())

    def _give(self, samples: Samples, index: int, *, ends_segment: bool = False) -> None:
        if not (len(samples) or ends_segment):
            return
        now, seconds = time.perf_counter(), len(samples) / self.sample_rate
        segment = self.state.segments[index]
        if len(samples) and segment.first_sound_at is None and segment.n_rendered:
            segment.first_sound_at = now
        self._given_samples += len(samples)
        if self._sound_ends_at is not None:
            self._sound_ends_at = max(now, self._sound_ends_at) + seconds
        elif self._given_samples:
            given_s = self._given_samples / self.sample_rate
            if given_s >= self.prebuffer_s:
                self._sound_ends_at = now + given_s
        self.state.give(Sound(samples, index, ends_segment), int(MAX_SOUND_AHEAD_S * self.sample_rate))
