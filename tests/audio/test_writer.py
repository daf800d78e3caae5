"""Sound written piece by piece: the bytes of writing it at once, whole files or none, errors of the disk told."""

from __future__ import annotations

import errno
import io
import os
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from edgetts.audio.formats import FORMATS, wav_header
from edgetts.audio.writer import SoundWriter, encode, sound_file, spooled_sound
from edgetts.errors import AudioError, UsageError

RATE = 22_050
SAMPLES = (0.4 * np.sin(np.arange(3 * RATE) * 0.05) * np.hanning(3 * RATE)).astype(np.float32)
PIECES = (1, 700, 0, 16_384, 16_385, 3, len(SAMPLES))


def write_in_pieces(writer: SoundWriter, samples: np.ndarray = SAMPLES) -> None:
    start = 0
    for size in PIECES:
        writer.write(samples[start : start + size])
        start += size


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_pieces_are_the_whole(name: str, tmp_path: Path) -> None:
    format = FORMATS[name]
    target = tmp_path / f"speech{format.suffixes[0]}"
    with sound_file(target, RATE, format) as writer:
        write_in_pieces(writer)
        assert not target.exists() and writer.n_samples == len(SAMPLES)
    data, at_once = target.read_bytes(), encode(SAMPLES, RATE, format)
    assert list(tmp_path.iterdir()) == [target]
    if format.container == "OGG":  # streams have random serial numbers
        found, expected = (soundfile.read(io.BytesIO(each))[0] for each in (data, at_once))
        assert np.array_equal(found, expected)
        assert len(found) / soundfile.info(str(target)).samplerate == pytest.approx(3, abs=0.01)
    else:
        assert data == at_once
    if name != "pcm":
        assert soundfile.info(str(target)).duration == pytest.approx(3, abs=0.1)


def test_wav_is_what_it_was() -> None:
    pcm = np.rint(np.clip(SAMPLES, -1, 1) * 32767).astype("<i2").tobytes()
    assert encode(SAMPLES, RATE, FORMATS["wav"]) == wav_header(RATE, len(SAMPLES)) + pcm
    streamed = encode(SAMPLES, RATE, FORMATS["wav"], streamed=True)
    assert streamed == wav_header(RATE, None) + pcm
    assert encode(SAMPLES[:0], RATE, FORMATS["wav"]) == wav_header(RATE, 0)


def test_a_file_that_is_not_finished_is_not_there(tmp_path: Path) -> None:
    for name, format in FORMATS.items():
        target = tmp_path / f"speech{format.suffixes[0]}"
        target.write_bytes(b"before")
        with pytest.raises(KeyError), sound_file(target, RATE, format) as writer:
            writer.write(SAMPLES)
            raise KeyError(name)
        assert target.read_bytes() == b"before"
        target.unlink()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["wav", "flac", "pcm"])
def test_samples_that_are_no_numbers(name: str, tmp_path: Path) -> None:
    bad = SAMPLES.copy()
    bad[50_000] = np.nan
    with (
        pytest.raises(AudioError, match="not numbers"),
        sound_file(tmp_path / "speech", RATE, FORMATS[name]) as writer,
    ):
        write_in_pieces(writer, bad)
    assert not list(tmp_path.iterdir())


class FullDisk(io.BytesIO):
    """Takes some bytes and no more."""

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > 2000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_a_full_disk_is_an_error_in_every_format(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(OSError, match="No space"), SoundWriter(FullDisk(), RATE, FORMATS[name]) as writer:
        for _ in range(10):
            writer.write(SAMPLES)
    assert capfd.readouterr().err == ""  # no traceback of a callback


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is full")
def test_a_full_device_is_one_sentence() -> None:
    for name in ("wav", "flac"):
        with (
            pytest.raises(UsageError, match=r"/dev/full cannot be written \(no space"),
            sound_file("/dev/full", RATE, FORMATS[name]) as writer,
        ):
            writer.write(SAMPLES)


def test_errors_of_the_block_are_not_those_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="of the text"), sound_file(tmp_path / "a.wav", RATE, FORMATS["wav"]):
        raise FileNotFoundError("of the text")


def test_too_long_for_wav(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgetts.audio.formats.MAX_WAV_DATA_BYTES", 2 * len(SAMPLES) - 1)
    with (
        pytest.raises(AudioError, match="too long for a WAV"),
        sound_file(tmp_path / "a.wav", RATE, FORMATS["wav"]) as writer,
    ):
        write_in_pieces(writer)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="no such pipes")
def test_a_named_pipe_gets_a_header_with_sizes(tmp_path: Path) -> None:
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    with sound_file(pipe, RATE, FORMATS["wav"]) as writer:
        write_in_pieces(writer)
    reader.join(10)
    assert got == [encode(SAMPLES, RATE, FORMATS["wav"])]


def test_spooled(tmp_path: Path) -> None:
    for streamed in (False, True):
        file = io.BytesIO(b"before")
        file.seek(0, io.SEEK_END)
        with spooled_sound(file, RATE, FORMATS["wav"], streamed=streamed) as writer:
            write_in_pieces(writer)
        assert file.getvalue() == b"before" + encode(SAMPLES, RATE, FORMATS["wav"], streamed=streamed)


def test_nothing_is_kept(tmp_path: Path) -> None:
    """However long it goes on, as much is in hand."""
    import tracemalloc

    most = []
    for n in (5, 50):
        tracemalloc.start()
        with sound_file(tmp_path / "a.wav", RATE, FORMATS["wav"]) as writer:
            for _ in range(n):
                writer.write(SAMPLES)
        most.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert most[1] < most[0] + 50_000
