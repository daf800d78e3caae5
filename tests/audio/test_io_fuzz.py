"""Any bytes are a recording or one sentence, whatever their headers claim."""

from __future__ import annotations

import os
import struct

import numpy as np
import pytest
from helpers.recordings import RATE, assert_one_sentence, encoded, tone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgetts.audio.io import read_audio_bytes
from edgetts.errors import AudioError

FUZZ = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "150")),
    deadline=5_000,  # ms, so that a hang fails
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


SEEDS = [
    encoded(tone(1.1)),
    encoded(tone(1.1, 48_000, 2), 48_000, subtype="PCM_24"),
    encoded(tone(1.1), subtype="FLOAT"),
    encoded(tone(1.1), format="FLAC"),
    encoded(tone(1.1), format="OGG", subtype="VORBIS"),
    encoded(tone(1.1, 24_000), 24_000, format="OGG", subtype="OPUS"),
    encoded(tone(1.1), format="MP3"),
    encoded(tone(1.1), format="RF64"),
]


WAV_START = b"RIFF\xff\xff\xff\xffWAVEfmt "


MAGICS = [b"", WAV_START, b"fLaC\0\0\0\x22", b"OggS\0\x02", b"ID3\x04\0\0", b"\xff\xfb\x90", b"RF64"]


def read_or_refuse(data: bytes) -> None:
    try:
        recording = read_audio_bytes(data, RATE, 2.0, "fuzz")
    except AudioError as error:
        assert_one_sentence(error)
    else:
        assert np.isfinite(recording.samples).all()
        assert recording.samples.ndim == 1
        assert 1.0 <= recording.seconds <= 2.0


@FUZZ
@given(magic=st.sampled_from(MAGICS), data=st.binary(max_size=4_096))
def test_fuzz_random_bytes(magic: bytes, data: bytes) -> None:
    read_or_refuse(magic + data)


@FUZZ
@given(
    seed=st.sampled_from(SEEDS),
    edits=st.lists(st.tuples(st.integers(0, 160), st.integers(0, 255)), min_size=1, max_size=6),
    keep=st.floats(0.0, 1.0),
)
def test_fuzz_altered_headers(seed: bytes, edits: list[tuple[int, int]], keep: float) -> None:
    data = bytearray(seed)
    for position, value in edits:
        data[position] = value
    read_or_refuse(bytes(data[: int(keep * len(data)) or len(data)]))


@pytest.mark.parametrize("length", [1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
@pytest.mark.parametrize(
    ("kind", "chunk", "order"), [("RF64", b"ds64", "<"), ("W64", b"data", "<"), ("CAF", b"data", ">")]
)
def test_lengths_of_64_bits(kind: str, chunk: bytes, order: str, length: int) -> None:
    data = bytearray(encoded(tone(1.1), format=kind))
    at = data.index(chunk) + {"RF64": 16, "W64": 16, "CAF": 4}[kind]
    data[at : at + 8] = struct.pack(order + "Q", length)
    read_or_refuse(bytes(data))


@FUZZ
@given(
    at=st.sampled_from([4, 16, 20, 22, 24, 28, 32, 34, 40]),
    value=st.sampled_from([0, 1, 2, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF]),
)
def test_fuzz_extreme_wav_fields(at: int, value: int) -> None:
    data = bytearray(SEEDS[0])
    data[at : at + 4] = struct.pack("<I", value)
    read_or_refuse(bytes(data))
