"""With chunks of fixed sizes a stream sounds the same whichever of its threads is ahead: that of codes, or of sound."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.made_codes import MadeCodes
from helpers.streams import QUICK

from edgetts.api import TTS
from edgetts.decoding.guards import Lacking
from edgetts.decoding.prompt import GPTPrompt
from edgetts.errors import GenerationError
from edgetts.streaming.renderer import SegmentRenderer
from edgetts.streaming.schedule import Fixed
from edgetts.streaming.session import Session
from edgetts.streaming.state import SegmentState
from edgetts.voices.voice import Voice

TEXT = "Hello world. [pause:0.2] Somebody walked."  # two segments
OPTIONS: dict[str, Any] = {**QUICK, "guards": True, "retries": 1, "markup": True, "max_codes": 200, "first_steps": 1}
LACKS = 99  # the first code of an attempt that lacks two words
WAIT_S = 30.0
MOST_CODES = 1000
Codes = Sequence[int]

GOOD = range(60)


def lacking(n: int) -> Codes:
    return (LACKS, *range(1, n))


def looping(start: int) -> Codes:
    """The guard objects after 1.5 s of it, 75 codes, and cuts off what follows `start` and one period."""
    return (*range(start), *(60, 61, 62) * 40)


# Of each segment, its attempts.
CASES: dict[str, tuple[tuple[int, ...], tuple[tuple[Codes, ...], ...]]] = {
    "words are missing": ((18, 12), ((lacking(39), GOOD), (GOOD,))),
    "words are missing later": ((18, 12), ((GOOD,), (lacking(39), range(58)))),
    "words are missing after a segment of one chunk": ((70, 12), ((GOOD,), (lacking(39), range(58)))),
    "words are missing twice": ((18, 12), ((lacking(39), lacking(17)), (lacking(9), lacking(39)))),
    "a loop": ((18, 12), ((looping(25),), (GOOD,))),
    "a loop in the first chunk": ((40, 12), ((looping(10),), (GOOD,))),
    "a loop later": ((18, 12), ((GOOD,), (looping(25),))),
    "a chunk that gives no samples": ((5, 12), ((lacking(9), GOOD), (GOOD,))),
    "a chunk that is the whole segment": ((39, 12), ((lacking(39), GOOD), (GOOD,))),
    "lost words": ((18, 12), ((range(25), range(20)), (GOOD,))),
    "lost words in all short attempts": ((18, 12), ((range(17), range(18)), (GOOD,))),
}


@dataclass
class Heard:
    """What the listener gets. n_parts: chunks."""

    samples: bytes
    codes: list[tuple[int, ...]]
    seeds: list[int]
    attempts: list[int]
    notices: tuple[str, ...]
    n_parts: int


class Rhythm:
    """Codes that the test chooses, and which thread is ahead at each point."""

    def __init__(
        self, patch: pytest.MonkeyPatch, segments: tuple[tuple[Codes, ...], ...], *, sound_ahead: bool
    ) -> None:
        self._segments = segments
        self._prompts: list[GPTPrompt] = []  # one of each segment
        self._n_attempts: list[int] = []
        self._next_codes = Session._next_codes
        self._session: Session | None = None
        self._begun = threading.Event()  # the session is known
        if not sound_ahead:
            self._begun.set()
        self._asks: tuple[SegmentState, SegmentRenderer | None, int] | None = None  # the thread of sound, for codes
        patch.setattr("edgetts.attempt.CodeStream", self._stream)
        patch.setattr(Session, "_next_codes", self._early() if sound_ahead else self._late())

    def _stream(self, _gpt: Any, prompt: GPTPrompt, *_others: Any) -> MadeCodes:
        if not any(prompt is known for known in self._prompts):
            self._prompts.append(prompt)
            self._n_attempts.append(0)
        self._n_attempts[-1] += 1
        attempts = self._segments[len(self._prompts) - 1]
        return MadeCodes(attempts[self._n_attempts[-1] - 1], MOST_CODES, self._pause)

    def _late(self) -> Any:
        """No sound is rendered before all codes of its segment are there."""

        def late(session: Session, segment: SegmentState, *others: Any) -> Any:
            with session.state.changed:
                session.state.wait_until(lambda: segment.is_done)
            return self._next_codes(session, segment, *others)

        return late

    def _early(self) -> Any:
        """No code is made before all sound is rendered that can be."""

        def early(
            session: Session, segment: SegmentState, renderer: SegmentRenderer | None, seed: int, n_previous: int
        ) -> Any:
            with session.state.changed:
                self._session, self._asks = session, (segment, renderer, seed)
                session.state.changed.notify_all()
            self._begun.set()
            try:
                return self._next_codes(session, segment, renderer, seed, n_previous)
            finally:
                self._asks = None

        return early

    def _pause(self) -> None:
        """Between two codes, in the thread of codes."""
        assert self._begun.wait(WAIT_S)
        if self._session is not None:
            with self._session.state.changed:
                assert self._session.state.changed.wait_for(self._is_sound_waiting, WAIT_S)

    def _is_sound_waiting(self) -> bool:
        assert self._session is not None and isinstance(self._session._schedule, Fixed)
        if self._session.state.is_cancelled:
            return True
        if self._asks is None or self._asks[0] is not self._session.state.segments[-1]:
            return False
        segment, renderer, seed = self._asks
        n_rendered = renderer.n_codes if renderer is not None and segment.seed == seed else 0
        sizes = self._session._schedule.sizes
        return len(segment.codes) - n_rendered <= sizes[min(self._session._n_parts, len(sizes) - 1)]


def heard(
    tts: TTS,
    voice: Voice,
    chunks: tuple[int, ...],
    segments: tuple[tuple[Codes, ...], ...],
    *,
    sound_ahead: bool,
) -> Heard | str:
    """The speech, or its error."""
    with pytest.MonkeyPatch.context() as patch:
        # 0.8 s of speech at least, 40 codes, for the first segment.
        patch.setattr("edgetts.text.length.MIN_LETTER_S", 0.08)
        patch.setattr(
            *(tts.pipeline, "code_sounds"),
            SimpleNamespace(lacking=lambda _ids, codes: Lacking(2, 2) if codes[0] == LACKS else Lacking()),
        )
        Rhythm(patch, segments, sound_ahead=sound_ahead)
        with tts.stream(TEXT, voice, chunks=chunks, **OPTIONS) as stream:
            try:
                samples = b"".join(chunk.samples.tobytes() for chunk in stream)
            except GenerationError as error:
                return str(error)
            spoken = stream.segments
            assert len(spoken) == len(segments)
            return Heard(
                samples,
                [tuple(segment.codes) for segment in spoken],
                [segment.seed for segment in spoken],
                [segment.attempts for segment in spoken],
                tuple(note for segment in spoken for note in segment.notices),
                stream._session._n_parts,
            )


@pytest.mark.parametrize("case", CASES)
def test_the_sound_does_not_depend_on_which_thread_is_ahead(tts: TTS, voice: Voice, case: str) -> None:
    chunks, segments = CASES[case]
    codes_ahead, sound_ahead = (heard(tts, voice, chunks, segments, sound_ahead=ahead) for ahead in (False, True))
    assert codes_ahead == sound_ahead
    assert isinstance(sound_ahead, str) == (case == "lost words in all short attempts"), sound_ahead
