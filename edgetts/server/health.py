"""A short synthesis that shows whether a model speaks. Needs nothing but the API, for `edgetts doctor`, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgetts.api import TTS

_TEXT = "Yes."
_PROMPT_S = 1.0
_OPTIONS = {"n_beams": 1, "n_steps": 1, "guards": False, "max_codes": 8, "seed": 0}


def speak_briefly(tts: TTS) -> None:
    """Synthesize a word through every stage. Raises its errors."""
    from edgetts.bench.stages import voice_of_length
    from edgetts.request import WHOLE, SpeechRequest

    voice = voice_of_length(tts.pack, _PROMPT_S)
    with tts.start(SpeechRequest(text=_TEXT, voice=voice, options=_OPTIONS, chunks=WHOLE)) as stream:
        for _ in stream:
            pass
