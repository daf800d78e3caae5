"""Writing speech: the right bytes, in a file that appears whole or not at all."""

from __future__ import annotations

import io
import os
import re
import struct
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgetts.audio.formats import (
    FORMATS,
    check_target,
    choose_format,
    to_pcm16,
    wav_header,
    write_file,
)
from edgetts.audio.writer import encode, sound_file
from edgetts.errors import AudioError, UsageError
from edgetts.files import atomic_file

RATE = 22_050


def tone(seconds: float = 1.0) -> np.ndarray:
    t = np.arange(int(seconds * RATE)) / RATE
    return (0.5 * np.sin(2 * np.pi * 220 * t)).astype(np.float32)


def files_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_pcm16_rounds_and_clips() -> None:
    samples = np.array([0.0, 1.0, -1.0, 1.5, -7.0, 0.5 / 32_767, 1.6 / 32_767], np.float32)
    assert struct.unpack("<7h", to_pcm16(samples)) == (0, 32_767, -32_767, 32_767, -32_767, 0, 2)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", FORMATS)
def test_not_finite_is_refused(value: float, name: str) -> None:
    with pytest.raises(AudioError, match="not numbers"):
        encode(np.array([0.0, value], np.float32), RATE, FORMATS[name])


def test_wav_sizes() -> None:
    data = encode(tone(), RATE, FORMATS["wav"])
    riff, size, wave = struct.unpack_from("<4sI4s", data)
    assert (riff, size, wave) == (b"RIFF", len(data) - 8, b"WAVE")
    assert struct.unpack_from("<4sI", data, 36) == (b"data", len(data) - 44)
    samples, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    assert rate == RATE
    assert np.abs(samples - tone()).max() < 1e-4


def test_streamed_wav_has_unknown_sizes() -> None:
    data = encode(tone(), RATE, FORMATS["wav"], streamed=True)
    assert data[4:8] == data[40:44] == b"\xff\xff\xff\xff"
    assert data[44:] == to_pcm16(tone())


def test_too_long_for_wav() -> None:
    with pytest.raises(AudioError, match="too long for a WAV"):
        wav_header(RATE, 1 << 31)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_read_back(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{FORMATS[name].suffixes[0]}"
    with sound_file(path, RATE, choose_format(path, None)) as writer:
        writer.write(tone())
    if name == "pcm":
        assert path.read_bytes() == to_pcm16(tone())
        return
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == (24_000 if name == "opus" else RATE)
    assert len(samples) / rate == pytest.approx(1.0, abs=0.06)
    assert np.abs(samples).max() == pytest.approx(0.5, abs=0.05)


def test_compressed_formats_do_not_wrap() -> None:
    loud = tone() * 3
    for name in ("flac", "ogg", "mp3"):
        samples, _ = soundfile.read(io.BytesIO(encode(loud, RATE, FORMATS[name])), dtype="float32")
        quiet, _ = soundfile.read(io.BytesIO(encode(np.clip(loud, -1, 1), RATE, FORMATS[name])), dtype="float32")
        assert np.array_equal(samples, quiet)


def test_a_minute_of_vorbis() -> None:
    assert len(encode(tone(60.0), RATE, FORMATS["ogg"])) > 10_000


def test_empty_speech_is_a_sound_file() -> None:
    for name in FORMATS:
        encode(np.zeros(0, np.float32), RATE, FORMATS[name])


@pytest.mark.parametrize(
    ("path", "name", "expected"),
    [
        ("a.wav", None, "wav"),
        ("A.WAV", None, "wav"),
        ("a.b.mp3", None, "mp3"),
        ("a.wav", "flac", "flac"),
        ("a", "MP3", "mp3"),
        (None, None, "wav"),
        (None, "pcm", "pcm"),
    ],
)
def test_choice(path: str | None, name: str | None, expected: str) -> None:
    assert choose_format(path, name).name == expected


@pytest.mark.parametrize(("path", "name"), [("a.txt", None), ("a", None), ("a.wav", "aac"), (".wav", None)])
def test_unknown_formats(path: str, name: str | None) -> None:
    with pytest.raises(UsageError, match="wav, flac, ogg, opus, mp3, pcm"):
        choose_format(path, name)


def test_missing_codec_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soundfile, "available_subtypes", lambda container: {})
    with pytest.raises(UsageError, match="cannot write mp3"):
        choose_format("a.mp3", None)


def test_bad_targets(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path, words in {
        tmp_path: "is a folder",
        tmp_path / "none" / "a.wav": "There is no folder",
        tmp_path / "file" / "a.wav": "There is no folder",
        "a\0.wav": "cannot be written",
    }.items():
        with pytest.raises(UsageError, match=re.escape(words)):
            check_target(path)


def test_folder_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(UsageError, match="may not be written by this user"):
        check_target(tmp_path / "a.wav")


def test_failure_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.wav"
    target.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), atomic_file(target) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert target.read_bytes() == b"old"
    assert files_in(tmp_path) == ["a.wav"]


def test_full_disk_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match="no space left"):
        write_file(tmp_path / "a.wav", b"data")
    assert files_in(tmp_path) == []


def test_permissions_and_links_are_kept(tmp_path: Path) -> None:
    real, link = tmp_path / "real.wav", tmp_path / "link.wav"
    real.write_bytes(b"old")
    real.chmod(0o640)
    link.symlink_to(real)
    write_file(link, b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"
    assert real.stat().st_mode & 0o777 == 0o640


def test_devices_and_pipes_are_written_into(tmp_path: Path) -> None:
    write_file("/dev/null", b"data")
    assert Path("/dev/null").is_char_device()
    fifo = tmp_path / "fifo.wav"
    os.mkfifo(fifo)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(fifo.read_bytes()), daemon=True)
    reader.start()
    write_file(fifo, b"data")
    reader.join(timeout=10)
    assert received == [b"data"]
    assert fifo.is_fifo()
