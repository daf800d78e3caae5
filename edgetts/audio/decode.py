"""Decoding: an open WAV, FLAC, OGG or MP3 file becomes mono float32 samples at its own rate.

In: a binary file and how much of it is wanted. Out: a `Sound`. As much is read as there is, whatever the header
says: what is missing of what it promised is a notice. Damage before the first second of sound, and what is no
recording, are an `AudioError`. Does not know what the samples are for.

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
MIN_SAMPLE_RATE = 4_000  # Hz; below, hardly a formant is left
MAX_SAMPLE_RATE = 768_000  # Hz; above, the header is damaged
MAX_FRAMES = 1 << 34  # a header that says more says nothing
BLOCK_FRAMES = 1 << 12  # decoded at once: what is lost where a decoder gives up inside
BLOCK_VALUES = 1 << 18  # samples times channels at once
COUNTED_SECONDS = 3_600.0  # so far are the frames of an MP3 file counted
PROMISE_SLACK = 0.99  # of what a header promises; rounded by some writers
SILENT_CHANNEL = 1e-4  # power beside the loudest channel's: 40 dB below it
CANCELLED = 0.25  # power of the average beside that of channels which have nothing in common
CONVERT_HINT = "convert it first, for example with `ffmpeg -i INPUT output.wav`"


@dataclass(frozen=True)
class Sound:
    """What was decoded of a recording, before anything is judged about it."""

    name: str  # of the recording, for messages
    samples: Samples  # (S,)
    sample_rate: int  # Hz
    total_seconds: float  # of the whole recording by its own account; 0 when it does not say
    notices: tuple[str, ...]  # sentences for the user
    content_hash: str  # sha256, hexadecimal, of what was read of the file to decode it, or of the samples


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
    """One run of samples with one rate and one number of channels."""

    samples: Samples
    sample_rate: int
    n_channels: int
    total_frames: int  # 0 when it does not say
    damage: str | None  # why decoding ended early, if it did
    is_ogg: bool
    power: npt.NDArray[np.float64]  # (C,) mean square of each channel


def decode(file: BinaryIO, size: int, name: str, wanted_seconds: float, *, keep_silent_channels: bool) -> Sound:
    """The first `wanted_seconds` of the recording called `name`, or all there is.

    keep_silent_channels: average over channels without sound, too, as upstream does.
    """
    opened = _Opened(file, size, name, layout(file, size, max(wanted_seconds, COUNTED_SECONDS)), hashlib.sha256())
    content = opened.layout
    notices: list[str] = []
    first = _decode_channels(opened, content.pieces, wanted_seconds, notices, keep_silent_channels)
    rate, parts, damage = first.sample_rate, [first.samples], first.damage
    wanted, start = math.ceil(wanted_seconds * rate), 0
    while first.is_ogg and damage is None and sum(map(len, parts)) < wanted:
        found = next_ogg_stream(file, start, size)
        if found is None:
            break
        start = found
        seconds = wanted_seconds - sum(map(len, parts)) / rate
        try:
            more = _decode_channels(opened, (range(start, size),), seconds, [], keep_silent_channels)
        except AudioError as error:
            notices.append(f"Of several recordings joined in {name} not all can be read: {error}")
            break
        parts.append(_at_rate(more.samples, more.sample_rate, rate))
        damage = more.damage
    samples = np.concatenate(parts)[:wanted]
    total = content.promised_frames or (0 if start else first.total_frames)
    total = total if total < MAX_FRAMES else 0
    if len(samples) < wanted:
        promised = total if content.decoder_knows else content.promised_frames
        notices += _ends_early(name, len(samples) / rate, promised / rate, damage, content)
        total = max(total, len(samples))
    elif content.is_cut_off:
        notices.append(f"{name} is truncated (its end is missing), which does not touch the part used.")
    return Sound(name, samples, rate, total / rate, tuple(notices), opened.digest.hexdigest())


def _ends_early(name: str, seconds: float, promised: float, damage: str | None, content: Layout) -> list[str]:
    """What to say of a recording that ends before as much is decoded as is wanted. Raises where little is left."""
    if seconds < MIN_SECONDS and (damage or content.is_cut_off or seconds < PROMISE_SLACK * promised):
        if damage is not None:
            raise AudioError(
                f"{name} is damaged or truncated: only {seconds:.1f} s of it could be decoded ({damage}); "
                "copy or export it again."
            )
        raise AudioError(_truncated(name, seconds))
    if not seconds:
        raise AudioError(f"{name} holds no sound at all; give a recording of at least {MIN_SECONDS:g} s.")
    if content.is_unfinished:
        return [f"The header of {name} was never finished; its {seconds:.1f} s of sound are read all the same."]
    if damage is not None:
        return [f"{name} is damaged or truncated after {seconds:.1f} s ({damage}); what is before that is used."]
    if content.is_cut_off or (seconds < PROMISE_SLACK * promised):
        return [
            f"{name} is truncated: it ends after {seconds:.1f} s, sooner than its own header says; "
            "what is there is used."
        ]
    return []


def _truncated(name: str, seconds: float | None = None) -> str:
    found = "" if seconds is None else f" after {seconds:.1f} s"
    return f"{name} is truncated: it ends{found}, sooner than its own header says; copy or export it again."


# --- channels --------------------------------------------------------------------------------------------


def _decode_channels(
    opened: _Opened, pieces: Sequence[Piece], seconds: float, notices: list[str], keep_silent: bool
) -> _Stream:
    """One stream, decoded again where the average of its channels would not be what was recorded."""
    stream = _decode_stream(opened, pieces, seconds, None)
    power = stream.power
    used, told = _heard_channels(power, opened.name, keep_silent)
    notices += told
    if len(used) < stream.n_channels:
        stream = _decode_stream(opened, pieces, seconds, used)
    loudest, told = _cancelled(power, used, stream.samples, opened.name)
    notices += told
    return stream if loudest is None else _decode_stream(opened, pieces, seconds, [loudest])


def mix(frames: npt.NDArray[np.float32], name: str, *, keep_silent_channels: bool) -> tuple[Samples, list[str]]:
    """Frames (S, C) as one channel (S,), chosen as for a file, and what to say about that."""
    with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinity are reported by whoever judges the samples
        power = np.square(frames, dtype=np.float64).mean(axis=0)
        used, notices = _heard_channels(power, name, keep_silent_channels)
        mono: Samples = frames[:, used].mean(axis=1, dtype=np.float32)
        loudest, told = _cancelled(power, used, mono, name)
    return (mono if loudest is None else frames[:, loudest]), notices + told


def _heard_channels(power: npt.NDArray[np.float64], name: str, keep_silent: bool) -> tuple[list[int], list[str]]:
    """Channels to average, from the power (C,) of each, and a sentence where these are not all."""
    everything = list(range(len(power)))
    if keep_silent or len(power) == 1 or not np.isfinite(power).all() or not power.any():
        return everything, []
    sounding: list[int] = np.flatnonzero(power > SILENT_CHANNEL * power.max()).tolist()
    if len(sounding) == len(power):
        return everything, []
    heard = f"Of the {len(power)} channels of {name} only {_listed(sounding)} can be heard"
    return sounding, [f"{heard}; the silent ones are left out."]


def _cancelled(
    power: npt.NDArray[np.float64], used: list[int], average: Samples, name: str
) -> tuple[int | None, list[str]]:
    """The loudest channel, and a sentence, where the average of those used has lost the sound; else None."""
    if len(used) == 1 or not len(average) or not np.isfinite(power).all():
        return None, []
    expected = float(power[used].sum()) / len(used) ** 2  # of the average of channels with nothing in common
    if float(np.square(average, dtype=np.float64).mean()) >= CANCELLED * expected:
        return None, []
    loudest = int(power.argmax())
    return loudest, [
        f"The channels of {name} cancel each other out (one is turned upside down); only channel {loudest + 1} is used."
    ]


def _listed(channels: Sequence[int]) -> str:
    numbers = ", ".join(str(c + 1) for c in channels)
    return f"channel {numbers}" if len(channels) == 1 else f"channels {numbers}"


# --- libsndfile ------------------------------------------------------------------------------------------


class _Onward(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A file read from its beginning on. soundfile reads no more of a seekable file than its header says, and seeks
    after each block, which fails at the end of some."""

    def seekable(self) -> bool:
        return False


def _decode_stream(opened: _Opened, pieces: Sequence[Piece], seconds: float, channels: list[int] | None) -> _Stream:
    """Average of the channels, or of those named, of at most so many seconds."""
    name = opened.name
    try:
        sound = _Onward(SplicedFile(opened.file, pieces, opened.digest))
    except (soundfile.LibsndfileError, RuntimeError, TypeError) as error:
        if opened.layout.is_cut_off:
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
                f"{name} says it has {rate} samples a second in {n_channels} channels; "
                f"{MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz can be used, so {CONVERT_HINT}."
            )
        blocks: list[Samples] = []
        squares, n_read, damage = np.zeros(n_channels), 0, None
        for frames in _blocks(sound, math.ceil(seconds * rate)):
            if isinstance(frames, str):
                damage = frames
                break
            with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinity are reported when all is read
                used = frames if channels is None else frames[:, channels]
                blocks.append(used.mean(axis=1, dtype=np.float32))
                squares += np.square(frames, dtype=np.float64).sum(axis=0)
            n_read += len(frames)
        samples = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
        total = int(sound.frames) if 0 < sound.frames < MAX_FRAMES else 0
        return _Stream(samples, rate, n_channels, total, damage, sound.format == "OGG", squares / max(n_read, 1))


def _blocks(sound: soundfile.SoundFile, wanted: int) -> Iterator[npt.NDArray[np.float32] | str]:
    """Up to `wanted` frames (S, C) in blocks; at last, what is wrong where decoding fails."""
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
    """The innermost words of a library's error, without its prefixes and full stop."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    text = getattr(error, "error_string", None) or str(error)
    return " ".join(text.split()).rstrip(".").removeprefix("Error : ") or type(error).__name__
