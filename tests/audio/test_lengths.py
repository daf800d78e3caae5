"""Recordings whose containers say a wrong length: what is there is read, and said."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import numpy as np
import pytest
import soundfile

from edgetts.audio.io import read_audio_bytes
from edgetts.audio.mpeg import mpeg_stream
from edgetts.errors import AudioError

RATE = 22_050


def sound(seconds: float, rate: int = RATE, channels: int = 1, seed: int = 0) -> np.ndarray:
    """(S, channels): noise whose loudness changes, so that a variable bit rate does vary."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((int(seconds * rate), channels))
    loudness = 0.02 + 0.1 * (np.arange(len(noise)) > len(noise) // 3)
    return (noise * loudness[:, None]).astype(np.float32)


def encoded(samples: np.ndarray, format: str = "WAV", subtype: str | None = None, rate: int = RATE) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=format, subtype=subtype)
    return buffer.getvalue()


def with_field(data: bytes, at: int, form: str, value: int) -> bytes:
    changed = bytearray(data)
    struct.pack_into(form, changed, at, value)
    return bytes(changed)


def seconds_and_notices(data: bytes, max_seconds: float = 15.0) -> tuple[float, tuple[str, ...]]:
    recording = read_audio_bytes(data, RATE, max_seconds, "it")
    return recording.seconds, recording.notices


# --- WAV and its relatives ---


@pytest.mark.parametrize("size", [2_000_000_000, 0x7FFFFFFF, 0x7FFFF000, 0x80000000, 0xFFFFFFFF, 0xFFFFFFDB])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "ULAW"])
def test_wav_of_a_length_that_was_never_known(size: int, subtype: str) -> None:
    data = encoded(sound(2.0), "WAV", subtype)
    at = data.index(b"data") + 4
    recording = read_audio_bytes(with_field(data, at, "<I", size), RATE, 15.0, "it")
    assert recording.notices == ()
    assert np.array_equal(recording.samples, read_audio_bytes(data, RATE, 15.0, "it").samples)


@pytest.mark.parametrize("size", [0, 1, 2, 4_096])
@pytest.mark.parametrize("format", ["WAV", "RF64"])
def test_header_that_was_never_finished(size: int, format: str) -> None:
    data = encoded(sound(2.0), format)
    if format == "RF64":
        unfinished = with_field(data, data.index(b"ds64") + 16, "<Q", size)
    else:
        unfinished = with_field(data, data.index(b"data") + 4, "<I", size)
    recording = read_audio_bytes(unfinished, RATE, 15.0, "it")
    assert recording.notices == ("it has an unfinished header; the 2.0 s of sound after it are used.",)
    assert np.array_equal(recording.samples, read_audio_bytes(data, RATE, 15.0, "it").samples)


@pytest.mark.parametrize("size", [0, 24])
def test_wave64_that_was_never_finished(size: int) -> None:
    data = encoded(sound(2.0), "W64")
    at = data.index(b"data") + 16
    assert struct.unpack_from("<Q", data, at)[0] > 88_000
    seconds, notices = seconds_and_notices(with_field(data, at, "<Q", size))
    assert seconds == 2.0
    assert "unfinished header" in notices[0]
    assert seconds_and_notices(with_field(data, at, "<Q", 1 << 62)) == (2.0, ())
    assert seconds_and_notices(data) == (2.0, ())


def test_odd_lengths_and_chunks_around_the_sound() -> None:
    data = encoded(sound(2.0))
    at = data.index(b"data")
    n_bytes = struct.unpack_from("<I", data, at + 4)[0]
    plain = read_audio_bytes(data, RATE, 15.0, "it").samples
    title = b"LIST" + struct.pack("<I", 5) + b"title\0"
    pictures = b"id3 " + struct.pack("<I", 3 * n_bytes) + bytes(3 * n_bytes)
    for changed in (data[:at] + title + data[at:], data + title, data + pictures, data + title + pictures):
        recording = read_audio_bytes(changed, RATE, 15.0, "it")
        assert recording.notices == ()
        assert np.array_equal(recording.samples, plain)
    odd = read_audio_bytes(with_field(data, at + 4, "<I", n_bytes - 201) + title, RATE, 15.0, "it")
    assert odd.notices == ()
    assert len(odd.samples) == (n_bytes - 201) // 2


def test_an_empty_wav_with_other_chunks_stays_empty() -> None:
    empty = encoded(np.zeros((0, 1), np.float32))
    with pytest.raises(AudioError, match="has no samples"):
        read_audio_bytes(empty + b"LIST" + struct.pack("<I", 90_000) + bytes(90_000), RATE, 15.0, "it")


@pytest.mark.parametrize("part", [0.3, 0.5, 0.9])
@pytest.mark.parametrize(
    ("format", "subtype"),
    [("WAV", None), ("WAV", "PCM_24"), ("RF64", None), ("FLAC", None), ("OGG", "VORBIS"), ("MP3", None)],
)
def test_what_is_there_of_a_truncated_file_is_used(format: str, subtype: str | None, part: float) -> None:
    data = encoded(sound(8.0), format, subtype)
    seconds, notices = seconds_and_notices(data[: int(part * len(data))])
    assert 1.0 < seconds < 7.9
    assert len(notices) == 1
    assert "truncated" in notices[0]
    assert f"{seconds:.1f} s" in notices[0]


def test_other_containers_of_unknown_length() -> None:
    aiff, au, caf = (encoded(sound(2.0), f, "PCM_16") for f in ("AIFF", "AU", "CAF"))
    frames = struct.unpack_from(">I", aiff, aiff.index(b"COMM") + 10)[0]
    assert frames == 2 * RATE
    for changed in (
        with_field(aiff, aiff.index(b"SSND") + 4, ">I", 0),
        with_field(aiff, aiff.index(b"SSND") + 4, ">I", 2_000_000_000),
        with_field(with_field(aiff, aiff.index(b"COMM") + 10, ">I", 0), aiff.index(b"SSND") + 4, ">I", 8),
        with_field(au, 8, ">I", 0),
        with_field(au, 8, ">I", 0xFFFFFFFF),
        with_field(caf, caf.index(b"data") + 4, ">q", -1),
        with_field(caf, caf.index(b"data") + 4, ">q", 0),
    ):
        recording = read_audio_bytes(changed, RATE, 15.0, "it")
        assert recording.seconds == pytest.approx(2.0, abs=1e-3)
        assert not any("truncated" in notice for notice in recording.notices)


# --- FLAC and Ogg ---


@pytest.mark.parametrize("total", [0, 1_000, (1 << 32) - 1])
def test_flac_of_unknown_or_wrong_length(total: int) -> None:
    data = encoded(sound(3.0), "FLAC")
    assert data[:4] == b"fLaC"
    plain = read_audio_bytes(data, RATE, 15.0, "it")
    recording = read_audio_bytes(with_field(data, 22, ">I", total), RATE, 15.0, "it")
    assert np.array_equal(recording.samples, plain.samples)
    assert ("truncated" in "".join(recording.notices)) == (total > 3 * RATE)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_chained_ogg(subtype: str) -> None:
    rate = 24_000
    links = [encoded(sound(2.0, rate, seed=seed), "OGG", subtype, rate) for seed in range(3)]
    alone = [read_audio_bytes(link, rate, 15.0, "it").samples for link in links]
    chain = read_audio_bytes(b"".join(links), rate, 15.0, "it")
    assert np.array_equal(chain.samples, np.concatenate(alone))
    assert chain.notices == ()
    assert read_audio_bytes(b"".join(links), rate, 5.0, "it").seconds == 5.0


def test_chained_ogg_of_other_rates_and_a_broken_link() -> None:
    one = encoded(sound(2.0), "OGG", "VORBIS")
    other = encoded(sound(2.0, 48_000, 2), "OGG", "VORBIS", 48_000)
    assert seconds_and_notices(one + other)[0] == pytest.approx(4.0, abs=0.01)
    seconds, notices = seconds_and_notices(one + other[:40] + bytes(100))
    assert seconds == pytest.approx(2.0, abs=0.01)
    assert notices


# --- MP3 ---


def mp3_of(samples: np.ndarray, rate: int = RATE) -> bytes:
    buffer = io.BytesIO()
    with soundfile.SoundFile(
        buffer, "w", rate, samples.shape[1], format="MP3", bitrate_mode="VARIABLE", compression_level=0.5
    ) as file:
        file.write(samples)
    return buffer.getvalue()


def mp3(seconds: float = 9.0, rate: int = RATE, channels: int = 1) -> bytes:
    return mp3_of(sound(seconds, rate, channels), rate)


def tag_at(data: bytes) -> int:
    return max(data.find(b"Xing"), data.find(b"Info"))


def without_tag(data: bytes) -> bytes:
    """The frames of the sound alone."""
    return data[data.index(data[:2], 4) :]  # all frames begin alike, and there is no 0xFF in the tag


@pytest.mark.parametrize(
    ("rate", "channels"), [(44_100, 1), (44_100, 2), (48_000, 2), (22_050, 1), (16_000, 2), (11_025, 1)]
)
def test_mp3_whose_length_is_only_an_estimate(rate: int, channels: int) -> None:
    frames = without_tag(mp3(9.0, rate, channels))
    estimate = soundfile.SoundFile(io.BytesIO(frames))
    recording = read_audio_bytes(frames, RATE, 15.0, "it")
    assert recording.seconds == pytest.approx(9.1, abs=0.15)
    assert recording.notices == ()
    assert abs(estimate.frames / rate - 9.0) > 0.3, "the fixture must mislead whoever believes the estimate"


def test_mp3_whose_estimate_is_too_long() -> None:
    quiet = without_tag(mp3_of(np.zeros((5 * RATE, 1), np.float32)))
    for _ in range(5):  # the first frames are not yet as small as those of silence are
        quiet = quiet[quiet.index(quiet[:2], 4) :]
    frames = quiet + without_tag(mp3_of(sound(5.0)))
    assert soundfile.SoundFile(io.BytesIO(frames)).frames > 12 * RATE, "the fixture must mislead"
    seconds, notices = seconds_and_notices(frames)
    assert seconds == pytest.approx(10.0, abs=0.3)
    assert notices == ()


def test_a_whole_mp3_is_read_as_before() -> None:
    data = mp3()
    expected, _ = soundfile.read(io.BytesIO(data), dtype="float32")
    recording = read_audio_bytes(data, RATE, 15.0, "it")
    assert recording.samples.shape == expected.shape
    assert np.abs(recording.samples - expected).max() < 1e-6  # the decoder's own results vary by so much
    assert recording.content_hash == read_audio_bytes(data, RATE, 15.0, "it").content_hash


@pytest.mark.parametrize("count", [0, 10, 10_000_000])
def test_mp3_tag_with_a_wrong_count(count: int) -> None:
    data = mp3()
    seconds, notices = seconds_and_notices(with_field(data, tag_at(data) + 8, ">I", count))
    assert seconds == pytest.approx(9.05, abs=0.1)
    assert ("truncated" in "".join(notices)) == (count > 1_000)


def test_mp3_tag_without_a_count() -> None:
    data = mp3()
    assert seconds_and_notices(with_field(data, tag_at(data) + 4, ">I", 0))[0] == pytest.approx(9.05, abs=0.1)


def id3(n_bytes: int) -> bytes:
    return b"ID3\4\0\0" + bytes(n_bytes >> shift & 0x7F for shift in (21, 14, 7, 0)) + bytes(n_bytes)


MP3_AROUND: dict[str, Callable[[bytes], bytes]] = {
    "cover art": lambda data: id3(300_000) + data,
    "two tags": lambda data: id3(1_000) + id3(70_000) + data,
    "zeros before": lambda data: bytes(5_000) + data,
    "text behind": lambda data: data + b"TAG" + b"x" * 125,
    "zeros behind": lambda data: data + bytes(50_000),
}


@pytest.mark.parametrize("case", MP3_AROUND)
def test_what_stands_around_the_frames_of_an_mp3(case: str, capfd: pytest.CaptureFixture[str]) -> None:
    data = mp3()
    plain = read_audio_bytes(data, RATE, 15.0, "it")
    recording = read_audio_bytes(MP3_AROUND[case](data), RATE, 15.0, "it")
    assert recording.notices == ()
    assert abs(len(recording.samples) - len(plain.samples)) < 3_000
    assert np.abs(recording.samples - plain.samples[: len(recording.samples)])[: 8 * RATE].max() < 1e-6
    assert capfd.readouterr() == ("", "")


def test_joined_mp3s_are_read_to_the_end() -> None:
    data = mp3(5.0)
    assert seconds_and_notices(data + id3(100_000) + data)[0] == pytest.approx(10.1, abs=0.2)
    assert seconds_and_notices(without_tag(data) + without_tag(data))[0] == pytest.approx(10.1, abs=0.2)


def test_counting_frames_is_bounded() -> None:
    class Counted(io.BytesIO):
        n_reads = 0

        def read(self, size: int | None = -1, /) -> bytes:
            Counted.n_reads += 1
            return super().read(size)

    data = without_tag(mp3(9.0))
    file = Counted(data)
    assert mpeg_stream(file, len(data), 1.0) is not None
    assert Counted.n_reads < 60


# --- channels ---


def test_channels_that_cancel() -> None:
    one = sound(2.0)
    for stereo in (np.hstack([one, -one]), np.hstack([one, -0.8 * one]), np.hstack([one, -one, one, -one])):
        recording = read_audio_bytes(encoded(stereo, "WAV", "FLOAT"), RATE, 15.0, "it")
        assert np.array_equal(recording.samples, one[:, 0])
        assert "cancel each other out" in recording.notices[0]
        assert "channel 1" in recording.notices[0]


def test_channels_that_do_not_cancel_are_averaged() -> None:
    one, other = sound(2.0), sound(2.0, seed=1)
    for stereo in (np.hstack([one, one]), np.hstack([one, other]), np.hstack([one, 0.1 * one])):
        recording = read_audio_bytes(encoded(stereo, "WAV", "FLOAT"), RATE, 15.0, "it")
        assert np.array_equal(recording.samples, stereo.mean(axis=1))
        assert recording.notices == ()
