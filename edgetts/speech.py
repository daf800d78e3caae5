"""Results of synthesis: samples, times of the segments, seed, notices, compute time.

In: a stream that has ended. Out: `Audio`, which can be written to a file, or `Speech`, without samples. Does not know
networks.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from edgetts.audio import formats, writer
from edgetts.errors import UsageError

if TYPE_CHECKING:
    from edgetts.streaming.stream import SpeechStream

BINARY_FORMAT = "wav"  # default for a file object, which has no extension
# What a notebook stores for one sound. 16-bit samples at 22 050 Hz reach it after 95 s, and are MP3 from there on.
MAX_PLAYER_BYTES = 4 << 20


@dataclass(frozen=True)
class SpokenSegment:
    """A segment of the text and the time of its speech."""

    text: str  # as written
    spoken: str  # as given to the model, such as numbers in words
    start: float  # seconds
    end: float  # seconds
    codes: tuple[int, ...] = field(repr=False)
    seed: int
    attempts: int


def segments_of(stream: SpeechStream) -> tuple[SpokenSegment, ...]:
    """The segments that a stream has spoken."""
    rate = stream.sample_rate
    return tuple(
        SpokenSegment(
            # A number may need several segments: the first has its written form, the others their spoken words.
            *(s.queued.written or s.queued.text, s.queued.text, s.start / rate, s.end / rate),
            *(tuple(s.codes), s.seed, s.attempts),
        )
        for s in stream.segments
    )


@dataclass(frozen=True)
class Speech:
    """The report of a stream whose samples were output elsewhere."""

    n_samples: int
    sample_rate: int
    seed: int
    segments: tuple[SpokenSegment, ...] = field(repr=False)
    notices: tuple[str, ...]
    compute_seconds: float

    @property
    def seconds(self) -> float:
        return self.n_samples / self.sample_rate

    @property
    def rtf(self) -> float:
        """Compute time over audio time; below 1 is faster than real time."""
        return self.compute_seconds / self.seconds if self.n_samples else float("nan")

    @classmethod
    def of(cls, stream: SpeechStream, n_samples: int) -> Speech:
        """From a stream that has ended."""
        return cls(
            n_samples=n_samples,
            sample_rate=stream.sample_rate,
            seed=stream.seed,
            segments=segments_of(stream),
            notices=stream.notices,
            compute_seconds=stream.compute_seconds,
        )


@dataclass(frozen=True, eq=False, repr=False)
class Audio:
    """Speech: `samples` (S,) mono float32 in [-1, 1] at `sample_rate` Hz, and its report.

    Two are equal if samples and rate are equal. `len` counts samples, and `numpy.asarray` returns them. A notebook
    shows a player.
    """

    samples: npt.NDArray[np.float32]
    sample_rate: int
    seed: int  # reproduces the audio, given the same settings
    segments: tuple[SpokenSegment, ...]
    notices: tuple[str, ...]
    compute_seconds: float  # time of synthesis, without loading and enrollment

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.sample_rate

    @property
    def rtf(self) -> float:
        """Compute time over audio time; below 1 is faster than real time."""
        return self.compute_seconds / self.seconds if len(self.samples) else float("nan")

    @classmethod
    def of(cls, stream: SpeechStream, parts: Sequence[npt.NDArray[np.float32]]) -> Audio:
        """From a stream that has ended. parts: the samples of its chunks."""
        return cls(
            samples=np.concatenate([np.zeros(0, np.float32), *parts]),
            sample_rate=stream.sample_rate,
            seed=stream.seed,
            segments=segments_of(stream),
            notices=stream.notices,
            compute_seconds=stream.compute_seconds,
        )

    def save(self, target: str | Path | BinaryIO, format: str | None = None) -> Path | None:
        """Write WAV, FLAC, OGG, Opus, MP3 or PCM. A file at a path is replaced atomically.

        target: a path or a binary file object, such as `io.BytesIO`. format: default by the path's extension, WAV for
        a file object. Returns the path; None for a file object. Raises UsageError.
        """
        if hasattr(target, "write"):
            chosen = formats.choose_format(None, format or BINARY_FORMAT)
            target.write(writer.encode(self.samples, self.sample_rate, chosen))
            return None
        if not isinstance(target, (str, os.PathLike)):
            raise UsageError(f"The target is of type {type(target).__name__}; give a path, or a binary file object.")
        path = Path(target)
        with writer.sound_file(path, self.sample_rate, formats.choose_format(path, format)) as file:
            file.write(self.samples)
        return path

    def play(self, device: str | None = None) -> None:
        """Play the audio and return when it has ended; needs the extra `play`.

        device: part of an output device's name; None: the system's default. Ctrl-C stops playback at once. Raises
        UsageError or AudioError if no device can play it.
        """
        from edgetts.audio.playback.portaudio import PortAudioSink

        with PortAudioSink(device) as sink:
            sink.open(self.sample_rate)
            try:
                sink.write(self.samples)
                sink.drain()
            except BaseException:
                sink.abort()
                raise

    def __len__(self) -> int:
        return len(self.samples)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        if copy:
            return np.array(self.samples, dtype=dtype)
        converted = np.asarray(self.samples, dtype=dtype)
        if copy is False and converted is not self.samples:
            raise ValueError(f"samples are {self.samples.dtype}: a conversion to {np.dtype(dtype)} needs a copy")
        return converted

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Audio):
            return NotImplemented
        return self.sample_rate == other.sample_rate and np.array_equal(self.samples, other.samples)

    def __hash__(self) -> int:
        return hash((self.sample_rate, len(self.samples)))

    def __repr__(self) -> str:
        counted = f"{len(self.segments)} segment{'' if len(self.segments) == 1 else 's'}"
        notices = f", {len(self.notices)} notices" if self.notices else ""
        return f"Audio({self.seconds:.2f} s at {self.sample_rate} Hz, {counted}, seed={self.seed}{notices})"

    def _repr_html_(self) -> str:
        """A player, for notebooks: WAV, or MP3 where that would be more than `MAX_PLAYER_BYTES`.

        Speech that is too long for MP3, too, is cut there, and a line below the player says so.
        """
        kind, (data, n_played) = "audio/wav", self._within(MAX_PLAYER_BYTES, "wav")
        if n_played < len(self.samples):
            kind, (data, n_played) = "audio/mpeg", self._within(MAX_PLAYER_BYTES, "mp3")
        player = f'<audio controls src="data:{kind};base64,{base64.b64encode(data).decode("ascii")}"></audio>'
        if n_played == len(self.samples):
            return player
        played = n_played / self.sample_rate
        return f"{player}<p>The first {played:.0f} of {self.seconds:.0f} s; <code>save()</code> writes all of it.</p>"

    def _within(self, max_bytes: int, name: str) -> tuple[bytes, int]:
        """The beginning of the audio as a file of at most about `max_bytes`, and how many samples it has."""
        buffer, block = io.BytesIO(), formats.ENCODE_BLOCK_SAMPLES
        n_samples = 0
        with writer.SoundWriter(buffer, self.sample_rate, formats.choose_format(None, name)) as file:
            while n_samples < len(self.samples) and buffer.tell() < max_bytes:
                file.write(self.samples[n_samples : n_samples + block])
                n_samples = min(n_samples + block, len(self.samples))
        return buffer.getvalue(), n_samples
