"""Whether sound is plausible for its text where it is not determined to the bit: its length, and that it is not silent.

In: the sound of the same text with another seed. Out: AssertionError if another one is too short, too long or silent.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgetts.audio.formats import FULL_SCALE
from edgetts.audio.io import read_sound_bytes

LEAST, MOST, MORE_S = 0.4, 2.5, 1.0  # times the length of the other sound, and seconds more at most
MOST_FILE_S = 600.0  # read of a file
LEAST_LEVEL = 0.25  # times that of the other sound
Samples = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Plausible:
    """seconds, level (RMS): of the other sound."""

    seconds: float
    level: float

    @classmethod
    def like(cls, samples: Samples, sample_rate: int) -> Plausible:
        return cls(len(samples) / sample_rate, _level(samples))

    def check(self, samples: Samples, sample_rate: int, speed: float = 1.0) -> None:
        """Raises AssertionError."""
        seconds, level = len(samples) / sample_rate * speed, _level(samples)
        assert LEAST * self.seconds <= seconds <= MOST * self.seconds + MORE_S, (
            f"{seconds:.2f} s, not {self.seconds:.2f}"
        )
        assert level >= LEAST_LEVEL * self.level, f"level {level:.4f}, not {self.level:.4f}"


def of_pcm(data: bytes) -> Samples:
    """Samples of 16 bits."""
    return np.frombuffer(data, "<i2").astype(np.float32) / FULL_SCALE


def of_events(text: str) -> Samples:
    """The same from server-sent events."""
    events = [json.loads(line[len("data: ") :]) for line in text.splitlines() if line.startswith("data: ")]
    return of_pcm(b"".join(base64.b64decode(event["audio"]) for event in events if "audio" in event))


def of_file(data: bytes) -> tuple[Samples, int]:
    """Of a whole file in another format, and its rate. A streamed file does not say how long it is."""
    sound = read_sound_bytes(data, MOST_FILE_S, "what was heard")
    return sound.samples, sound.sample_rate


def _level(samples: Samples) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0
