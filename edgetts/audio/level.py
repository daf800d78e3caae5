"""The level of speech in a waveform, whatever its pauses.

In: samples. Out: decibels relative to full scale. Does not know voices and targets.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

FRAME_SECONDS = 0.02
SPEECH_RANGE_DB = 25.0  # frames further below the loudest are not speech
FLOOR = 1e-6  # of amplitudes; -120 dB


def decibels(amplitude: float) -> float:
    """Level relative to full scale, at least -120 dB."""
    return 20 * math.log10(max(amplitude, FLOOR))


def frame_levels(waveform: npt.NDArray[np.floating], sample_rate: int) -> npt.NDArray[np.float64]:
    """RMS (N,), at least FLOOR, of each whole 20 ms of samples (S,)."""
    size = round(FRAME_SECONDS * sample_rate)
    n = len(waveform) // size
    frames = waveform[: n * size].astype(np.float64).reshape(n, size)
    found: npt.NDArray[np.float64] = np.maximum(np.sqrt((frames**2).mean(1)), FLOOR)
    return found


def speech_level_db(waveform: npt.NDArray[np.floating], sample_rate: int) -> float:
    """RMS of the louder frames of samples (S,), in dB relative to full scale: those within 25 dB of the loudest.

    Raises ValueError for less than one frame of 20 ms.
    """
    found = frame_levels(waveform, sample_rate)
    if not len(found):
        raise ValueError(f"{len(waveform)} samples are too few for a level")
    loud = found[found >= found.max() * 10 ** (-SPEECH_RANGE_DB / 20)]
    return decibels(float(np.sqrt((loud**2).mean())))
