"""Recordings made in memory."""

from __future__ import annotations

import io
import re

import numpy as np
import soundfile

from edgetts.errors import AudioError

RATE = 22_050


def tone(seconds: float, rate: int = RATE, channels: int = 1) -> np.ndarray:
    """(S, channels): a different pitch per channel."""
    t = np.arange(int(seconds * rate)) / rate
    pitches = 2 * np.pi * 220 * np.arange(1, channels + 1)
    return (0.3 * np.sin(t[:, None] * pitches)).astype(np.float32)


def encoded(samples: np.ndarray, rate: int = RATE, format: str = "WAV", subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=format, subtype=subtype)
    return buffer.getvalue()


def assert_one_sentence(error: AudioError) -> None:
    message = str(error)
    assert "\n" not in message
    assert message.endswith(".")
    assert not re.search(r"0x[0-9a-f]{6}|Traceback|BytesIO|_Source", message)
