"""A recording given as an array.

In: samples of any common dtype with any number of channels, and their rate. Out: a `Sound`, as decoded from a file.
Raises AudioError and UsageError for unusable arrays.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np

from edgetts.audio.decode import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE, MIN_SECONDS, Sound, mix
from edgetts.errors import AudioError, UsageError

ARRAY_NAME = "The array"  # in place of a path in messages


def sound_of_array(samples: Any, sample_rate: Any, max_seconds: float, *, keep_silent_channels: bool = True) -> Sound:
    """At most `max_seconds` of samples (S,), (S, channels) or (channels, S): the shorter axis is the channels.

    Floats are about -1 to 1; integers have the full scale of their dtype.
    """
    if isinstance(sample_rate, bool) or not isinstance(sample_rate, (int, float, np.integer, np.floating)):
        raise UsageError(f"The sample rate is {sample_rate!r}: give the rate in Hz with sample_rate=, such as 16000.")
    if not MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE or int(sample_rate) != sample_rate:
        raise UsageError(
            f"The sample rate is {sample_rate!r}; "
            f"it must be a whole number from {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE}."
        )
    rate = int(sample_rate)
    try:
        array = np.asarray(samples)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists, tensors that need gradients or a GPU
        raise UsageError(f"The samples are not an array of numbers ({error}).") from None
    if array.dtype.kind not in "fiu" or array.ndim not in (1, 2):
        raise UsageError(
            f"The samples are an array of {array.dtype} with {array.ndim} dimensions; "
            "give floats or integers of shape (S,) or (S, channels)."
        )
    if not array.size:
        raise AudioError(f"{ARRAY_NAME} has no samples; give at least {MIN_SECONDS:g} s.")
    frames = array.reshape(len(array), -1)
    if frames.shape[0] < frames.shape[1]:
        frames = frames.T
    total = len(frames) / rate
    frames = _as_float(frames[: math.ceil(max_seconds * rate)])
    mono, notices = mix(frames, ARRAY_NAME, keep_silent_channels=keep_silent_channels)
    content = hashlib.sha256(f"{rate} {frames.shape[1]}\n".encode() + np.ascontiguousarray(frames, "<f4").tobytes())
    return Sound(ARRAY_NAME, mono, rate, total, tuple(notices), content.hexdigest())


def _as_float(frames: Any) -> Any:
    """(S, C) as float32; integers are divided by the full scale of their dtype."""
    kind = frames.dtype.kind
    if kind == "f":
        with np.errstate(over="ignore"):  # too large values become infinite and are refused later
            return frames.astype(np.float32)
    full = float(2 ** (8 * frames.dtype.itemsize - 1))
    values = frames.astype(np.float64)
    return ((values - full if kind == "u" else values) / full).astype(np.float32)
