"""The length regulator against upstream's conditions for the reference and for the target."""

from __future__ import annotations

import pytest
import torch
from helpers.checkpoint import component_tensors
from helpers.folding import fill
from helpers.paths import DATA, GOLDEN
from helpers.s2mel_config import s2mel_config
from safetensors.torch import load_file

from edgetts.models.length_regulator import EXPECTED_EXTRAS, LengthRegulator

PREFIX = "length_regulator."


@pytest.fixture(scope="module")
def regulator() -> LengthRegulator:
    tensors = component_tensors("s2mel")
    with torch.device("meta"):
        module = LengthRegulator(s2mel_config(DATA / "config/mini/config.yaml").length_regulator)
    own = {n.removeprefix(PREFIX): t for n, t in tensors.items() if n.startswith(PREFIX)}
    fill(module, own, EXPECTED_EXTRAS)
    return module


@pytest.mark.parametrize(("source", "expected"), [("s_ref", "prompt_condition"), ("s_infer", "target_condition")])
def test_matches_upstream(regulator: LengthRegulator, source: str, expected: str) -> None:
    golden = load_file(GOLDEN / "s2mel.safetensors")
    with torch.inference_mode():
        condition = regulator(golden[source], golden[expected].shape[1])
    assert (condition - golden[expected]).abs().max() <= 1e-4 * golden[expected].std()


@pytest.mark.parametrize("target_length", [1, 2, 7, 40])
def test_any_target_length(regulator: LengthRegulator, target_length: int) -> None:
    x = torch.randn(2, 7, 1024, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        condition = regulator(x, target_length)
        alone = regulator(x[1:], target_length)
    assert condition.shape[:2] == (2, target_length)
    torch.testing.assert_close(condition[1:], alone, rtol=1e-4, atol=1e-5)  # statistics are per item
