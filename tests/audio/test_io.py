"""Reading recordings: the same samples as upstream, and one sentence for whatever cannot be read."""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import struct
from pathlib import Path

import numpy as np
import pytest
from helpers.paths import GOLDEN, SHARED
from helpers.recordings import RATE, assert_one_sentence, encoded, tone
from safetensors.numpy import load_file

from edgetts.audio import io as audio_io
from edgetts.audio.io import hash_file, read_audio, read_audio_bytes, resample
from edgetts.errors import AudioError


def save(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.skipif(SHARED is None, reason="the reference recordings are not at hand")
@pytest.mark.parametrize(
    ("voice", "rate", "tensor"),
    [("voice_01.wav", 22_050, "audio_22k"), ("emo_sad.wav", 16_000, "emo_audio_16k")],
)
def test_equals_upstream(voice: str, rate: int, tensor: str) -> None:
    assert SHARED is not None
    golden = load_file(GOLDEN / "frontend.safetensors")[tensor][0]
    recording = read_audio(SHARED / "reference" / "voices" / voice, rate, 15.0)
    assert recording.samples.shape == golden.shape
    assert np.abs(recording.samples - golden).max() < 1e-3 * golden.std()


@pytest.mark.parametrize(
    ("format", "subtype", "tolerance"),
    [
        ("WAV", "PCM_16", 1e-4),
        ("WAV", "PCM_24", 1e-4),
        ("WAV", "PCM_U8", 1e-2),
        ("WAV", "FLOAT", 1e-6),
        ("WAV", "ULAW", 2e-2),
        ("FLAC", "PCM_16", 1e-4),
        ("OGG", "VORBIS", 5e-2),
        ("OGG", "OPUS", 5e-2),
        ("MP3", None, 5e-2),
        ("AIFF", "PCM_16", 1e-4),
    ],
)
def test_formats(format: str, subtype: str | None, tolerance: float) -> None:
    samples = tone(1.5, 24_000)
    recording = read_audio_bytes(encoded(samples, 24_000, format, subtype), 24_000, 15.0, "it")
    assert recording.samples.dtype == np.float32
    assert recording.sample_rate == 24_000
    assert recording.seconds == pytest.approx(1.5, abs=0.06)
    middle = slice(6_000, 30_000)  # lossy formats fade at the ends
    assert np.abs(recording.samples[middle] - samples[middle, 0]).max() < tolerance
    assert recording.notices == ()


@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 96_000, 192_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_rates_and_channels(rate: int, channels: int) -> None:
    recording = read_audio_bytes(encoded(tone(1.2, rate, channels), rate, subtype="FLOAT"), RATE, 15.0, "it")
    assert len(recording.samples) == round(1.2 * RATE)
    expected = tone(1.2, RATE, channels).mean(axis=1)
    assert np.abs(recording.samples - expected)[2_000:-2_000].max() < 2e-3


def test_cut_with_a_notice_and_unchanged_start() -> None:
    rng = np.random.default_rng(0)
    samples = (0.1 * rng.standard_normal(20 * 48_000)).astype(np.float32)
    recording = read_audio_bytes(encoded(samples, 48_000, subtype="FLOAT"), RATE, 15.0, "long.wav")
    assert recording.seconds == 15.0
    assert recording.notices == ("long.wav is 20.0 s long; only its first 15 s are used.",)
    whole = resample(samples, 48_000, RATE)[: 15 * RATE]
    assert np.abs(recording.samples - whole).max() < 1e-6, "decoding only the start must not change it"


def test_exactly_the_limit_needs_no_notice() -> None:
    recording = read_audio_bytes(encoded(tone(15.0)), RATE, 15.0, "it")
    assert recording.seconds == 15.0
    assert recording.notices == ()


def test_truncated_beyond_the_used_part_is_a_notice() -> None:
    data = encoded(tone(30.0))
    recording = read_audio_bytes(data[: len(data) * 2 // 3], RATE, 15.0, "it")
    assert recording.seconds == 15.0
    assert "truncated" in recording.notices[1]
    assert "the part used is complete" in recording.notices[1]


def test_content_hash_is_of_what_is_used(tmp_path: Path) -> None:
    data = encoded(tone(1.5))
    path = save(tmp_path / "a.wav", data)
    assert hash_file(path) == hashlib.sha256(data).hexdigest()
    recording = read_audio(path, RATE, 15.0)
    assert recording.content_hash == read_audio(path, 16_000, 15.0).content_hash
    for other in (encoded(tone(1.6)), encoded(0.5 * tone(1.5)), encoded(tone(1.5), RATE + 50)):
        assert read_audio_bytes(other, RATE, 15.0, "it").content_hash != recording.content_hash


def test_no_more_is_read_than_is_used(tmp_path: Path) -> None:
    start = encoded(tone(20.0))
    path = tmp_path / "long.wav"
    with path.open("wb") as file:
        file.write(start[:40] + struct.pack("<I", 1 << 30) + start[44:])
        file.truncate(44 + (1 << 30))  # sparse: takes no disk
    n_read = 0

    class Counted(io.FileIO):
        def read(self, size: int | None = -1, /) -> bytes:
            nonlocal n_read
            data = super().read(size)
            n_read += len(data)
            return data

    with Counted(path) as file:
        sound = audio_io.decode(file, path.stat().st_size, "long.wav", 16.0, keep_silent_channels=True)
    assert len(sound.samples) == 16 * RATE
    assert n_read < 4 * len(start)


def test_streamed_wav_with_unknown_length() -> None:
    data = bytearray(encoded(tone(2.0)))
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    assert data[36:40] == b"data"
    assert read_audio_bytes(bytes(data), RATE, 15.0, "it").seconds == pytest.approx(2.0, abs=0.001)


def test_extension_does_not_matter(tmp_path: Path) -> None:
    for name in ("a.raw", "a.txt", "a", "ünïcode.mp3"):
        assert read_audio(save(tmp_path / name, encoded(tone(1.5))), RATE, 15.0).seconds == 1.5


def truncated(format: str, subtype: str | None = None, part: float = 0.5) -> bytes:
    rng = np.random.default_rng(1)  # noise, so that every codec spends bytes all along the file
    data = encoded((0.1 * rng.standard_normal(4 * 24_000)).astype(np.float32), 24_000, format, subtype)
    return data[: int(part * len(data))]


def with_rate(rate: int) -> bytes:
    data = bytearray(encoded(tone(2.0)))
    data[24:28] = struct.pack("<I", rate)
    return bytes(data)


def poisoned(value: float) -> bytes:
    samples = tone(2.0)
    samples[1_000] = value
    return encoded(samples, subtype="FLOAT")


BAD: dict[str, tuple[bytes, str]] = {
    "empty file": (b"", "is an empty file"),
    "text": (b"hello " * 1_000, "is not a recording that can be read"),
    "zeros": (bytes(100_000), "is not a recording that can be read"),
    "mp4": (b"\0\0\0\x20ftypM4A " + bytes(5_000), "is not a recording that can be read"),
    "wav of 20 bytes": (encoded(tone(2.0))[:20], "is truncated"),
    "wav header only": (encoded(tone(2.0))[:44], "is truncated"),
    "truncated wav": (truncated("WAV", None, 0.2), "is truncated: it ends after 0.8 s"),
    "truncated 24-bit wav": (truncated("WAV", "PCM_24", 0.1), "is truncated"),
    "truncated flac": (truncated("FLAC", None, 0.2), "is damaged or truncated"),
    "truncated vorbis": (truncated("OGG", "VORBIS", 0.2), "is truncated"),
    "truncated vorbis head": (truncated("OGG", "VORBIS", 0.05), "is truncated"),
    "truncated opus": (truncated("OGG", "OPUS"), "is truncated"),
    "truncated mp3": (truncated("MP3", None, 0.2), "is truncated"),
    "truncated mp3 head": (truncated("MP3", None, 0.1), "is truncated"),
    "no frames": (encoded(np.zeros((0, 1), np.float32)), "has no samples"),
    "silent": (encoded(np.zeros((44_100, 2), np.float32)), "is silent"),
    "constant": (encoded(np.full(44_100, 0.5, np.float32)), "is silent"),
    "silent start": (
        encoded(np.concatenate([np.zeros((17 * RATE, 1), np.float32), tone(2.0)])),
        "is silent in its first 15 s",
    ),
    "short": (encoded(tone(0.4)), "is too short: 0.40 s"),
    "one sample": (encoded(tone(1 / RATE + 1e-9)), "is too short"),
    "nan": (poisoned(float("nan")), "not numbers"),
    "infinite": (poisoned(float("inf")), "not numbers"),
    "int16 scale as float": (encoded(tone(2.0) * 32_768, subtype="FLOAT"), "full scale is 1"),
    "rate 1": (with_rate(1), "channels at 1 Hz by its header"),
    "rate 2 GHz": (with_rate(2_000_000_000), "at 2000000000 Hz"),
    "unsupported container": (encoded(tone(2.0), format="VOC", subtype="PCM_16"), "is VOC audio"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files(case: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data, words = BAD[case]
    path = save(tmp_path / "voice.wav", data)
    with pytest.raises(AudioError, match=re.escape(words)) as caught:
        read_audio(path, RATE, 15.0)
    assert_one_sentence(caught.value)
    assert str(path) in str(caught.value)
    if "mp3" not in case:  # its decoder warns by itself
        assert capfd.readouterr() == ("", "")


def test_bad_paths(tmp_path: Path) -> None:
    file = save(tmp_path / "a.wav", encoded(tone(2.0)))
    fifo = tmp_path / "fifo.wav"
    os.mkfifo(fifo)
    for path, words in {
        tmp_path / "missing.wav": "There is no recording at",
        file / "inside.wav": "There is no recording at",
        tmp_path: "is a folder",
        fifo: "is a pipe or a device",
        Path("/dev/zero"): "is a pipe or a device",
        Path("a\0b"): "cannot be opened",
        Path("x" * 5_000): "cannot be opened",
        Path("bad\nname\udcff"): r"bad\nname\udcff",
    }.items():
        for reader in (lambda p: read_audio(p, RATE, 15.0), hash_file):
            with pytest.raises(AudioError, match=re.escape(words)) as caught:
                reader(path)
            assert_one_sentence(caught.value)


def test_loop_of_links(tmp_path: Path) -> None:
    loop = tmp_path / "loop.wav"
    loop.symlink_to(loop)
    with pytest.raises(AudioError, match=r"cannot be opened|no recording"):
        read_audio(loop, RATE, 15.0)


def test_not_permitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.wav", encoded(tone(2.0)))
    path.chmod(0)
    if os.access(path, os.R_OK):  # root reads everything

        def refuse(self: Path, *_: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(AudioError, match="may not be read by this user"):
        read_audio(path, RATE, 15.0)
    path.chmod(stat.S_IRUSR | stat.S_IWUSR)


def test_huge_files_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge.wav"
    with path.open("wb") as file:
        file.truncate(audio_io.MAX_FILE_BYTES + 1)  # sparse: takes no disk
    with pytest.raises(AudioError, match=r"is 2\.0 GiB, more than"):
        read_audio(path, RATE, 15.0)


def test_many_channels_stay_within_bounds() -> None:
    recording = read_audio_bytes(encoded(tone(1.1, 8_000, 256), 8_000), RATE, 15.0, "it")
    assert recording.seconds == pytest.approx(1.1, abs=1e-3)
