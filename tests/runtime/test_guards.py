"""Guards: what must trip them, when, and what must not."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetts.errors import UsageError
from edgetts.runtime.guards import (
    CodeGuard,
    GuardSettings,
    cap_codes,
    fewest_codes,
    find_problem,
    find_repeat_loop,
    find_silence_run,
    shrink_silence,
)

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


def test_a_long_text_cannot_end_at_once() -> None:
    assert fewest_codes(60, RATE) == 60  # 1.2 s; the fastest recording of the teacher would be 2.3 s
    assert fewest_codes(60, RATE / 2) == 30
    assert fewest_codes(0, RATE) == 0
    assert all(fewest_codes(n, RATE) < cap_codes(n, RATE, 1500) for n in range(600))


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
    found = find_repeat_loop(codes, RATE, SILENCE)
    assert found is not None
    assert (found.kind, found.start, found.period) == ("loop", 40, period)
    # Noticed as soon as the thresholds allow: 3 repeats, and 1.5 s.
    assert found.n_codes == max(3 * period, 75)


def test_what_speech_does_is_no_loop() -> None:
    held = [7] * 40  # a long vowel
    word = speech(20, 1)
    assert find_repeat_loop(speech(30) + held + word + word + speech(30, 2), RATE, SILENCE) is None
    assert find_repeat_loop([SILENCE] * 90, RATE, SILENCE) is None
    assert find_repeat_loop(speech(1500), RATE, SILENCE) is None


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
