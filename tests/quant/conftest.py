"""What the tests of quantizing share: a voice that the mini pack can speak with, since it cannot enroll."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from helpers.voices import golden_voice


@pytest.fixture(scope="session")
def mini_voice(mini_pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    voice = golden_voice(mini_pack)
    voice = dataclasses.replace(voice, emotion_base=voice.emotion_base.clone())
    return voice.save(tmp_path_factory.mktemp("voices") / "golden.safetensors")
