"""Reads recordings: WAV, FLAC, OGG or MP3 to mono float32 samples at any rate.

In: a path (or the bytes of a file, or samples) and a maximum length. Out: a `Take`, which is the used part at its own
rate, or a `Recording`, which is the used part resampled. Every problem of a file is an `AudioError` with one sentence
for the user. Reading is bounded: only regular files are opened, no more is decoded than is used, and a file is
decoded once for all rates. Does not know what the samples are for. `encode` writes sound.

The steps are upstream's (`librosa.load` as called by indextts/infer_v2.py): decode to float32, average the channels,
resample with soxr HQ to length ceil(n * ratio), cut.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soxr

from edgetts.audio.decode import (
    MIN_SECONDS,
    Samples,
    Sound,
    decode,
    reason,
)
from edgetts.errors import AudioError

MAX_FILE_BYTES = 2 << 30
MAX_PEAK = 16.0  # float files may exceed full scale (1.0) a little; above this the unit is another, or it is noise
SILENCE_PEAK = 1e-3  # -60 dB of full scale
# Decoded beyond the cut for the resampler's filter (soxr HQ needs less than 0.1 s).
MARGIN_SECONDS = 1.0
HASH_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Take:
    """The used part of a recording, at its own rate."""

    samples: Samples  # (S,) about -1..1; the part and up to MARGIN_SECONDS after it
    sample_rate: int  # Hz
    max_seconds: float  # length of the part, at most
    name: str  # for messages
    notices: tuple[str, ...]  # sentences for the user about changes
    content_hash: str  # of the `Sound`

    def at(self, sample_rate: int) -> Samples:
        """The part (S,) at `sample_rate` Hz."""
        return resample(self.samples, self.sample_rate, sample_rate)[: int(self.max_seconds * sample_rate)]

    @property
    def seconds(self) -> float:
        """Length of the part."""
        return min(len(self.samples) / self.sample_rate, self.max_seconds)


@dataclass(frozen=True)
class Recording:
    """A checked recording: mono, resampled, cut to a maximum length."""

    samples: Samples  # (S,) about -1..1
    sample_rate: int  # Hz
    seconds: float  # of `samples`
    notices: tuple[str, ...]  # sentences for the user about changes
    content_hash: str  # sha256, hexadecimal, of the bytes that were decoded


def read_audio(path: str | os.PathLike[str], sample_rate: int, max_seconds: float) -> Recording:
    """Read the recording at `path` as mono samples at `sample_rate` Hz, cut at `max_seconds`, as upstream does.

    Raises AudioError if the file is missing, not a regular file, unreadable, empty, larger than MAX_FILE_BYTES, not
    audio, silent or shorter than MIN_SECONDS, or if samples are not finite or far beyond full scale.
    """
    return _recording(first_seconds(read_sound(path, max_seconds + MARGIN_SECONDS), max_seconds), sample_rate)


def read_audio_bytes(data: bytes, sample_rate: int, max_seconds: float, name: str) -> Recording:
    """Like `read_audio`, for a file in memory. name: for messages."""
    sound = read_sound_bytes(data, max_seconds + MARGIN_SECONDS, name)
    return _recording(first_seconds(sound, max_seconds), sample_rate)


def read_sound(path: str | os.PathLike[str], max_seconds: float, *, keep_silent_channels: bool = True) -> Sound:
    """The first `max_seconds` of the recording at `path` at its own rate, unchecked."""
    with _open(Path(path)) as file:
        return _read(file, os.fstat(file.fileno()).st_size, shown(path), max_seconds, keep_silent_channels)


def read_sound_bytes(data: bytes, max_seconds: float, name: str, *, keep_silent_channels: bool = True) -> Sound:
    """Like `read_sound`, for a file in memory. name: for messages."""
    return _read(io.BytesIO(data), len(data), name, max_seconds, keep_silent_channels)


def hash_file(path: str | os.PathLike[str]) -> str:
    """sha256 of the whole file at `path`, hexadecimal. Raises AudioError if it cannot be opened, is empty or too
    large."""
    with _open(Path(path)) as file:
        _check_size(os.fstat(file.fileno()).st_size, shown(path))
        return _hash(file)


def resample(samples: Samples, from_rate: int, to_rate: int) -> Samples:
    """(S,) at `from_rate` to (ceil(S * to_rate / from_rate),) at `to_rate`, with soxr HQ as librosa does."""
    if from_rate == to_rate:
        return samples
    length = math.ceil(len(samples) * to_rate / from_rate)
    resampled: Samples = np.asarray(soxr.resample(samples, from_rate, to_rate, quality="HQ"), np.float32)
    if len(resampled) < length:
        return np.pad(resampled, (0, length - len(resampled)))
    return resampled[:length]


def _open(path: Path) -> BinaryIO:
    name = shown(path)
    # Only regular files are opened: reading a pipe or a device could block or never end.
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise AudioError(f"{name} is a folder; give one recording (WAV, FLAC, OGG or MP3) in it.")
        if not stat.S_ISREG(mode):
            raise AudioError(f"{name} is a pipe or a device, not a file; save the recording to a file first.")
        return path.open("rb")
    except (FileNotFoundError, NotADirectoryError):
        raise AudioError(f"There is no recording at {name}; check the path.") from None
    except PermissionError:
        raise AudioError(f"{name} may not be read by this user; allow it, for example with `chmod +r`.") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise AudioError(f"{name} cannot be opened ({reason(error)}); check the path.") from None


def _read(file: BinaryIO, size: int, name: str, max_seconds: float, keep_silent_channels: bool) -> Sound:
    _check_size(size, name)
    try:
        return decode(file, size, name, max_seconds, keep_silent_channels=keep_silent_channels)
    except OSError as error:
        raise AudioError(f"{name} cannot be read ({reason(error)}); check the disk.") from None


def first_seconds(sound: Sound, max_seconds: float) -> Take:
    """The beginning of a recording, as upstream uses it. Raises AudioError as `check_sound`."""
    n_used, rate = int(max_seconds * sound.sample_rate), sound.sample_rate
    notices = []
    is_part = len(sound.samples) > n_used
    if is_part:
        total = sound.total_seconds
        length = f"{total:.1f} s long" if total > max_seconds else f"longer than {max_seconds:g} s"
        notices.append(f"{sound.name} is {length}; only its first {max_seconds:g} s are used.")
    check_sound(sound.samples[:n_used], rate, sound.name, is_part=is_part)
    n_margin = int(MARGIN_SECONDS * rate)
    samples = sound.samples[: n_used + n_margin]
    return Take(samples, rate, max_seconds, sound.name, (*notices, *sound.notices), sound.content_hash)


def _recording(take: Take, sample_rate: int) -> Recording:
    samples = take.at(sample_rate)
    return Recording(samples, sample_rate, len(samples) / sample_rate, take.notices, take.content_hash)


def _check_size(size: int, name: str) -> None:
    if size == 0:
        raise AudioError(f"{name} is an empty file; record or copy it again.")
    if size > MAX_FILE_BYTES:
        raise AudioError(
            f"{name} is {size / 2**30:.1f} GiB, more than the {MAX_FILE_BYTES >> 30} GiB that are read; "
            f"cut out a few seconds of speech, for example with `ffmpeg -i INPUT -t 15 output.wav`."
        )


def check_sound(samples: Samples, rate: int, name: str, *, is_part: bool) -> None:
    """Raise AudioError if samples (S,) are shorter than MIN_SECONDS, silent, not finite or far beyond full scale.

    is_part: the recording goes on after them; for the message.
    """
    seconds = len(samples) / rate
    if seconds < MIN_SECONDS:
        raise AudioError(
            f"{name} is too short: {seconds:.2f} s of sound, at least {MIN_SECONDS:g} s are needed "
            f"(5 to 15 s of clear speech work best)."
        )
    if not np.isfinite(samples).all():
        raise AudioError(f"{name} has samples that are not numbers (NaN or infinity); export it again.")
    peak = float(np.abs(samples).max())
    if peak > MAX_PEAK:
        raise AudioError(f"{name} has samples as large as {peak:.3g} where full scale is 1; export it as 16-bit WAV.")
    if float(np.abs(samples - samples.mean()).max()) < SILENCE_PEAK:
        part = f"silent in its first {seconds:g} s" if is_part else "silent"
        raise AudioError(
            f"{name} is {part} (nothing above {20 * math.log10(SILENCE_PEAK):.0f} dB of full scale); "
            f"give a recording of someone speaking."
        )


def _hash(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    file.seek(0)
    while block := file.read(HASH_BLOCK_BYTES):
        digest.update(block)
    return digest.hexdigest()


def shown(path: str | os.PathLike[str]) -> str:
    """A path for printing: undecodable bytes and control characters are escaped."""
    text = os.fspath(path)
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
