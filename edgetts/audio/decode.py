"""Decodes an open WAV, FLAC, OGG or MP3 file to mono float32 samples at its own rate.

In: a binary file and the wanted length. Out: a `Sound`. All samples in the file are read, whatever its header says; a
file shorter than declared gets a notice. Less than a second of sound before damage, and files that are no recordings,
are an `AudioError`. Silence of any length, rate and number of channels fits into half a megabyte: how much is decoded
has a bound. Does not know what the samples are for.

Channels are averaged as upstream does (`librosa.load`), except where that would lose the sound.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from edgetts.audio.container import Layout, layout, next_ogg_stream
from edgetts.audio.splice import Piece, SplicedFile
from edgetts.errors import AudioError

if TYPE_CHECKING:
    from hashlib import _Hash

Samples = npt.NDArray[np.float32]  # (S,)

FORMATS = ("WAV", "WAVEX", "RF64", "W64", "FLAC", "OGG", "MP3", "AIFF", "AU", "CAF")
MIN_SECONDS = 1.0  # below this the encoders see too few frames to describe a voice
MIN_SAMPLE_RATE = 4_000  # Hz; below, almost no formant is left
MAX_SAMPLE_RATE = 768_000  # Hz; above, the header is damaged
ALWAYS_SECONDS = 16.0  # decoded if wanted, whatever that takes; what is used has 15 s
MAX_SAMPLES = 12_000_000  # else decoded of a recording: two minutes at 96 kHz, and
MAX_VALUES = 48_000_000  # samples times channels: two minutes of 8 channels at 48 kHz
MAX_FRAMES = 1 << 34  # a header that declares more is ignored
BLOCK_FRAMES = 1 << 12  # per read; a read that fails loses its whole block
BLOCK_VALUES = 1 << 18  # samples times channels per read
MPEG_COUNTED_SECONDS = 3_600.0  # frames of an MP3 file are counted up to here
DECLARED_TOLERANCE = 0.99  # of the declared length, which some writers round
SILENT_CHANNEL = 1e-4  # power relative to the loudest channel: -40 dB
CANCELLED = 0.25  # power of the average relative to that of uncorrelated channels
CONVERT_HINT = "convert it first, for example with `ffmpeg -i INPUT output.wav`"


@dataclass(frozen=True)
class Sound:
    """The decoded part of a recording, unchecked."""

    name: str  # of the recording, for messages
    samples: Samples  # (S,)
    sample_rate: int  # Hz
    total_seconds: float  # declared length of the whole recording; 0: not declared
    notices: tuple[str, ...]  # sentences for the user
    content_hash: str  # sha256, hexadecimal, of the bytes of the file that were decoded, or of the samples


@dataclass(frozen=True)
class _Opened:
    """A file that is being decoded."""

    file: BinaryIO
    size: int
    name: str
    layout: Layout
    digest: _Hash


@dataclass(frozen=True)
class _Stream:
    """Samples with one rate and one number of channels."""

    samples: Samples
    sample_rate: int
    n_channels: int
    total_frames: int  # declared; 0: not declared
    damage: str | None  # the decoder's error, if it failed
    is_ogg: bool
    power: npt.NDArray[np.float64]  # (C,) mean square of each channel


def decode(file: BinaryIO, size: int, name: str, wanted_seconds: float, *, keep_silent_channels: bool) -> Sound:
    """The first `wanted_seconds` of a recording, or all of it; fewer at high rates and of many channels (`_n_wanted`).

    name: for messages. keep_silent_channels: include silent channels in the average, as upstream does.
    """
    opened = _Opened(file, size, name, layout(file, size, max(wanted_seconds, MPEG_COUNTED_SECONDS)), hashlib.sha256())
    content = opened.layout
    notices: list[str] = []
    first = _decode_channels(opened, content.pieces, wanted_seconds, notices, keep_silent_channels)
    rate, parts, damage = first.sample_rate, [first.samples], first.damage
    wanted, start = _n_wanted(wanted_seconds, rate, first.n_channels), 0
    while first.is_ogg and damage is None and sum(map(len, parts)) < wanted:
        found = next_ogg_stream(file, start, size)
        if found is None:
            break
        start = found
        seconds = wanted_seconds - sum(map(len, parts)) / rate
        try:
            more = _decode_channels(opened, (range(start, size),), seconds, [], keep_silent_channels)
        except AudioError as error:
            notices.append(f"{name} holds several chained recordings, and not all of them can be read: {error}")
            break
        parts.append(_at_rate(more.samples, more.sample_rate, rate))
        damage = more.damage
    samples = np.concatenate(parts)[:wanted]
    total = content.declared_frames or (0 if start else first.total_frames)
    total = total if total < MAX_FRAMES else 0
    if len(samples) < wanted:
        declared = total if content.trusts_decoder else content.declared_frames
        notices += _short_notices(name, len(samples) / rate, declared / rate, damage, content)
        total = max(total, len(samples))
    elif content.is_truncated:
        notices.append(f"{name} is truncated (its end is missing); the part used is complete.")
    return Sound(name, samples, rate, total / rate, tuple(notices), opened.digest.hexdigest())


def _short_notices(name: str, seconds: float, declared: float, damage: str | None, content: Layout) -> list[str]:
    """Notices for a recording that ended before the wanted length. Raises AudioError if too little was decoded.

    seconds: decoded. declared: length in seconds that the header declares, or 0.
    """
    if seconds < MIN_SECONDS and (damage or content.is_truncated or seconds < DECLARED_TOLERANCE * declared):
        if damage is not None:
            raise AudioError(
                f"{name} is damaged or truncated: only {seconds:.1f} s of it could be decoded ({damage}); "
                "copy or export it again."
            )
        raise AudioError(_truncated(name, seconds))
    if not seconds:
        raise AudioError(f"{name} has no samples; give a recording of at least {MIN_SECONDS:g} s.")
    if content.is_unfinished:
        return [f"{name} has an unfinished header; the {seconds:.1f} s of sound after it are used."]
    if damage is not None:
        return [f"{name} is damaged or truncated after {seconds:.1f} s ({damage}); the sound before that is used."]
    if content.is_truncated or (seconds < DECLARED_TOLERANCE * declared):
        return [
            f"{name} is truncated: it ends after {seconds:.1f} s, earlier than its header declares; "
            "the sound before that is used."
        ]
    return []


def _truncated(name: str, seconds: float | None = None) -> str:
    found = "" if seconds is None else f" after {seconds:.1f} s"
    return f"{name} is truncated: it ends{found}, earlier than its header declares; copy or export it again."


# --- channels --------------------------------------------------------------------------------------------


def _decode_channels(
    opened: _Opened, pieces: Sequence[Piece], seconds: float, notices: list[str], keep_silent: bool
) -> _Stream:
    """One stream; decoded again without silent channels, or with one channel if the average cancels the sound."""
    stream = _decode_stream(opened, pieces, seconds, None)
    power = stream.power
    used, added = _sounding_channels(power, opened.name, keep_silent)
    notices += added
    if len(used) < stream.n_channels:
        stream = _decode_stream(opened, pieces, seconds, used)
    loudest, added = _cancellation(power, used, stream.samples, opened.name)
    notices += added
    return stream if loudest is None else _decode_stream(opened, pieces, seconds, [loudest])


def mix(frames: npt.NDArray[np.float32], name: str, *, keep_silent_channels: bool) -> tuple[Samples, list[str]]:
    """Frames (S, C) as one channel (S,), mixed as for a file, and notices."""
    with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinity are reported later (`io.check_sound`)
        power = np.square(frames, dtype=np.float64).mean(axis=0)
        used, notices = _sounding_channels(power, name, keep_silent_channels)
        mono: Samples = frames[:, used].mean(axis=1, dtype=np.float32)
        loudest, added = _cancellation(power, used, mono, name)
    return (mono if loudest is None else frames[:, loudest]), notices + added


def _sounding_channels(power: npt.NDArray[np.float64], name: str, keep_silent: bool) -> tuple[list[int], list[str]]:
    """Channels to average, from the power (C,) of each, and a notice if some are left out."""
    everything = list(range(len(power)))
    if keep_silent or len(power) == 1 or not np.isfinite(power).all() or not power.any():
        return everything, []
    sounding: list[int] = np.flatnonzero(power > SILENT_CHANNEL * power.max()).tolist()
    if len(sounding) == len(power):
        return everything, []
    return sounding, [f"{name} has sound in {_listed(sounding)} of {len(power)} only; the silent ones are not used."]


def _cancellation(
    power: npt.NDArray[np.float64], used: list[int], average: Samples, name: str
) -> tuple[int | None, list[str]]:
    """The loudest channel and a notice if averaging those used cancels the sound; else None."""
    if len(used) == 1 or not len(average) or not np.isfinite(power).all():
        return None, []
    expected = float(power[used].sum()) / len(used) ** 2  # of the average of uncorrelated channels
    if float(np.square(average, dtype=np.float64).mean()) >= CANCELLED * expected:
        return None, []
    loudest = int(power.argmax())
    return loudest, [
        f"{name} has channels that cancel each other out (one has inverted polarity); only channel {loudest + 1} is "
        "used."
    ]


def _listed(channels: Sequence[int]) -> str:
    numbers = ", ".join(str(c + 1) for c in channels)
    return f"channel {numbers}" if len(channels) == 1 else f"channels {numbers}"


# --- libsndfile ------------------------------------------------------------------------------------------


class _ForwardFile(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A file that is only read forward. soundfile stops reading a seekable file at its declared length, and seeks
    after each block, which fails at the end of some files."""

    def seekable(self) -> bool:
        return False


def _decode_stream(opened: _Opened, pieces: Sequence[Piece], seconds: float, channels: list[int] | None) -> _Stream:
    """Average of `channels` (None: all) over at most `seconds`."""
    name = opened.name
    try:
        sound = _ForwardFile(SplicedFile(opened.file, pieces, opened.digest))
    except (soundfile.LibsndfileError, RuntimeError, TypeError) as error:
        if opened.layout.is_truncated:
            raise AudioError(_truncated(name)) from None
        raise AudioError(
            f"{name} is not a recording that can be read ({reason(error)}); "
            f"give a WAV, FLAC, OGG or MP3 file, or {CONVERT_HINT}."
        ) from None
    with sound:
        if sound.format not in FORMATS:
            raise AudioError(
                f"{name} is {sound.format} audio, which is not supported; "
                f"give a WAV, FLAC, OGG or MP3 file, or {CONVERT_HINT}."
            )
        rate, n_channels = int(sound.samplerate), int(sound.channels)
        if not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE or n_channels < 1:
            raise AudioError(
                f"{name} has {n_channels} channels at {rate} Hz by its header; allowed are 1 or more channels at "
                f"{MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz: {CONVERT_HINT}."
            )
        blocks: list[Samples] = []
        squares, n_read, damage = np.zeros(n_channels), 0, None
        for frames in _blocks(sound, _n_wanted(seconds, rate, n_channels)):
            if isinstance(frames, str):
                damage = frames
                break
            with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinity are reported later
                used = frames if channels is None else frames[:, channels]
                blocks.append(used.mean(axis=1, dtype=np.float32))
                squares += np.square(frames, dtype=np.float64).sum(axis=0)
            n_read += len(frames)
        samples = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
        total = int(sound.frames) if 0 < sound.frames < MAX_FRAMES else 0
        return _Stream(samples, rate, n_channels, total, damage, sound.format == "OGG", squares / max(n_read, 1))


def _n_wanted(seconds: float, rate: int, n_channels: int) -> int:
    """Frames to decode."""
    most = max(math.ceil(ALWAYS_SECONDS * rate), min(MAX_SAMPLES, MAX_VALUES // n_channels))
    return min(math.ceil(seconds * rate), most)


def _blocks(sound: soundfile.SoundFile, wanted: int) -> Iterator[npt.NDArray[np.float32] | str]:
    """Up to `wanted` frames (S, C) in blocks; if decoding fails, the error text as the last item."""
    block = max(1, min(BLOCK_FRAMES, BLOCK_VALUES // sound.channels))
    while wanted > 0:
        try:
            frames = sound.read(min(block, wanted), dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            yield reason(error)
            return
        if not len(frames):
            return
        yield frames
        wanted -= len(frames)


def _at_rate(samples: Samples, from_rate: int, to_rate: int) -> Samples:
    if from_rate == to_rate:
        return samples
    return np.asarray(soxr.resample(samples, from_rate, to_rate, quality="HQ"), np.float32)


def reason(error: BaseException) -> str:
    """The text of a library's error on one line, without prefix and full stop."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    text = getattr(error, "error_string", None) or str(error)
    return " ".join(text.split()).rstrip(".").removeprefix("Error : ") or type(error).__name__
