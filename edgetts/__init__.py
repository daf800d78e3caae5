"""edgetts: IndexTTS-2.5 and IndexTTS-2 on small machines. Start with `TTS.load()`.

Importing this package is instant and does not import torch: the names below are imported on first use.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from edgetts.errors import EdgeTTSError

if TYPE_CHECKING:
    from edgetts.api import TTS, Audio, AudioChunk
    from edgetts.options import SynthesisOptions
    from edgetts.request import SpeechRequest
    from edgetts.voices.emotion import Emotion
    from edgetts.voices.voice import Voice

__version__ = "0.1.0"
__all__ = [
    "TTS",
    "Audio",
    "AudioChunk",
    "EdgeTTSError",
    "Emotion",
    "SpeechRequest",
    "SynthesisOptions",
    "Voice",
    "__version__",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())  # silent by default

_HOMES = {
    "TTS": "edgetts.api",
    "Audio": "edgetts.api",
    "AudioChunk": "edgetts.api",
    "Emotion": "edgetts.voices.emotion",
    "SpeechRequest": "edgetts.request",
    "SynthesisOptions": "edgetts.options",
    "Voice": "edgetts.voices.voice",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgetts' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    # For completion in a shell: names are missing in globals() before their first use.
    return sorted({*globals(), *__all__})
