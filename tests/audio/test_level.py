"""The level of speech: that of its louder frames, whatever the pauses."""

from __future__ import annotations

import numpy as np
import pytest

from edgetts.audio.level import decibels, frame_levels, speech_level_db

RATE = 8000
TONE = 0.1 * np.sqrt(2) * np.sin(2 * np.pi * 200 * np.arange(RATE) / RATE)  # RMS 0.1


def test_pauses_do_not_count() -> None:
    quiet = np.full(3 * RATE, 1e-4)
    assert speech_level_db(TONE, RATE) == pytest.approx(-20, abs=0.01)
    assert speech_level_db(np.concatenate([TONE, quiet]), RATE) == pytest.approx(-20, abs=0.01)
    half = np.concatenate([TONE, TONE / 10])  # within the range: a quiet word counts
    assert speech_level_db(half, RATE) == pytest.approx(-20 + 10 * np.log10(0.505), abs=0.01)


@pytest.mark.parametrize("factor", [0.01, 0.5, 3.0])
def test_it_follows_the_scale(factor: float) -> None:
    expected = speech_level_db(TONE, RATE) + 20 * np.log10(factor)
    assert speech_level_db((factor * TONE).astype(np.float32), RATE) == pytest.approx(expected, abs=0.01)


def test_silence_has_the_lowest_level_and_nothing_has_none() -> None:
    assert speech_level_db(np.zeros(RATE), RATE) == decibels(0.0) == -120
    assert len(frame_levels(np.zeros(159), RATE)) == 0 and len(frame_levels(np.zeros(161), RATE)) == 1
    with pytest.raises(ValueError, match="159 samples are too few"):
        speech_level_db(np.zeros(159), RATE)
