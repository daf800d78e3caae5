"""Recordings: any WAV, FLAC, OGG or MP3 becomes mono float32 samples at the rate that is asked for.

In: a path (or the bytes of a file), the wanted rate and the longest useful length. Out: `Recording`.
Whatever is wrong with a file is an `AudioError` whose text is one sentence for the user. Reading is
bounded: special files are never opened for long, and no more is decoded than can be used. This file
does not know what the samples are for; writing lives in `encode`.

The path from file to samples is that of upstream (`librosa.load` as called by indextts/infer_v2.py):
decode to float32, mean over channels, soxr HQ to the rate, length ceil(n * ratio), then the cut.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from edgetts.audio.container import is_cut_off
from edgetts.errors import AudioError

Samples = npt.NDArray[np.float32]  # (S,)

FORMATS = ("WAV", "WAVEX", "RF64", "W64", "FLAC", "OGG", "MP3", "AIFF", "AU", "CAF")
MIN_SECONDS = 1.0  # below this the encoders see too few frames to describe a voice
MIN_SAMPLE_RATE = 4_000  # Hz; below, hardly a formant is left
MAX_SAMPLE_RATE = 768_000  # Hz; above, the header is damaged
MAX_FILE_BYTES = 2 << 30
MAX_PEAK = 16.0  # float files may pass full scale (1.0) a little; this is another unit, or noise
SILENCE_PEAK = 1e-3  # -60 dB of full scale
# Decoded beyond the cut, so that the resampler's filter sees what follows it (soxr HQ needs under 0.1 s).
MARGIN_SECONDS = 1.0
BLOCK_VALUES = 1 << 18  # samples times channels held at once while decoding
HASH_BLOCK_BYTES = 1 << 20
CONVERT_HINT = "convert it first, for example with `ffmpeg -i INPUT output.wav`"


@dataclass(frozen=True)
class Recording:
    """A usable recording: mono, at one known rate, short enough."""

    samples: Samples  # (S,) about -1..1
    sample_rate: int  # Hz
    seconds: float  # of `samples`
    notices: tuple[str, ...]  # sentences for the user about what was changed
    content_hash: str  # sha256 of the whole file, hexadecimal


def read_audio(path: str | os.PathLike[str], sample_rate: int, max_seconds: float) -> Recording:
    """Read the recording at `path` as mono samples at `sample_rate` Hz, cut at `max_seconds`.

    Raises AudioError when the file is missing, not a regular file, unreadable, empty, larger than
    MAX_FILE_BYTES, not audio, truncated within the part that is used, silent, shorter than MIN_SECONDS,
    or holds samples that are no sound (not finite, or far beyond full scale).
    """
    with _open(Path(path)) as file:
        return _read(file, os.fstat(file.fileno()).st_size, _shown(path), sample_rate, max_seconds)


def read_audio_bytes(data: bytes, sample_rate: int, max_seconds: float, name: str) -> Recording:
    """Like `read_audio`, for a file held in memory; `name` stands for it in messages."""
    return _read(io.BytesIO(data), len(data), name, sample_rate, max_seconds)


def hash_file(path: str | os.PathLike[str]) -> str:
    """The `content_hash` that `read_audio` would give, without decoding. Same errors for files that
    cannot be opened or are empty or too large."""
    with _open(Path(path)) as file:
        _check_size(os.fstat(file.fileno()).st_size, _shown(path))
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
    name = _shown(path)
    # A pipe or a device would block or never end, so nothing but a regular file is opened for reading.
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
        raise AudioError(
            f"{name} may not be read by this user; allow it, for example with `chmod +r`."
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise AudioError(f"{name} cannot be opened ({_reason(error)}); check the path.") from None


def _read(file: BinaryIO, size: int, name: str, sample_rate: int, max_seconds: float) -> Recording:
    _check_size(size, name)
    try:
        content_hash = _hash(file)
        cut_off = is_cut_off(file, size)
        samples, rate, total_frames = _decode(file, name, max_seconds, cut_off)
    except OSError as error:
        raise AudioError(f"{name} cannot be read ({_reason(error)}); check the disk.") from None
    notices = []
    n_used = int(max_seconds * rate)
    if len(samples) > n_used:
        length = f"{total_frames / rate:.1f} s long" if total_frames else f"longer than {max_seconds:g} s"
        notices.append(f"{name} is {length}; only its first {max_seconds:g} s are used.")
        if cut_off:
            notices.append(f"{name} is truncated (its end is missing), which does not touch the part used.")
    _check_sound(samples[:n_used], rate, name, is_part=len(samples) > n_used)
    samples = resample(samples, rate, sample_rate)[: int(max_seconds * sample_rate)]
    return Recording(samples, sample_rate, len(samples) / sample_rate, tuple(notices), content_hash)


def _decode(file: BinaryIO, name: str, max_seconds: float, cut_off: bool) -> tuple[Samples, int, int]:
    """Mono samples (S,) of at most max_seconds + MARGIN_SECONDS, their rate, and the frames in the file
    (0 when the file does not say)."""
    file.seek(0)
    try:
        sound = soundfile.SoundFile(_Source(file))
    except (soundfile.LibsndfileError, RuntimeError, TypeError) as error:
        if cut_off:
            raise AudioError(_truncated(name)) from None
        raise AudioError(
            f"{name} is not a recording that can be read ({_reason(error)}); "
            f"give a WAV, FLAC, OGG or MP3 file, or {CONVERT_HINT}."
        ) from None
    with sound:
        if sound.format not in FORMATS:
            raise AudioError(
                f"{name} is {sound.format} audio, which is not supported; "
                f"give a WAV, FLAC, OGG or MP3 file, or {CONVERT_HINT}."
            )
        rate, channels = int(sound.samplerate), int(sound.channels)
        if not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE or channels < 1:
            raise AudioError(
                f"{name} says it has {rate} samples a second in {channels} channels; "
                f"{MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz can be used, so {CONVERT_HINT}."
            )
        wanted = math.ceil((max_seconds + MARGIN_SECONDS) * rate)
        samples, damage = _decode_blocks(sound, wanted, max(1, BLOCK_VALUES // channels))
        # Vorbis and some MP3 files report no length, or the largest number there is.
        total = int(sound.frames) if 0 < sound.frames < MAX_FILE_BYTES * 8 else 0
    n_needed = min(wanted, math.ceil(max_seconds * rate))
    if len(samples) < n_needed:
        if cut_off or (damage is None and len(samples) < 0.99 * min(total, n_needed)):
            raise AudioError(_truncated(name, len(samples) / rate))
        if damage is not None:
            raise AudioError(
                f"{name} is damaged or truncated: only {len(samples) / rate:.1f} s of it could be decoded "
                f"({damage}); copy or export it again."
            )
        if not len(samples):
            raise AudioError(f"{name} holds no sound at all; give a recording of at least {MIN_SECONDS:g} s.")
    return samples, rate, total


def _decode_blocks(sound: Any, wanted: int, block: int) -> tuple[Samples, str | None]:
    """Mean over channels of up to `wanted` frames, and why decoding stopped early, if it did."""
    blocks: list[Samples] = []
    n_read = 0
    damage: str | None = None
    while n_read < wanted:
        try:
            frames = sound.read(min(block, wanted - n_read), dtype="float32", always_2d=True)  # (S, channels)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            damage = _reason(error)
            break
        if not len(frames):
            break
        with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinity are reported by _check_sound
            blocks.append(frames.mean(axis=1, dtype=np.float32))
        n_read += len(frames)
    return (np.concatenate(blocks) if blocks else np.zeros(0, np.float32)), damage


def _check_size(size: int, name: str) -> None:
    if size == 0:
        raise AudioError(f"{name} is an empty file; record or copy it again.")
    if size > MAX_FILE_BYTES:
        raise AudioError(
            f"{name} is {size / 2**30:.1f} GiB, more than the {MAX_FILE_BYTES >> 30} GiB that are read; "
            f"cut out a few seconds of speech, for example with `ffmpeg -i INPUT -t 15 output.wav`."
        )


def _check_sound(samples: Samples, rate: int, name: str, *, is_part: bool) -> None:
    seconds = len(samples) / rate
    if seconds < MIN_SECONDS:
        raise AudioError(
            f"{name} is too short: {seconds:.2f} s of sound, at least {MIN_SECONDS:g} s are needed "
            f"(5 to 15 s of clear speech work best)."
        )
    if not np.isfinite(samples).all():
        raise AudioError(f"{name} holds samples that are not numbers (NaN or infinity); export it again.")
    peak = float(np.abs(samples).max())
    if peak > MAX_PEAK:
        raise AudioError(
            f"{name} has samples as large as {peak:.3g} where full scale is 1; export it as 16-bit WAV."
        )
    if float(np.abs(samples - samples.mean()).max()) < SILENCE_PEAK:
        part = f"silent in its first {seconds:g} s" if is_part else "silent"
        raise AudioError(
            f"{name} is {part} (nothing above {20 * math.log10(SILENCE_PEAK):.0f} dB of full scale); "
            f"give a recording of someone speaking."
        )


def _truncated(name: str, seconds: float | None = None) -> str:
    found = "" if seconds is None else f" after {seconds:.1f} s"
    return f"{name} is truncated: it ends{found}, sooner than its own header says; copy or export it again."


def _hash(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    file.seek(0)
    while block := file.read(HASH_BLOCK_BYTES):
        digest.update(block)
    return digest.hexdigest()


def _reason(error: BaseException) -> str:
    """The innermost words of a library's error, without its prefixes and full stop."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    text = getattr(error, "error_string", None) or str(error)
    return " ".join(text.split()).rstrip(".").removeprefix("Error : ") or type(error).__name__


def _shown(path: str | os.PathLike[str]) -> str:
    """A path as it may be printed: undecodable bytes and control characters escaped."""
    text = os.fspath(path)
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class _Source:
    """What libsndfile reads from. It has no name (soundfile would guess a format from it) and never
    raises: an exception inside the decoder's callback would be printed, not passed on."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._file.read(len(buffer))
        except OSError:
            return 0
        buffer[: len(data)] = data
        return len(data)

    def read(self, size: int) -> bytes:
        return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return -1  # before the start: what a damaged header asks for

    def tell(self) -> int:
        return self._file.tell()
