"""LatentS2Mel as a component: upstream's layout, the projection of latents, and the sum it belongs to."""

from __future__ import annotations

import json

import pytest
import torch
from helpers.checkpoint import component_tensors
from helpers.folding import check_layout, fill
from helpers.paths import DATA, GOLDEN, SHARED
from helpers.s2mel_config import s2mel_config
from safetensors.torch import load_file

from edgetts.models.s2mel import EXPECTED_EXTRAS, LatentS2Mel


def test_latent_projection_matches_upstream() -> None:
    with torch.device("meta"):
        module = LatentS2Mel(s2mel_config(DATA / "config/mini/config.yaml"))
    fill(module, component_tensors("s2mel"), EXPECTED_EXTRAS)
    golden = load_file(GOLDEN / "s2mel.safetensors")
    with torch.inference_mode():
        projected = module.project_latents(golden["latents"])
        features = golden["s_infer"] - golden["gpt_layer_out"] + projected
        condition = module.length_regulator(features, golden["target_condition"].shape[1])
    expected = golden["gpt_layer_out"]
    assert (projected - expected).abs().max() <= 1e-4 * expected.std()
    assert (condition - golden["target_condition"]).abs().max() <= 1e-4 * golden["target_condition"].std()


@pytest.mark.skipif(SHARED is None, reason="needs the published layout at full size")
def test_full_size_layout() -> None:
    assert SHARED is not None
    reference = SHARED / "reference"
    with torch.device("meta"):
        module = LatentS2Mel(s2mel_config(reference / "config/full/config.yaml"))
    check_layout(module, json.loads((reference / "manifest/full-s2mel.json").read_text()), EXPECTED_EXTRAS)
