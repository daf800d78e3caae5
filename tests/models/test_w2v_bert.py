"""The semantic encoder against upstream's hidden state 17, its padding masks and its full size."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from helpers.checkpoint import component_tensors
from helpers.folding import check_layout, fill
from helpers.paths import DATA, GOLDEN, SHARED
from safetensors.torch import load_file

from edgetts.models.w2v_bert import EXPECTED_EXTRAS, SemanticEncoder
from edgetts.pack.config import SemanticEncoderConfig

MINI = SemanticEncoderConfig(
    feature_dim=160,
    hidden_size=64,
    n_layers=17,
    n_heads=4,
    intermediate_size=128,
    left_max_positions=64,
    right_max_positions=8,
    conv_kernel_size=31,
    layer_norm_eps=1e-5,
)
FULL = dataclasses.replace(MINI, hidden_size=1024, n_heads=16, intermediate_size=4096)
TOLERANCE = 1e-4  # of the golden's standard deviation


def unused(size: str) -> tuple[str, ...]:
    """Patterns of what is published and not run: the layers after the last one that is used, too."""
    n_published = {"mini": 18, "full": 24}[size]
    later = range(MINI.n_layers, n_published)
    return (*EXPECTED_EXTRAS, *(f"encoder.layers.{layer}.*" for layer in later))


@pytest.fixture(scope="module")
def encoder() -> SemanticEncoder:
    with torch.device("meta"):
        module = SemanticEncoder(MINI)
    fill(module, component_tensors("w2vbert"), unused("mini"))
    return module.eval()


@pytest.mark.parametrize(
    ("features", "mask", "hidden"),
    [
        ("w2v_features", "w2v_attention_mask", "hidden_17"),
        ("emo_w2v_features", "emo_w2v_attention_mask", "emo_hidden_17"),
    ],
)
def test_hidden_state_is_upstreams(encoder: SemanticEncoder, features: str, mask: str, hidden: str) -> None:
    front = load_file(GOLDEN / "frontend.safetensors")
    golden = load_file(GOLDEN / "semantic_encoder.safetensors")[hidden]
    with torch.no_grad():
        ours = encoder(front[features], front[mask])
    assert (ours - golden).abs().max() < TOLERANCE * golden.std()


def test_padding_changes_nothing_for_real_frames(encoder: SemanticEncoder) -> None:
    features = torch.randn(2, 40, MINI.feature_dim, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(2, 40, dtype=torch.bool)
    mask[1, 25:] = False
    with torch.no_grad():
        together = encoder(features, mask)
        alone = encoder(features[1:, :25])
        whole = encoder(features[:1])
    torch.testing.assert_close(together[1:, :25], alone, rtol=0, atol=1e-4)
    torch.testing.assert_close(together[:1], whole, rtol=0, atol=1e-4)


def test_gradients_reach_every_parameter() -> None:
    module = SemanticEncoder(dataclasses.replace(MINI, hidden_size=16, n_layers=2, intermediate_size=16))
    mask = torch.ones(2, 12, dtype=torch.int32)
    mask[0, 9:] = 0
    module(torch.randn(2, 12, MINI.feature_dim), mask).square().mean().backward()
    assert [n for n, p in module.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(("size", "config"), [("mini", MINI), ("full", FULL)])
def test_parameters_are_the_published_ones(size: str, config: SemanticEncoderConfig) -> None:
    folder = DATA / "manifest"
    if size == "full":
        if SHARED is None:
            pytest.skip("the full-size reference manifests are not here")
        folder = SHARED / "reference" / "manifest"
    published = json.loads((folder / f"{size}-w2vbert.json").read_text())
    with torch.device("meta"):
        check_layout(SemanticEncoder(config), published, unused(size))
