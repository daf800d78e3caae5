"""Guards: what must trip them, when, and what must not."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetts.decoding.guards import (
    CodeGuard,
    Expected,
    Finding,
    GuardSettings,
    Lacking,
    Problem,
    cap_codes,
    find_problem,
    find_silence_run,
    judge,
    shrink_silence,
)
from edgetts.errors import UsageError

RATE = 50.0
SILENCE = 52


def speech(n: int, seed: int = 0) -> list[int]:
    """Codes that differ from one to the next and hold no silence."""
    return random.Random(seed).sample(range(100, 8000), n)


def test_a_short_text_cannot_run_to_the_cap() -> None:
    assert cap_codes(8, RATE, 1500) < 400
    assert cap_codes(8, RATE, 1500) >= 5 * RATE  # 8 slow syllables and room to breathe
    assert cap_codes(8, RATE / 2, 1500) == cap_codes(8, RATE, 1500) // 2
    assert cap_codes(0, RATE, 1500) >= 1
    assert cap_codes(120, RATE, 1500) == 1500
    assert cap_codes(120, RATE, 300) == 300
    caps = [cap_codes(n, RATE, 1500) for n in range(120)]
    assert caps == sorted(caps)


def test_a_text_that_is_known_has_a_cap_of_its_own() -> None:
    assert cap_codes(2, RATE, 1500, expected=Expected(most_s=1.2)) == 60
    assert cap_codes(2, RATE, 1500, expected=Expected(most_s=100.0)) == cap_codes(2, RATE, 1500)
    assert cap_codes(2, RATE, 40, expected=Expected(most_s=1.2)) == 40


def test_a_text_may_allow_less_silence() -> None:
    codes = [1, 2, *[SILENCE] * 40, 3]
    assert find_problem(codes, RATE, SILENCE) is None
    found = find_problem(codes, RATE, SILENCE, Expected(max_silence_s=0.6).settings())
    assert found is not None and (found.kind, found.start) == ("silence", 2)
    assert Expected().settings() == GuardSettings()


SILENT = 9


def judged(codes: list[int], least_s: float, finding: Finding | None = None, *, stopped: bool = True) -> Problem | None:
    return judge(codes, RATE, SILENT, expected=Expected(least_s), finding=finding, stopped=stopped)


def test_too_little_sound_is_a_loss() -> None:
    assert judged([1] * 60, 1.2) is None
    short = judged([1] * 59, 1.21)
    assert short is not None and short.is_loss and "1.2 s of speech for a text that needs 1.2 s at least" in str(short)


def test_silence_is_no_speech() -> None:
    """A list item that is gone after a silence has the length of the text, but not its sound."""
    codes = [1] * 40 + [SILENT] * 70
    assert judged(codes, 0.8) is None
    gone = judged(codes, 0.9)
    assert gone is not None and gone.is_loss


def test_words_that_seem_to_be_missing_are_a_reason_to_try_again() -> None:
    def found(n: int, codes: list[int], *, unclear: int = 0, stopped: bool = True) -> Problem | None:
        return judge(
            codes, RATE, SILENT, Lacking(n, n + unclear), expected=Expected(0.5), finding=None, stopped=stopped
        )

    one, two, endless, short = (
        found(1, [1] * 60),
        found(2, [1] * 60),
        found(1, [1] * 60, stopped=False),
        found(1, [1]),
    )
    assert one is not None and not one.is_loss and one.lacking == (1, 1) and not one.is_worth_telling
    assert found(0, [1] * 60) is None
    unclear = [found(0, [1] * 60, unclear=n) for n in (1, 2)]
    assert [str(problem) for problem in unclear] == ["a word may be unclear", "2 words may be unclear"]
    assert not any(problem is None or problem.is_loss or problem.is_worth_telling for problem in unclear)
    assert two is not None and str(two) == "2 words may be missing" and two.is_worth_telling
    assert endless is not None and "no end" in str(endless) and endless.is_worth_telling and endless.lacking == (1, 1)
    assert short is not None and short.is_loss and short.is_worth_telling


@pytest.mark.parametrize("codes", [[], [SILENT] * 10])
def test_nothing_but_silence_is_a_loss_whatever_is_expected(codes: list[int]) -> None:
    nothing = judged(codes, 0.0)
    assert nothing is not None and nothing.is_loss and str(nothing) == "nothing was said"


def test_what_is_cut_off_is_a_loss_only_if_too_little_is_left() -> None:
    finding = Finding("silence", 50, 100, 1, RATE)
    kept = judged([1] * 50, 0.9, finding, stopped=False)
    assert kept is not None and not kept.is_loss and "cut off" in str(kept)
    lost = judged([1] * 50, 1.1, finding, stopped=False)
    assert lost is not None and lost.is_loss and "2.0 s of silence" in str(lost)
    endless = judged([1] * 50, 0.9, stopped=False)
    assert endless is not None and not endless.is_loss and "no end after 1.0 s" in str(endless)


def test_silence_is_found_when_it_is_too_long_and_not_before() -> None:
    long, short = [SILENCE] * 100, [SILENCE] * 99
    assert find_silence_run(speech(30) + short + speech(30, 1), SILENCE, RATE) is None
    found = find_silence_run(speech(30) + long + [SILENCE] * 5 + speech(9), SILENCE, RATE)
    assert found is not None
    assert (found.kind, found.start, found.n_codes) == ("silence", 30, 105)
    assert str(found) == "2.1 s of silence from 0.6 s on"
    assert find_silence_run(long, SILENCE, RATE / 2) is not None


@pytest.mark.parametrize("period", [1, 2, 7, 25, 150])
def test_loops_of_any_period_are_found(period: int) -> None:
    codes = speech(40) + speech(period, 1) * (150 // period + 3)
    found = find_problem(codes, RATE, SILENCE)
    assert found is not None
    assert (found.kind, found.start, found.period) == ("loop", 40, period)
    # Noticed as soon as the thresholds allow: 3 repeats, and 1.5 s.
    assert found.n_codes == max(3 * period, 75)


def test_what_speech_does_is_no_loop() -> None:
    held = [7] * 40  # a long vowel
    word = speech(20, 1)
    assert find_problem(speech(30) + held + word + word + speech(30, 2), RATE, SILENCE) is None
    assert find_problem([SILENCE] * 90, RATE, SILENCE) is None
    assert find_problem(speech(1500), RATE, SILENCE) is None


def test_the_guard_names_the_code_that_trips_it() -> None:
    guard = CodeGuard(RATE, SILENCE)
    assert [guard.add(code) for code in speech(50)] == [None] * 50
    findings = [guard.add(SILENCE) for _ in range(100)]
    assert findings[:99] == [None] * 99
    assert findings[99] is not None
    assert findings[99].start == 50


def test_a_model_without_a_silence_code_is_guarded_by_the_loop() -> None:
    found = find_problem([SILENCE] * 200, RATE, None)
    assert found is not None
    assert (found.kind, found.period) == ("loop", 1)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([SILENCE, 1, 2]), max_size=60))
def test_guard_agrees_with_the_plain_definition(codes: list[int]) -> None:
    limits = GuardSettings(max_silence_s=6.0, max_period_s=5.0, min_loop_s=8.0, min_repeats=3)
    expected = None
    for end in range(1, len(codes) + 1):
        tail = codes[:end]
        if tail[-6:] == [SILENCE] * 6:
            expected = ("silence", end - 6)
            break
        loops = [
            start
            for period in range(1, 6)
            for start in [end - max(3 * period, 8)]
            if start >= 0
            and all(tail[i] == tail[i - period] for i in range(start + period, end))
            and set(tail[-period:]) != {SILENCE}
        ]
        if loops:
            expected = ("loop", loops[0])
            break
    found = find_problem(codes, 1.0, SILENCE, limits)
    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert found.kind == expected[0]
        assert found.start == expected[1]


def test_shrinking_silence_as_upstream_does() -> None:
    run = [SILENCE] * 15
    assert shrink_silence([1, *run, 2, *run, 3], SILENCE) == [1, *run, 2, *run, 3]  # 30 in all: untouched
    assert shrink_silence([1, *run, SILENCE, 2, *run, 3], SILENCE) == [1, *run[:10], 2, *run[:10], 3]
    assert shrink_silence([], SILENCE) == []


@pytest.mark.parametrize("name", ["base_s", "per_token_s", "max_silence_s", "max_period_s", "min_loop_s"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_settings_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"{name} is"):
        GuardSettings(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [1, 2.5])
def test_one_repeat_is_no_loop(value: float) -> None:
    with pytest.raises(UsageError, match="min_repeats"):
        GuardSettings(min_repeats=value)  # type: ignore[arg-type]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.lists(st.integers(0, 3), min_size=1, max_size=6), st.integers(1, 6)), max_size=8),
    st.integers(2, 4),
)
def test_a_loop_is_found_with_its_first_code_too_many(phrases: list[tuple[list[int], int]], min_repeats: int) -> None:
    """As by comparing each code with those one to `max_period` codes earlier; the shortest period counts."""
    codes = [code for phrase, n in phrases for code in phrase * n]
    limits = GuardSettings(max_silence_s=100.0, max_period_s=5.0, min_loop_s=8.0, min_repeats=min_repeats)
    expected = None
    for n, period in itertools.product(range(1, len(codes) + 1), range(1, 6)):
        run = next((i for i in range(n - period) if codes[n - 1 - i] != codes[n - 1 - i - period]), n - period)
        if expected is None and run > 0 and run + period >= max(min_repeats * period, 8):
            expected = Finding("loop", n - run - period, run + period, period, 1.0)
    assert find_problem(codes, 1.0, None, limits) == expected
