"""The speaker encoder against upstream's style vector, at other sizes, and its published parameters."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from helpers.checkpoint import component_tensors
from helpers.folding import check_layout, fill
from helpers.paths import DATA, GOLDEN, SHARED
from safetensors.torch import load_file

from edgetts.models.campplus import EXPECTED_EXTRAS, SpeakerEncoder
from edgetts.pack.config import SpeakerEncoderConfig

PUBLISHED = SpeakerEncoderConfig(
    n_mels=80,
    embedding_size=192,
    front_channels=32,
    init_channels=128,
    growth_rate=32,
    bottleneck_factor=4,
    block_layers=(12, 24, 16),
    block_kernel_sizes=(3, 3, 3),
    block_dilations=(1, 2, 2),
)
TINY = dataclasses.replace(
    PUBLISHED,
    embedding_size=24,
    front_channels=8,
    init_channels=16,
    growth_rate=8,
    block_layers=(2, 3),
    block_kernel_sizes=(3, 5),
    block_dilations=(1, 2),
)
TOLERANCE = 1e-4  # of the golden's standard deviation


def test_style_is_upstreams() -> None:
    with torch.device("meta"):
        encoder = SpeakerEncoder(PUBLISHED)
    fill(encoder, component_tensors("campplus"), EXPECTED_EXTRAS)
    golden = load_file(GOLDEN / "speaker_encoder.safetensors")
    with torch.no_grad():
        style = encoder.eval()(golden["fbank"][None])
    assert (style - golden["style"]).abs().max() < TOLERANCE * golden["style"].std()


@pytest.mark.parametrize("n_frames", [3, 199, 200, 201, 430])
def test_any_size_and_length(n_frames: int) -> None:
    encoder = SpeakerEncoder(TINY).eval()
    with torch.no_grad():
        style = encoder(torch.randn(2, n_frames, TINY.n_mels))
    assert style.shape == (2, TINY.embedding_size)
    assert style.isfinite().all()


def test_gradients_reach_every_parameter() -> None:
    encoder = SpeakerEncoder(TINY).train()
    encoder(torch.randn(4, 30, TINY.n_mels)).square().sum().backward()
    assert [n for n, p in encoder.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("size", ["mini", "full"])
def test_parameters_are_the_published_ones(size: str) -> None:
    folder = DATA / "manifest"
    if size == "full":
        if SHARED is None:
            pytest.skip("the full-size reference manifests are not here")
        folder = SHARED / "reference" / "manifest"
    published = json.loads((folder / f"{size}-campplus.json").read_text())
    with torch.device("meta"):
        check_layout(SpeakerEncoder(PUBLISHED), published, EXPECTED_EXTRAS)
