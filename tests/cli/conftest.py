"""A home folder of its own for every command-line test, and a voice that fits the mini pack.

The mini checkpoint's semantic encoder is narrower than what follows it, so no recording can be enrolled
with it: the voice is made of random numbers in the right shapes, and stands in for enrollment too.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.command import Edgetts, run_edgetts

from edgetts.pack.manifest import read_manifest
from edgetts.voices.voice import Voice

_RECIPE = """
format = 1
name = "quick"
description = "Of the tests: rounded"

[components]
{components}

[budget]
run_mb = 200
pack_mb = 400
"""
_COMPONENTS = (
    "s2mel",
    "codec_decoder",
    "vocoder",
    "semantic_encoder",
    "codec_encoder",
    "conditioning",
    "speaker_encoder",
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    for name in ("EDGETTS_PACK", "EDGETTS_VOICE", "EDGETTS_DEVICE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EDGETTS_HOME", str(folder))
    return folder


@pytest.fixture
def edgetts(home: Path) -> Edgetts:
    """Runs `edgetts ARGUMENTS` in this process."""
    return run_edgetts


@pytest.fixture
def mini_voice(mini_pack: Path) -> Voice:
    manifest = read_manifest(mini_pack)
    model = manifest.model
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    return Voice(
        conditioning_latents=normal(1, model.gpt.n_conditioning_latents, model.gpt.model_dim),
        emotion_vector=normal(1, model.gpt.model_dim),
        emotion_base=normal(1, model.gpt.model_dim),
        style=normal(1, model.speaker_encoder.embedding_size),
        reference_codes=torch.arange(25).unsqueeze(0) % model.semantic_codec.codebook_size,
        reference_mel=normal(1, model.audio.n_mels, 43) - 5,
        encoder_id=manifest.encoder_id,
        seconds=0.5,
        name="mini",
        notices=(),
    )


@pytest.fixture
def voice_file(mini_voice: Voice, tmp_path: Path) -> Path:
    return mini_voice.save(tmp_path / "mini.safetensors")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Rounds the GPT to int4: done in a second."""
    path = tmp_path / "quick.toml"
    rule = 'rules = [{ pattern = "gpt.h.*.weight", scheme = "int4_group", group_size = 32 }]'
    tables = [
        f'[components.gpt]\ndtype = "float16"\n{rule}',
        *(f'[components.{c}]\ndtype = "float16"' for c in _COMPONENTS),
    ]
    path.write_text(_RECIPE.replace("[components]\n{components}", "\n".join(tables)))
    return path
