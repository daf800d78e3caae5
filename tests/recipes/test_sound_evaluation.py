"""What the evaluation of sound says of sounds whose figures are known: levels, clicks, spectrograms, stages."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from recipes.tiny import dims
from recipes.tiny.corpus import pitch, synthetic
from recipes.tiny.corpus.data import Corpus
from recipes.tiny.evaluation import by_stage, levels, spectrograms
from recipes.tiny.evaluation.sound_metrics import Wave

RATE = dims.SAMPLE_RATE


def speech(level: float, pause: float = 0.0) -> Wave:
    """Half a second of a tone of this RMS, half a second of noise of that one, and the tone again."""
    tone = level * math.sqrt(2) * np.sin(2 * np.pi * 200 * np.arange(RATE // 2) / RATE)
    noise = pause * np.random.default_rng(0).standard_normal(RATE // 2)
    return np.concatenate([tone, noise, tone]).astype(np.float32)


def test_levels_of_a_known_sound() -> None:
    found = levels.levels(speech(0.1, 1e-4), RATE)
    assert found["speech"] == pytest.approx(-20, abs=0.2)
    assert found["quiet"] == pytest.approx(-80, abs=1.0)
    assert found["edges"] == pytest.approx(levels.decibels(float(abs(speech(0.1)[-1]))), abs=0.1)
    hissing = levels.levels(speech(0.1, 1e-3), RATE)
    assert hissing["quiet"] == pytest.approx(-60, abs=1.0)
    assert math.isnan(levels.levels(np.full(RATE, 0.1, np.float32), RATE)["click"])  # no pause
    with pytest.raises(ValueError, match="too few"):
        levels.levels(np.zeros(100, np.float32), RATE)


def test_a_click_in_a_pause_stands_out() -> None:
    wave = speech(0.1, 1e-5)
    clean = levels.levels(wave, RATE)["click"]
    wave[int(0.75 * RATE)] += 5e-3
    assert levels.levels(wave, RATE)["click"] > clean + 30


def test_the_spread_of_levels_is_told_by_voice() -> None:
    rows = {
        "a": [levels.levels(speech(0.1), RATE)] * 2,
        "b": [levels.levels(speech(0.05), RATE), levels.levels(speech(0.2), RATE)],
    }
    found = levels.summary(rows)
    assert found["voices"]["a"]["spread"] == 0 and found["voices"]["b"]["spread"] == pytest.approx(6.0, abs=0.2)
    assert found["between_voices"] == pytest.approx(0, abs=0.2)
    assert found["quiet_below_speech"] > 60


def test_a_spectrogram_has_the_tone_where_it_is(tmp_path: Path) -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE).astype(np.float32)
    found = spectrograms.spectrogram(tone)
    assert abs(int(found[:, 20].argmax()) * RATE / spectrograms.SIZE - 1000) < 25
    assert found.max() == 0 and found.min() == -spectrograms.RANGE_DB
    spectrograms.draw({"recording": [tone], "pack 1": [tone]}, ["a tone"], tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = synthetic.make(tmp_path_factory.mktemp("buzzes"), n=41)
    return pitch.cache(folder, folder / "cache", workers=1)


def test_each_stage_of_a_held_out_recording_is_judged(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The prompt is another recording of its voice, and not a held-out one."""
    pairs = by_stage.chosen(corpus, 30)
    assert list(pairs) == [39]
    assert corpus.items[pairs[39]]["voice"] == corpus.items[39]["voice"]
    judged: list[int] = []

    def alone(wave: Wave) -> dict[str, float]:
        judged.append(len(wave))
        return {"level": float(np.abs(wave).mean())}

    monkeypatch.setattr(by_stage.sound_metrics, "alone", alone)
    monkeypatch.setattr(by_stage.sound_metrics, "against", lambda made, _real: alone(made))
    stages = [x for stage in by_stage.STAGES[:3] for x in ("--stage", stage)]
    arguments = ["--corpus", str(corpus.folder), "--json", str(tmp_path / "found.json"), *stages]
    monkeypatch.setattr(sys, "argv", ["by_stage", *arguments])
    by_stage.main()
    found = json.loads((tmp_path / "found.json").read_text())
    assert list(found) == list(by_stage.STAGES[:3]) and min(row["level"] for row in found.values()) > 0
    whole = corpus.length("wav", 39) // dims.HOP * dims.HOP
    assert judged[:2] == [whole, whole] and whole - 4 * dims.HOP <= judged[2] <= whole
