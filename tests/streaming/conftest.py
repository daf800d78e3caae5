"""The mini pack, opened, and a voice of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.voices import golden_voice

from edgetts.api import TTS
from edgetts.backends.device import choose_device
from edgetts.voices.store import VoiceStore
from edgetts.voices.voice import Voice


@pytest.fixture(scope="module")
def tts(mini_pack: Path, tmp_path_factory: pytest.TempPathFactory) -> TTS:
    from edgetts.pack.load import open_pack

    return TTS(open_pack(mini_pack), choose_device("cpu"), VoiceStore.default(tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="module")
def voice(mini_pack: Path) -> Voice:
    return golden_voice(mini_pack)
