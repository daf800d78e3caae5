"""Output formats: WAV, FLAC, OGG, MP3 and raw PCM, and whether a file may be written.

In: a name or a path; samples (S,) in [-1, 1]. Out: a `Format`; 16-bit little-endian samples and WAV headers. `writer`
encodes, compressed formats by libsndfile; `io` reads recordings.
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgetts.audio.overwrite import Kind
from edgetts.errors import AudioError, UsageError
from edgetts.files import atomic_file, is_regular

Samples = npt.NDArray[np.float32]  # (S,)

BYTES_PER_SAMPLE = 2
FULL_SCALE = 32_767
WAV_HEADER_BYTES = 44
PCM_FORMAT_TAG = 1
UNKNOWN_LENGTH = 0xFFFFFFFF  # in the header of a stream
MAX_WAV_DATA_BYTES = UNKNOWN_LENGTH - WAV_HEADER_BYTES
# libsndfile's Vorbis encoder allocates a whole call on the stack, so it gets blocks.
ENCODE_BLOCK_SAMPLES = 1 << 14


@dataclass(frozen=True)
class Format:
    """An output format. container, subtype: libsndfile's names; None: written here."""

    name: str
    suffixes: tuple[str, ...]
    container: str | None
    subtype: str | None
    rates: tuple[int, ...] = ()  # Hz, the only ones the codec knows; empty: any


FORMATS = {
    f.name: f
    for f in (
        Format("wav", (".wav", ".wave"), None, None),
        Format("flac", (".flac",), "FLAC", "PCM_16"),
        Format("ogg", (".ogg", ".oga"), "OGG", "VORBIS"),
        Format("opus", (".opus",), "OGG", "OPUS", (8_000, 12_000, 16_000, 24_000, 48_000)),
        Format(
            "mp3",
            (".mp3",),
            "MP3",
            "MPEG_LAYER_III",
            (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
        ),
        Format("pcm", (".pcm", ".raw", ".s16le"), None, None),
    )
}

SOUND = Kind(
    "a sound file",
    tuple(suffix for format in FORMATS.values() for suffix in format.suffixes),
    re.compile(rb"RIFF|RF64|fLaC|OggS|ID3|\xff[\xe2-\xff]"),
)


def choose_format(path: str | os.PathLike[str] | None, name: str | None) -> Format:
    """The format `name`; by default that of the path's extension, or WAV for a stream (path None).

    Raises UsageError for unknown names and extensions, and where this libsndfile cannot write the format.
    """
    known = ", ".join(FORMATS)
    if name is not None:
        chosen = FORMATS.get(name.lower())
        if chosen is None:
            raise UsageError(f"Unknown audio format {name!r}; known are {known}.")
    elif path is None:
        chosen = FORMATS["wav"]
    else:
        suffix = Path(path).suffix.lower()
        chosen = next((f for f in FORMATS.values() if suffix in f.suffixes), None)
        if chosen is None:
            what = f"extension {suffix!r}" if suffix else "no extension"
            raise UsageError(
                f"{os.fspath(path)} has {what}, which names no audio format; "
                f"end it in .wav, .flac, .ogg, .opus, .mp3 or .pcm, or choose with format= ({known})."
            )
    if chosen.container is not None:
        import soundfile

        if chosen.subtype not in soundfile.available_subtypes(chosen.container):
            raise UsageError(
                f"The installed libsndfile {soundfile.__libsndfile_version__} cannot write {chosen.name}; "
                f"choose wav or flac, or upgrade with `pip install -U soundfile`."
            )
    return chosen


def to_pcm16(samples: Samples) -> bytes:
    """(S,) float samples as signed 16-bit little-endian, clipped at full scale.

    Raises AudioError if a sample is not finite.
    """
    if not np.isfinite(samples).all():
        raise AudioError(
            "The speech has samples that are not numbers (NaN or infinity): use compute=exact, or another pack."
        )
    scaled = np.rint(np.clip(samples, -1.0, 1.0) * FULL_SCALE)
    return scaled.astype("<i2").tobytes()


def wav_header(sample_rate: int, n_samples: int | None) -> bytes:
    """The 44 bytes before mono 16-bit samples. n_samples: None for a stream of unknown length."""
    if n_samples is None:
        data_bytes = riff_bytes = UNKNOWN_LENGTH
    else:
        data_bytes = n_samples * BYTES_PER_SAMPLE
        riff_bytes = data_bytes + WAV_HEADER_BYTES - 8
        if data_bytes > MAX_WAV_DATA_BYTES:
            raise AudioError("The speech is too long for a WAV file (4 GiB); write FLAC, OGG or MP3 instead.")
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", riff_bytes, b"WAVE", b"fmt ", 16, PCM_FORMAT_TAG, 1, sample_rate),
        *(sample_rate * BYTES_PER_SAMPLE, BYTES_PER_SAMPLE, 8 * BYTES_PER_SAMPLE, b"data", data_bytes),
    )


def codec_rate(sample_rate: int, rates: tuple[int, ...]) -> int:
    """The lowest of `rates` that is at least `sample_rate`, else the highest."""
    return min((r for r in rates if r >= sample_rate), default=max(rates))


def check_target(path: str | os.PathLike[str]) -> None:
    """Raise UsageError if no file can be written at `path`. Called before synthesis."""
    target = Path(path)
    shown = os.fspath(path)
    try:
        if target.is_dir():
            raise UsageError(f"{shown} is a folder; give a file name in it, such as {target / 'out.wav'}.")
        folder = target.resolve().parent
        if not folder.is_dir():
            raise UsageError(f"There is no folder {folder} for {target.name}; make it with `mkdir -p {folder}`.")
        existing = target.exists()
        if not os.access(folder if not existing or is_regular(target) else target, os.W_OK):
            raise UsageError(f"{shown} may not be written by this user; choose another folder.")
    # ValueError: a zero byte in the name; RuntimeError: a loop of links.
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(f"{shown!r} cannot be written ({_reason(error)}); choose another place.") from None


def write_file(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to `path` atomically. An existing device or pipe is written to. Raises UsageError if that fails."""
    check_target(path)
    with os_errors_as_usage(path), atomic_file(path) as file:
        file.write(data)


@contextlib.contextmanager
def os_errors_as_usage(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn an OSError in the block into a UsageError that names `path`; BrokenPipeError passes unchanged."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        reason = _reason(error)
        raise UsageError(f"{os.fspath(path)} cannot be written ({reason}); choose another place.") from None


def _reason(error: BaseException) -> str:
    return error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)
