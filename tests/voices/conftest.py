"""A store of voices in a folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgetts.voices.store import VoiceStore


@pytest.fixture
def store(tmp_path: Path) -> VoiceStore:
    return VoiceStore.default(tmp_path / "home")
