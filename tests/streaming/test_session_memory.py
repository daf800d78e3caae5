"""What streams keep, and when it is freed."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import pytest
from helpers.streams import QUICK, TEXT

from edgetts.api import TTS
from edgetts.decoding.prompt import GPTPrompt
from edgetts.voices.voice import Voice


def test_freed_memory_is_looked_after_at_the_end_of_each_segment(
    tts: TTS, voice: Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []
    monkeypatch.setattr(tts.engine.freed, "look", lambda: looks.append(threading.current_thread().name))
    with tts.stream(TEXT, voice, chunks=(10,), max_segment_tokens=20, **QUICK) as stream:
        chunks = list(stream)
    n_segments = chunks[-1].segment + 1
    assert len(chunks) > 2 * n_segments and looks == ["edgetts-sound"] * n_segments


def test_the_prompt_of_a_segment_is_freed_when_it_is_rendered(
    tts: TTS, voice: Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The states in it take megabytes in a large model, and a stream may speak for hours."""
    prompts: list[weakref.ref[GPTPrompt]] = []

    def followed(*call: Any) -> GPTPrompt:
        made = prompt(*call)
        prompts.append(weakref.ref(made))
        return made

    prompt = tts.pipeline.prompt
    monkeypatch.setattr(tts.pipeline, "prompt", followed)
    with tts.stream(TEXT, voice, chunks=(10,), max_segment_tokens=20, **QUICK) as stream:
        chunks = list(stream)
        gc.collect()
        assert len(prompts) == len(stream.segments) == chunks[-1].segment + 1 > 1
        assert [alive for alive in prompts if alive() is not None] == []
