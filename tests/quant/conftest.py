"""What the tests of the offline pass share: checkpoints, packs and a hub that they may change, and a voice."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_hub import FakeHub, serve, small_repositories
from helpers.paths import DATA
from helpers.trees import copy_tree
from helpers.voices import golden_voice

from edgetts.pack.entries import MANIFEST_FILE, READY_VOICES, FileEntry
from edgetts.pack.manifest import manifest_json, read_manifest


@pytest.fixture(scope="session")
def mini_voice(mini_pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That the mini pack can speak with, since it cannot enroll."""
    voice = golden_voice(mini_pack)
    voice = dataclasses.replace(voice, emotion_base=voice.emotion_base.clone())
    return voice.save(tmp_path_factory.mktemp("voices") / "golden.safetensors")


@pytest.fixture
def checkpoint(mini_checkpoint: Path, tmp_path: Path) -> Path:
    return copy_tree(mini_checkpoint, tmp_path / "checkpoint")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    from edgetts.quant import hub as hub_module

    monkeypatch.setattr(hub_module, "RETRY_WAIT_S", 0.0)
    with serve(FakeHub(small_repositories(DATA / "config" / "mini"))) as running:
        yield running


@pytest.fixture
def small(mini_pack: Path) -> Callable[[Path], Path]:
    """Makes what counts as a pack: its manifest, and a few bytes under each name in it."""

    def make(folder: Path) -> Path:
        manifest = read_manifest(mini_pack)
        names = (*manifest.files, f"{READY_VOICES}anna.safetensors")
        files = dict.fromkeys(names, FileEntry(1, hashlib.sha256(b"x").hexdigest()))
        (folder / READY_VOICES).mkdir(parents=True)
        for name in files:
            (folder / name).write_bytes(b"x")
        (folder / MANIFEST_FILE).write_text(manifest_json(dataclasses.replace(manifest, files=files)))
        return folder

    return make


@pytest.fixture(params=("huggingface", "modelscope"))
def source(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Makes the hub at an address, as whom it speaks."""
    from helpers.downloads import SOURCES, TOKEN

    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return SOURCES[request.param]
