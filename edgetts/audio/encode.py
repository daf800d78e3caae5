"""Speech out: samples to WAV, FLAC, OGG, MP3 or raw PCM, in a file that appears whole or not at all.

In: mono float32 samples (S,) in [-1, 1] and their rate. Out: bytes, a file, or blocks for a stream.
WAV and PCM are written here (16 bits, little-endian); the compressed formats come from libsndfile. This
file does not know where the samples come from; reading lives in `io`.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgetts.audio.overwrite import Kind, check_kind
from edgetts.errors import AudioError, UsageError
from edgetts.files import atomic_file, is_regular

Samples = npt.NDArray[np.float32]  # (S,)

BYTES_PER_SAMPLE = 2
FULL_SCALE = 32_767
WAV_HEADER_BYTES = 44
PCM_FORMAT_TAG = 1
UNKNOWN_LENGTH = 0xFFFFFFFF  # in the header of a stream whose end is not known yet
MAX_WAV_DATA_BYTES = UNKNOWN_LENGTH - WAV_HEADER_BYTES
# libsndfile's Vorbis encoder puts a whole call on the stack, so it is fed in blocks.
ENCODE_BLOCK_SAMPLES = 1 << 14


@dataclass(frozen=True)
class Format:
    """A way to write sound: `container` and `subtype` are libsndfile's names, None where written here."""

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
    """The format called `name`, else the one of the path's extension, else WAV for a stream (path None).

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
    """(S,) float samples as signed 16-bit little-endian; beyond full scale they are clipped, not wrapped.

    Raises AudioError when a sample is not finite.
    """
    if not np.isfinite(samples).all():
        raise AudioError("The speech holds samples that are not numbers; try another with seed=.")
    scaled = np.rint(np.clip(samples, -1.0, 1.0) * FULL_SCALE)
    return scaled.astype("<i2").tobytes()


def wav_header(sample_rate: int, n_samples: int | None) -> bytes:
    """The 44 bytes before mono 16-bit samples; `n_samples` None: a stream of unknown length."""
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


def encode(samples: Samples, sample_rate: int, format: Format, *, streamed: bool = False) -> bytes:
    """A whole file in memory. `streamed` gives a WAV header without sizes, for readers of a pipe.

    Raises AudioError when a sample is not finite or the encoder fails.
    """
    from edgetts.audio.writer import SoundWriter

    buffer = io.BytesIO()
    with SoundWriter(buffer, sample_rate, format, streamed=streamed) as writer:
        writer.write(samples)
    return buffer.getvalue()


def codec_rate(sample_rate: int, rates: tuple[int, ...]) -> int:
    """The lowest of the rates that loses nothing, else the highest."""
    return min((r for r in rates if r >= sample_rate), default=max(rates))


def check_target(path: str | os.PathLike[str]) -> None:
    """Raise UsageError now if a file at `path` could not be written later, before time is spent on it."""
    target = Path(path)
    shown = os.fspath(path)
    try:
        if target.is_dir():
            raise UsageError(f"{shown} is a folder; give a file name in it, such as {target / 'out.wav'}.")
        folder = target.resolve().parent
        if not folder.is_dir():
            raise UsageError(f"There is no folder {folder} for {target.name}; make it with `mkdir -p`.")
        existing = target.exists()
        if not os.access(folder if not existing or is_regular(target) else target, os.W_OK):
            raise UsageError(f"{shown} may not be written by this user; choose another folder.")
    # ValueError: a zero byte in the name; RuntimeError: a loop of links.
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(f"{shown!r} cannot be written ({_reason(error)}); choose another place.") from None


def write_audio(path: str | os.PathLike[str], samples: Samples, sample_rate: int, format: str | None = None) -> Path:
    """Write samples (S,) to `path`, in the format of its extension or the one named; whole or not at all.

    Raises UsageError for a path or format that cannot be written, AudioError for samples that cannot.
    """
    chosen = choose_format(path, format)
    check_target(path)
    check_kind(path, SOUND)
    write_file(path, encode(samples, sample_rate, chosen))
    return Path(path)


def write_file(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to `path`: under another name first, then renamed, so that no half file is ever seen.

    A device or pipe that is there already is written into, not replaced. Raises UsageError when it fails.
    """
    check_target(path)
    with told_os_errors(path), atomic_file(path) as file:
        file.write(data)


@contextlib.contextmanager
def told_os_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Errors of the system in the block as one sentence about `path`; a reader that went away stays what it is."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        reason = _reason(error)
        raise UsageError(f"{os.fspath(path)} cannot be written ({reason}); choose another place.") from None


def _reason(error: BaseException) -> str:
    return error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)
