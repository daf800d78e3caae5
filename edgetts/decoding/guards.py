"""Detects failures of the model: speech without end, an early end, long silence, loops.

In: codes, one by one or all at once, and the code rate. Out: a finding or None. Knows no networks; the caller decides
what to do about a finding.

Source: what users of IndexTTS-2 report (runs of the silence code, repeats, an 8-token text that runs to
the cap of 1500 codes), and upstream's `remove_long_silence` in indextts/infer_v2.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal, NamedTuple

from edgetts.errors import UsageError

UPSTREAM_SILENCE_CODES = 30  # with more silence codes in total, upstream shortens every run ...
UPSTREAM_SILENCE_KEPT = 10  # ... to this many

_FEWEST_REPEATS = 2  # once is no repetition


@dataclass(frozen=True)
class GuardSettings:
    """When speech counts as failed. Times are in seconds of speech. Raises UsageError if not above 0.

    A text token is a word piece, a letter or a Chinese character: 0.15 to 0.4 s of speech in most texts.
    The cap allows a slow speaker twice that, plus a constant. What is known about a text beyond its number of tokens is
    in `Expected`.
    """

    base_s: float = 2.0  # allowed for any text
    per_token_s: float = 0.6  # plus this per token
    max_silence_s: float = 2.0  # speakers' pauses are much shorter
    max_period_s: float = 3.0  # longest phrase whose repetition is detected
    min_loop_s: float = 1.5  # shorter repetition is a held sound or a laugh
    min_repeats: int = 3  # of the same codes in a row

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value > 0):
                raise UsageError(f"Guard setting {field.name} is {value}; it must be above 0.")
        if self.min_repeats < _FEWEST_REPEATS or not isinstance(self.min_repeats, int):
            raise UsageError(
                f"Guard setting min_repeats is {self.min_repeats}; it must be a whole number from {_FEWEST_REPEATS}."
            )


@dataclass(frozen=True)
class Expected:
    """What the codes of a text must be like: how long it can take to speak, in seconds, and its words."""

    least_s: float = 0.0  # without silence; with less, words are missing
    most_s: float = math.inf  # with more, the model did not stop
    max_silence_s: float = math.inf  # per pause; `GuardSettings` may allow less
    ids: tuple[int, ...] = ()  # of the text, to look for its words in the codes (`spoken`)

    def settings(self) -> GuardSettings:
        """The default settings, with the stricter of both limits of silence."""
        usual = GuardSettings()
        return replace(usual, max_silence_s=min(usual.max_silence_s, self.max_silence_s))


class Lacking(NamedTuple):
    """How many words lack sounds."""

    missing: int = 0  # most of their sounds
    unclear: int = 0  # some of them, those that lack most included


NOTHING_LACKS = Lacking()


@dataclass(frozen=True)
class Problem:
    """What is wrong with codes. `str` gives a clause for a notice."""

    what: str
    is_loss: bool  # words are certainly missing
    lacking: Lacking = NOTHING_LACKS  # words that seem to be missing or unclear, by their sounds
    is_worth_telling: bool = True  # False if one such word is all: half of these findings are false alarms

    def __str__(self) -> str:
        return self.what


@dataclass(frozen=True)
class Finding:
    """Something wrong with codes [start, start + n_codes). `str` gives a clause for a notice."""

    kind: Literal["silence", "loop"]
    start: int
    n_codes: int
    period: int  # codes of the repeated phrase; 1 for silence
    code_rate: float  # codes per second

    def __str__(self) -> str:
        at, length = self.start / self.code_rate, self.n_codes / self.code_rate
        if self.kind == "silence":
            return f"{length:.1f} s of silence from {at:.1f} s on"
        return f"the same {self.period / self.code_rate:.2f} s over and over from {at:.1f} s on"


def cap_codes(
    n_text_tokens: int,
    code_rate: float,
    max_codes: int,
    settings: GuardSettings | None = None,
    expected: Expected | None = None,
) -> int:
    """The most codes that a text of this many tokens can need, `max_codes` at most and 1 at least.

    code_rate is in codes per second.
    """
    settings = settings or GuardSettings()
    seconds = settings.base_s + settings.per_token_s * n_text_tokens
    if expected is not None:
        seconds = min(seconds, expected.most_s)
    return max(1, min(max_codes, math.ceil(seconds * code_rate)))


def n_at_end(codes: Sequence[int], code: int) -> int:
    """Length of the run of `code` at the end."""
    return next((i for i, other in enumerate(reversed(codes)) if other != code), len(codes))


def judge(
    codes: Sequence[int],
    code_rate: float,
    silence_code: int | None,
    lacking: Lacking = NOTHING_LACKS,
    *,
    expected: Expected,
    finding: Finding | None,
    stopped: bool,
) -> Problem | None:
    """The problem of a complete attempt. finding: why it was aborted, if it was; stopped: the model ended it itself;
    lacking: how many words seem to be missing or unclear.

    Too little speech for the text is a loss, whatever else was found.
    """
    heard_s = sum(code != silence_code for code in codes) / code_rate
    if not codes or heard_s == 0:
        return Problem("nothing was said", is_loss=True)
    if heard_s < expected.least_s:
        found = f"{finding}, and " if finding is not None else ""
        least = f"{expected.least_s:.1f} s at least"
        return Problem(f"{found}only {heard_s:.1f} s of speech for a text that needs {least}", is_loss=True)
    if finding is not None:
        return Problem(f"{finding}, cut off there", False, lacking)
    if not stopped:
        return Problem(f"no end after {len(codes) / code_rate:.1f} s, cut off", False, lacking)
    if lacking.missing:
        what = "a word may be missing" if lacking.missing == 1 else f"{lacking.missing} words may be missing"
        return Problem(what, False, lacking, is_worth_telling=lacking.missing > 1)
    if lacking.unclear:
        what = "a word may be unclear" if lacking.unclear == 1 else f"{lacking.unclear} words may be unclear"
        return Problem(what, False, lacking, is_worth_telling=False)
    return None


class CodeGuard:
    """Gets each code as it is made and reports the first problem.

    code_rate in codes per second; silence_code None if the model has none (then runs of any one code
    count as a loop of period 1).
    """

    def __init__(self, code_rate: float, silence_code: int | None, settings: GuardSettings | None = None) -> None:
        settings = settings or GuardSettings()
        self._rate = code_rate
        self._silence_code = silence_code
        self._max_silence = _n_codes(settings.max_silence_s, code_rate)
        self._min_loop = _n_codes(settings.min_loop_s, code_rate)
        self._min_repeats = settings.min_repeats
        self._codes: list[int] = []
        self._silence = 0
        self._max_period = _n_codes(settings.max_period_s, code_rate)
        self._positions: dict[int, list[int]] = {}  # of each code, in order
        self._runs: dict[int, int] = {}  # by period: length of the current run of codes that equal those a period ago

    def add(self, code: int) -> Finding | None:
        """The first problem in the codes so far, `code` included, or None."""
        self._codes.append(code)
        n = len(self._codes)
        self._silence = self._silence + 1 if code == self._silence_code else 0
        if self._silence >= self._max_silence:
            return Finding("silence", n - self._silence, self._silence, 1, self._rate)
        earlier = self._positions.setdefault(code, [])
        runs: dict[int, int] = {}
        for position in reversed(earlier):
            period = n - 1 - position
            if period > self._max_period:
                break
            runs[period] = self._runs.get(period, 0) + 1
            looped = runs[period] + period
            if looped >= max(self._min_repeats * period, self._min_loop) and not self._is_silent(period):
                return Finding("loop", n - looped, looped, period, self._rate)
        earlier.append(n - 1)
        self._runs = runs
        return None

    def _is_silent(self, period: int) -> bool:
        """Whether the repeated codes are silence, which has a limit of its own."""
        return all(code == self._silence_code for code in self._codes[-period:])


def find_silence_run(
    codes: Sequence[int], silence_code: int, code_rate: float, settings: GuardSettings | None = None
) -> Finding | None:
    """The first run of silence that is too long, in its full length."""
    longest_allowed = _n_codes((settings or GuardSettings()).max_silence_s, code_rate)
    run = 0
    for i, code in enumerate([*codes, None]):
        if code == silence_code:
            run += 1
            continue
        if run >= longest_allowed:
            return Finding("silence", i - run, run, 1, code_rate)
        run = 0
    return None


def find_problem(
    codes: Sequence[int],
    code_rate: float,
    silence_code: int | None = None,
    settings: GuardSettings | None = None,
) -> Finding | None:
    """The first finding of a `CodeGuard` over complete codes, as those of a beam search."""
    guard = CodeGuard(code_rate, silence_code, settings)
    return next((f for f in map(guard.add, codes) if f is not None), None)


def shrink_silence(
    codes: Sequence[int],
    silence_code: int,
    max_in_all: int = UPSTREAM_SILENCE_CODES,
    kept: int = UPSTREAM_SILENCE_KEPT,
) -> list[int]:
    """Upstream's remedy: with more than `max_in_all` silence codes, shorten every run to `kept`."""
    if sum(code == silence_code for code in codes) <= max_in_all:
        return list(codes)
    result: list[int] = []
    run = 0
    for code in codes:
        run = run + 1 if code == silence_code else 0
        if run <= kept:
            result.append(code)
    return result


def _n_codes(seconds: float, code_rate: float) -> int:
    return max(1, math.ceil(seconds * code_rate))
