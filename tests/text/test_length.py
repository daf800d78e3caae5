"""How long a text can take: by what is heard of it."""

from __future__ import annotations

import math

from edgetts.text.length import MIN_CHARACTER_S, MIN_LETTER_S, MIN_PHONE_S, spoken_length

FASTEST_PHONE_S, SLOWEST_PHONE_S = 0.060, 0.180  # of the teacher's 3200 recordings


def test_marks_and_stress_take_no_time() -> None:
    bare, marked = (spoken_length(list(t), phones=True) for t in ("▁wʌn▁tu", "▁wˈʌn,▁tu...'-!"))
    assert bare.least_s == marked.least_s == 5 * MIN_PHONE_S


def test_the_fastest_and_the_slowest_recording_fit() -> None:
    for n in (1, 2, 5, 20, 80):
        length = spoken_length(["w"] * n, phones=True)
        assert length.least_s < FASTEST_PHONE_S * n < SLOWEST_PHONE_S * n < length.most_s


def test_one_letter_does_not_run_on() -> None:
    assert spoken_length(list("▁aɪ."), phones=True).most_s <= 1.3
    assert spoken_length(list("▁ɑ."), phones=True).most_s <= 1.0


def test_a_pause_inside_needs_time_and_one_at_the_end_does_not() -> None:
    plain, inner, last = (spoken_length(list(t), phones=True).most_s for t in ("wʌntu", "wʌn,tu", "wʌntu."))
    assert plain == last < inner


def test_word_pieces_count_by_their_letters() -> None:
    one, five = spoken_length(["▁HELLO"], phones=False), spoken_length(["▁", *"HELLO"], phones=False)
    assert one == five
    assert math.isclose(one.least_s, 5 * MIN_LETTER_S) and one.most_s == math.inf
    assert math.isclose(spoken_length(["▁你", "好", "。"], phones=False).least_s, 2 * MIN_CHARACTER_S)
    assert spoken_length(["▁...", "▁'", "-"], phones=False).least_s == 0
