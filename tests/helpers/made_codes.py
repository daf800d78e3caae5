"""Replaces decoding by codes that the test chooses."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import pytest

from edgetts.decoding.settings import DecodeSettings


class MadeCodes:
    """As `decoding.decode.CodeStream`: a code each step, then the stop code, or the end at `max_codes`.

    pause: called between a code, when it has been taken, and the next step.
    """

    def __init__(self, codes: Sequence[int], max_codes: int, pause: Callable[[], None]) -> None:
        self.codes: list[int] = []
        self.stopped = False
        self._steps = self._made(codes, max_codes, pause)

    def __iter__(self) -> Iterator[list[int]]:
        return self._steps

    def __next__(self) -> list[int]:
        return next(self._steps)

    def close(self) -> None:
        self._steps.close()

    def _made(self, codes: Sequence[int], max_codes: int, pause: Callable[[], None]) -> Any:
        for code in codes[:max_codes]:
            self.codes.append(code)
            yield [code]
            pause()
        if len(codes) < max_codes:
            self.stopped = True
            yield []


def give_codes(
    monkeypatch: pytest.MonkeyPatch,
    attempts: Iterable[Sequence[int]],
    *,
    pace_s: float = 0.0,
    max_codes: int | None = None,
) -> None:
    """Each attempt from now on gets the next of `attempts`, a code after each `pace_s`.

    max_codes: where attempts are cut off; None: where the call's settings say.
    """
    remaining = iter(attempts)

    def stream(_gpt: Any, _prompt: Any, settings: DecodeSettings, *_others: Any) -> MadeCodes:
        codes = next(remaining, None)
        assert codes is not None, "more attempts than expected"
        return MadeCodes(codes, max_codes or settings.max_codes, partial(time.sleep, pace_s))

    monkeypatch.setattr("edgetts.attempt.CodeStream", stream)
