"""A stream at work: one thread makes codes, one makes sound of them, for one segment after the other.

In: an engine, a speaker, lines of text as they become known, options, a schedule. Out: sounds on a `Board`,
in order, each as soon as it is made. While the sound of one part is made, the codes of the next are, unless the
listener hears nothing yet; the codes of the next line begin when the last code of this one is there. Knows no text and
no playback.

A guard that objects before any sound of a line was given out leads to another attempt, and to an error when words are
missing in all of them. After that the rest of the line is cut off, and a notice says so and shows the words.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgetts.backends.device import describe
from edgetts.decoding.attempts import Attempt, better, words_missing
from edgetts.decoding.settings import FlowSettings
from edgetts.errors import GenerationError
from edgetts.models.vocoder import reach
from edgetts.options import SynthesisOptions
from edgetts.pack.page_release import FreedMemory
from edgetts.pipeline import Pipeline, Speaker, derive_seed
from edgetts.streaming.fair_lock import Turns, Watch
from edgetts.streaming.latency import Speeds
from edgetts.streaming.renderer import Seams, SegmentRenderer
from edgetts.streaming.schedule import Adaptive, Pace, Schedule, Situation, Whole
from edgetts.streaming.state import Board, Line, Samples, Sound, Spoken

MAX_LINES_AHEAD = 2  # whose codes are made before their sound: bounds memory and wasted work
MAX_SOUND_AHEAD_S = 60.0  # sound that waits for the consumer; beyond it the stream sleeps
CODES_PER_MEASUREMENT = 16
KEY_LENGTH = 16  # hexadecimal digits in the name of the file of speeds


@dataclass
class Engine:
    """One set of networks that several streams share, a step at a time.

    The stages run at the same time, so the GPT is called from two threads at once: decoding one stream,
    making latents for another or the same.
    """

    pipeline: Pipeline
    speeds: Speeds
    speeds_path: Path | None = None  # where speeds are kept; None: nowhere
    codes_turns: Turns = field(default_factory=Turns)
    sound_turns: Turns = field(default_factory=Turns)
    freed: FreedMemory = field(default_factory=FreedMemory)

    @classmethod
    def open(cls, pipeline: Pipeline, cache_dir: Path, how: str = "") -> Engine:
        """The engine of a pack on its device, with the speeds that were measured for both before.

        how: whatever else of this pipeline decides how fast it is.
        """
        files = pipeline.pack.manifest.files
        parts = [describe(pipeline.device), pipeline.compute, *(files[name].sha256 for name in sorted(files))]
        key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:KEY_LENGTH]
        path = cache_dir / "speeds" / f"{key}.json"
        return cls(pipeline, Speeds.load(path), path)

    def pace(self, speaker: Speaker, options: SynthesisOptions, seams: Seams) -> Pace:
        """Estimates for a call with these."""
        config, settings = self.pipeline.config, options.flow_settings()
        return Pace(
            speeds=self.speeds,
            code_rate=config.code_rate,
            frames_per_code=config.s2mel.mel_frames_per_code,
            prompt_frames=speaker.reference_mel.shape[-1],
            n_estimates=settings.n_estimates,
            n_rows=settings.rows_per_estimate,
            held_frames=seams.held,
            edge_frames=seams.held + reach(config.vocoder),
        )


class Session:
    """Starts its threads when made. `board` is where its sounds appear; `close` ends it at any time."""

    def __init__(
        self,
        engine: Engine,
        speaker: Speaker,
        lines: Iterator[Line],
        options: SynthesisOptions,
        seed: int,
        schedule: Schedule | None,
        board: Board,
        *,
        n_tokens: int | None = None,
        seams: Seams | None = None,
    ) -> None:
        """n_tokens: of all lines together, where that is known."""
        self._engine = engine
        self._speaker = speaker
        self._lines = lines
        self._options = options
        self._seed = seed
        self._seams = seams or Seams()
        self.pace = engine.pace(speaker, options, self._seams)
        self._schedule = schedule or Adaptive(self.pace)
        self.board = board
        self._sample_rate = engine.pipeline.config.audio.sample_rate
        self._n_tokens = n_tokens
        self._given_samples = 0
        self._sound_ends_at: float | None = None  # when a listener has heard it all; None: has not started
        self._n_parts = 0
        self._is_awaited = False  # a part that the listener waits for is being rendered
        self._process = os.getpid()
        self._threads = [
            threading.Thread(target=self._run, args=(work,), name=f"edgetts-{name}", daemon=True)
            for name, work in (("codes", self._make_codes), ("sound", self._make_sound))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def prebuffer_s(self) -> float:
        """Seconds of sound that a listener should have before it starts, by what is known now."""
        whole_s = self._engine.speeds.seconds("speech", self._n_tokens) if self._n_tokens else None
        remaining_s = None if whole_s is None else max(0.0, whole_s - self._given_samples / self._sample_rate)
        return self.pace.prebuffer_s(self._seams.context, remaining_s)

    @property
    def notices(self) -> tuple[str, ...]:
        """What a listener should know about the speed of this machine."""
        rtf = self.pace.rtf(self._seams.context)
        if rtf is None or rtf < 1 or isinstance(self._schedule, Whole):
            return ()
        return (f"This machine needs {rtf:.1f} s for a second of speech: live speech has to wait for it.",)

    def close(self) -> None:
        """Cancel what is not done and wait for the step at work; the threads are gone afterwards.

        In a fork nothing happens: the threads are not there, and who held a lock never gives it back.
        """
        if os.getpid() != self._process:
            return
        self.board.cancel()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        # All of them, also panics of native code, which are no Exception: the consumer raises it and must not wait.
        except BaseException as error:
            self.board.fail(error)  # changes nothing after a cancel, by the consumer or by the other thread's failure

    # --- codes -------------------------------------------------------------------------------------

    def _make_codes(self) -> None:
        board = self.board
        for index, line in enumerate(self._lines):
            spoken = Spoken(line)
            with board.changed:
                board.spoken.append(spoken)
                board.changed.notify_all()
            self._speak(spoken, derive_seed(self._seed, index))
            with board.changed:
                board.wait_until(lambda: len(board.spoken) - board.n_lines_done <= MAX_LINES_AHEAD)
        with board.changed:
            board.has_all_lines = True
            board.changed.notify_all()

    def _speak(self, spoken: Spoken, seed: int) -> None:
        """Codes of one line: attempts, until no guard objects or no further one is allowed.

        Raises GenerationError when words are missing in all of them. What was heard in part cannot be made anew: then
        a notice names the words.
        """
        options, board = self._options, self.board
        kept: Attempt | None = None
        for number in range(options.retries + 1 if options.guards else 1):
            with board.changed:
                if kept is not None and spoken.is_heard:
                    break
                spoken.codes.clear()
                spoken.seed = derive_seed(seed, number)
                spoken.attempts = number + 1
            latest = self._attempt(spoken)
            kept = better(kept, latest)
            if latest.problem is None:
                break
        assert kept is not None
        with board.changed:
            if spoken.is_heard:
                kept = latest
            elif kept.is_loss or not kept.codes:
                raise words_missing(kept.problem, spoken.attempts, spoken.line.written)
            spoken.seed = kept.seed
            # What was rendered meanwhile cannot be taken back.
            spoken.codes[:] = kept.codes if len(kept.codes) >= spoken.n_rendered else spoken.codes[: spoken.n_rendered]
            if kept.problem is not None:
                missing = ", and words may be missing" if kept.is_loss else ""
                spoken.notices.append(f"{kept.problem}{missing}")
            spoken.is_done = True
            board.changed.notify_all()

    def _attempt(self, spoken: Spoken) -> Attempt:
        board, speeds, pipeline = self.board, self._engine.speeds, self._engine.pipeline
        with self._engine.codes_turns.take() as turn:
            watch = Watch(turn)
            if spoken.prompt is None:
                spoken.prompt = pipeline.prompt(self._speaker, spoken.line.ids)
            n_heard = 0

            def heard(code: int) -> None:
                nonlocal n_heard
                n_heard += 1
                if n_heard == 1:
                    watch.lap()  # the prefix is not a code
                elif n_heard % CODES_PER_MEASUREMENT == 1:
                    speeds.add("codes", CODES_PER_MEASUREMENT, watch.lap())
                with board.changed:
                    spoken.codes.append(code)
                    board.changed.notify_all()
                if self._is_awaited:
                    with turn.rest(), board.changed:
                        board.wait_until(lambda: not self._is_awaited)

            def should_stop() -> bool:
                turn.pass_on()
                return board.is_cancelled

            codes, problem = pipeline.codes(
                *(spoken.prompt, self._options, spoken.seed, should_stop, heard, spoken.line.expected)
            )
        return Attempt(codes, spoken.seed, problem)

    # --- sound -------------------------------------------------------------------------------------

    def _make_sound(self) -> None:
        board, index = self.board, 0
        while (spoken := self._next_line(index)) is not None:
            self._give(np.zeros(round(spoken.line.pause_before_s * self._sample_rate), np.float32), index)
            self._sound(spoken, index)
            self._engine.freed.look()
            index += 1
        board.complete()
        if self._engine.speeds_path is not None:
            self._engine.speeds.save(self._engine.speeds_path)

    def _next_line(self, index: int) -> Spoken | None:
        board = self.board
        with board.changed:
            board.wait_until(lambda: index < len(board.spoken) or board.has_all_lines)
            return board.spoken[index] if index < len(board.spoken) else None

    def _sound(self, spoken: Spoken, index: int) -> None:
        """The sound of one line, part by part."""
        board, speeds = self.board, self._engine.speeds
        spoken.start = spoken.end = self._given_samples
        renderer: SegmentRenderer | None = None
        seed, n_previous, is_last = 0, 0, False
        while not is_last:
            codes, seed_now, is_last = self._next_codes(spoken, renderer, seed, n_previous)
            if renderer is None or seed_now != seed:  # the first part, or a guard objected to it unheard
                renderer, seed, n_previous = self._renderer(spoken, seed_now), seed_now, 0
            n_before = renderer.n_codes
            # What is a whole segment has the sound of offline, however urgent it is.
            is_urgent = not is_last and self._schedule.is_urgent(self._situation(len(codes) - n_before, n_previous))
            settings = self._options.first_flow_settings() if is_urgent else self._options.flow_settings()
            samples = self._render(renderer, codes, settings, is_last, is_urgent)
            with board.changed:
                if spoken.seed != seed:
                    is_last = False
                    continue
                if len(samples) or is_last:
                    spoken.is_heard, spoken.n_rendered = True, len(codes)
            n_previous = len(codes) - n_before
            self._n_parts += 1
            self._give(samples, index, ends_line=is_last)
            spoken.end = self._given_samples
        speeds.add("speech", len(spoken.line.ids), (spoken.end - spoken.start) / self._sample_rate)
        with board.changed:
            board.n_lines_done += 1
            board.changed.notify_all()

    @contextlib.contextmanager
    def _awaited(self, is_urgent: bool) -> Iterator[None]:
        """On the CPU, where both threads want the same cores, no codes are made while a listener waits in silence."""
        with self.board.changed:
            self._is_awaited = is_urgent and self._engine.pipeline.device.type == "cpu"
        try:
            yield
        finally:
            with self.board.changed:
                self._is_awaited = False
                self.board.changed.notify_all()

    def _render(
        self, renderer: SegmentRenderer, codes: list[int], settings: FlowSettings, last: bool, is_urgent: bool
    ) -> Samples:
        board = self.board
        with self._engine.sound_turns.take() as turn, self._awaited(is_urgent):

            def should_stop() -> bool:
                turn.pass_on()
                return board.is_cancelled

            waveform = renderer.render(codes, settings, last=last, should_stop=should_stop, clock=turn.clock)
        samples: Samples = waveform.numpy()
        if not np.isfinite(samples).all():
            raise GenerationError("The model made samples that are not numbers: try another seed, or an fp32 pack.")
        return samples

    def _next_codes(
        self, spoken: Spoken, renderer: SegmentRenderer | None, seed: int, n_previous: int
    ) -> tuple[list[int], int, bool]:
        """The codes so far with those of the next part, once they are there; their seed; whether they are all."""
        board = self.board
        n_wanted = 0

        def is_enough() -> bool:
            nonlocal n_wanted
            n_rendered = renderer.n_codes if renderer is not None and spoken.seed == seed else 0
            n_waiting = len(spoken.codes) - n_rendered
            target = None
            if n_waiting > 0:
                target = self._schedule.target(self._situation(n_waiting, n_previous))
            n_wanted = len(spoken.codes) if target is None else n_rendered + min(n_waiting, target)
            return spoken.is_done or (target is not None and n_waiting >= target)

        with board.changed:
            board.wait_until(is_enough)
            return spoken.codes[:n_wanted], spoken.seed, spoken.is_done and n_wanted >= len(spoken.codes)

    def _renderer(self, spoken: Spoken, seed: int) -> SegmentRenderer:
        assert spoken.prompt is not None  # there are codes
        return SegmentRenderer(
            self._engine.pipeline,
            self._speaker,
            spoken.prompt,
            seed,
            self._seams,
            self._engine.speeds.add,
        )

    def _situation(self, n_waiting: int, n_previous: int) -> Situation:
        return Situation(n_waiting, self._lead_s(), self._n_parts, n_previous, self._seams.context)

    def _lead_s(self) -> float | None:
        """Sound that a listener has left; None before playback starts."""
        return None if self._sound_ends_at is None else max(0.0, self._sound_ends_at - time.perf_counter())

    def _give(self, samples: Samples, index: int, *, ends_line: bool = False) -> None:
        if not (len(samples) or ends_line):
            return
        now, seconds = time.perf_counter(), len(samples) / self._sample_rate
        spoken = self.board.spoken[index]
        if len(samples) and spoken.first_sound_at is None and spoken.n_rendered:
            spoken.first_sound_at = now
        self._given_samples += len(samples)
        if self._sound_ends_at is not None:
            self._sound_ends_at = max(now, self._sound_ends_at) + seconds
        elif self._given_samples:
            given_s = self._given_samples / self._sample_rate
            if given_s >= self.prebuffer_s:
                self._sound_ends_at = now + given_s
        most = int(MAX_SOUND_AHEAD_S * self._sample_rate)
        with self.board.changed:
            self.board.wait_until(lambda: sum(len(s.samples) for s in self.board.sounds) <= most)
        self.board.give(Sound(samples, index, ends_line))

