"""What `TTS.say` gives: samples, when each piece of the text is spoken, and how it came about.

In: a stream that has ended. Out: `Audio`, which can be written to a file. Knows no networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgetts.audio import encode
from edgetts.streaming.stream import SpeechStream


@dataclass(frozen=True)
class SpokenText:
    """A piece of the text and when it is spoken."""

    text: str
    start: float  # seconds
    end: float  # seconds
    codes: tuple[int, ...]
    seed: int
    attempts: int


@dataclass(frozen=True)
class Audio:
    """Speech: `samples` (S,) mono float32 in [-1, 1] at `sample_rate` Hz, and how it came about."""

    samples: npt.NDArray[np.float32]
    sample_rate: int
    seed: int  # give it again, with the same settings, for the same audio
    segments: tuple[SpokenText, ...]
    notices: tuple[str, ...]
    compute_seconds: float  # what synthesis took, without loading and enrolment

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.sample_rate

    @property
    def rtf(self) -> float:
        """Compute time over audio time; below 1 is faster than real time."""
        return self.compute_seconds / self.seconds if len(self.samples) else float("nan")

    @classmethod
    def of(cls, stream: SpeechStream, parts: Sequence[npt.NDArray[np.float32]]) -> Audio:
        """What a stream that has ended made: `parts` are the samples of its chunks."""
        rate = stream.sample_rate
        return cls(
            samples=np.concatenate([np.zeros(0, np.float32), *parts]),
            sample_rate=rate,
            seed=stream.seed,
            segments=tuple(
                SpokenText(s.line.text, s.start / rate, s.end / rate, tuple(s.codes), s.seed, s.attempts)
                for s in stream.spoken
            ),
            notices=stream.notices,
            compute_seconds=stream.compute_seconds,
        )

    def save(self, path: str | Path, format: str | None = None) -> Path:
        """Write WAV, FLAC, OGG or MP3 by the file's ending or by `format`; whole or not at all."""
        target = Path(path)
        chosen = encode.choose_format(target, format)
        encode.write_file(target, encode.encode(self.samples, self.sample_rate, chosen))
        return target
