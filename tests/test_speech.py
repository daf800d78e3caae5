"""`Audio` behaves as people expect of a sound in Python: length, array, equality, a file object, a notebook."""

from __future__ import annotations

import base64
import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgetts import speech
from edgetts.audio.playback import portaudio
from edgetts.audio.playback.simulated import SimulatedClock, SimulatedSink
from edgetts.errors import UsageError
from edgetts.speech import Audio, SpokenSegment

RATE = 22_050


@pytest.fixture
def audio() -> Audio:
    samples = (0.1 * np.sin(np.arange(RATE) / 20)).astype(np.float32)
    segment = SpokenSegment("Hello.", "Hello.", 0.0, 1.0, tuple(range(50)), 5, 1)
    return Audio(samples, RATE, 7, (segment,), (), 0.2)


def test_length_and_array(audio: Audio) -> None:
    assert len(audio) == RATE
    array = np.asarray(audio)
    assert array is audio.samples and array.dtype == np.float32
    assert np.asarray(audio, dtype=np.float64).dtype == np.float64
    copied = np.array(audio)
    copied[:] = 1
    assert audio.samples.max() < 1


def test_equal_when_it_sounds_the_same(audio: Audio) -> None:
    same = dataclasses.replace(audio, samples=audio.samples.copy(), compute_seconds=9.0, seed=8)
    assert audio == same and hash(audio) == hash(same)
    assert audio != dataclasses.replace(audio, samples=audio.samples * 0.5)
    assert audio != dataclasses.replace(audio, samples=audio.samples[:-1])
    assert audio != dataclasses.replace(audio, sample_rate=16_000)
    assert audio != "audio"


def test_repr_is_one_short_line(audio: Audio) -> None:
    assert repr(audio) == "Audio(1.00 s at 22050 Hz, 1 segment, seed=7)"
    assert repr(dataclasses.replace(audio, segments=(), notices=("a", "b"))).endswith("0 segments, seed=7, 2 notices)")
    assert "codes" not in repr(audio.segments[0]) and "Hello." in repr(audio.segments[0])


@pytest.mark.parametrize("format", [None, "wav", "flac", "ogg"])
def test_saves_to_a_file_object(audio: Audio, format: str | None) -> None:
    buffer = io.BytesIO()
    assert audio.save(buffer, format) is None
    buffer.seek(0)
    samples, rate = soundfile.read(buffer, dtype="float32")
    assert rate == RATE and len(samples) == len(audio) and np.abs(samples - audio.samples).max() < 0.02


def test_saves_to_a_path(audio: Audio, tmp_path: Path) -> None:
    assert audio.save(tmp_path / "a.flac") == tmp_path / "a.flac"
    assert audio.save(str(tmp_path / "a.bin"), "wav") == tmp_path / "a.bin"
    with pytest.raises(UsageError, match=r"format"):
        audio.save(io.BytesIO(), "exe")


def test_a_notebook_gets_a_player(audio: Audio) -> None:
    html = audio._repr_html_()
    data = html.split("base64,")[1].split('"')[0]
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(data)), dtype="float32")
    assert html.startswith("<audio controls") and rate == RATE and len(samples) == RATE


def shown_sound(html: str) -> tuple[str, np.ndarray]:
    """The media type of a notebook's player, and what it plays."""
    kind, data = html.split('src="data:')[1].split('"', maxsplit=1)[0].split(";base64,")
    return kind, soundfile.read(io.BytesIO(base64.b64decode(data)), dtype="float32")[0]


@pytest.mark.parametrize(
    ("seconds", "kind", "is_cut"), [(2, "audio/wav", False), (6, "audio/mpeg", False), (40, "audio/mpeg", True)]
)
def test_a_player_in_a_notebook_stays_small(
    audio: Audio, monkeypatch: pytest.MonkeyPatch, seconds: int, kind: str, is_cut: bool
) -> None:
    limit = 1 << 17  # 3 s of WAV; far below the real one, for speed
    monkeypatch.setattr(speech, "MAX_PLAYER_BYTES", limit)
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, seconds * RATE).astype(np.float32)
    long = dataclasses.replace(audio, samples=noise)
    html = long._repr_html_()
    found, samples = shown_sound(html)
    assert found == kind and len(html) < 1.9 * limit
    assert (len(samples) < len(long)) == is_cut == (f"of {seconds} s" in html)
    if is_cut:
        assert f"The first {len(samples) / RATE:.0f} of" in html


def test_plays_to_the_end(audio: Audio, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks: list[np.ndarray] = []
    clock = SimulatedClock()
    wanted: list[str | None] = []

    def sink(device: str | None) -> SimulatedSink:
        wanted.append(device)
        return SimulatedSink(clock, lambda block: blocks.append(block.copy()))

    monkeypatch.setattr(portaudio, "PortAudioSink", sink)
    audio.play("speakers")
    heard = np.concatenate(blocks)
    start = len(heard) - len(np.trim_zeros(heard, "f"))
    assert wanted == ["speakers"]
    assert np.abs(heard[start : start + RATE - 1] / 32_767 - audio.samples[1:]).max() < 1e-4
