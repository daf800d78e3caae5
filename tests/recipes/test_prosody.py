"""Melody and pauses of sounds that are known."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from recipes.tiny import dims
from recipes.tiny.evaluation import prosody

RATE = dims.SAMPLE_RATE


def voice(*notes: tuple[float, float]) -> np.ndarray:
    """(Hz, seconds) in a row, with overtones; 0 Hz: silence."""
    hertz = np.concatenate([np.full(round(s * RATE), f) for f, s in notes])
    phase = 2 * np.pi * np.cumsum(hertz) / RATE
    wave = sum(np.sin(k * phase) / k for k in range(1, 6))
    return (0.2 * wave * (hertz > 0)).astype(np.float32)


@pytest.mark.parametrize("semitones", [-5, 0, 5])
def test_the_rise_at_the_end_is_that_of_the_pitch(semitones: int) -> None:
    wave = voice((150, 1.0), (150 * 2 ** (semitones / 12), 0.4), (0, 0.2))
    assert prosody.rise(wave) == pytest.approx(semitones, abs=0.3)
    assert math.isnan(prosody.rise(voice((0, 1.0))))


def test_silences_inside_and_at_the_end() -> None:
    inside, end = prosody.silences(voice((150, 0.5), (0, 0.25), (150, 0.5), (0, 0.1), (150, 0.2), (0, 0.4)))
    assert inside == pytest.approx(0.25, abs=0.03) and end == pytest.approx(0.4, abs=0.03)
    assert prosody.silences(voice((150, 0.5)))[0] < 0.03


def test_recordings_are_told_apart_by_their_marks(tmp_path: Path) -> None:
    (tmp_path / "wav").mkdir()
    rows = [("a", "Is it so?", 5), ("b", "It is so.", -4), ("c", "First, it is so.", -4)]
    for name, _, semitones in rows:
        sf.write(tmp_path / "wav" / f"{name}.ogg", voice((150, 0.8), (150 * 2 ** (semitones / 12), 0.4)), RATE)
    lines = [f"{name}\tv\t1.0\t1.2\tp\t{text}" for name, text, _ in rows]
    (tmp_path / "metadata.tsv").write_text("\n".join(lines) + "\n")
    found = prosody.recorded(tmp_path, 5)
    assert found["rise"]["question"]["median"] > 4 and found["rise"]["statement"]["median"] < -3
    assert found["silence_s"]["comma"]["n"] == 1 and found["silence_s"]["no comma"]["n"] == 2
