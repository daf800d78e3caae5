"""Both conditioners against upstream's latents and emotion vectors, their masks and their full size."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from helpers.checkpoint import component_tensors
from helpers.folding import check_layout, fill
from helpers.paths import DATA, GOLDEN, SHARED
from safetensors.torch import load_file

from edgetts.models.conditioning import EXPECTED_EXTRAS, Conditioning
from edgetts.models.conformer import FRAMES_AT_ONCE, Subsampling, sinusoidal_positions
from edgetts.models.perceiver import PerceiverResampler
from edgetts.pack.config import ConditioningConfig, ConformerConfig, PerceiverConfig


def config(
    model_dim: int, output_size: int, linear_units: tuple[int, int], heads: tuple[int, int], blocks: tuple[int, int]
) -> ConditioningConfig:
    """Speaker and emotion sizes in pairs; what both share as published."""
    conformers = [
        ConformerConfig(
            input_size=1024,
            output_size=output_size,
            linear_units=linear_units[i],
            n_heads=heads[i],
            n_blocks=blocks[i],
            conv_kernel_size=15,
        )
        for i in range(2)
    ]
    perceivers = [
        PerceiverConfig(
            dim=(model_dim, 1024)[i],
            dim_context=output_size,
            n_latents=(32, 1)[i],
            depth=2,
            n_heads=heads[i],
            head_dim=64,
            ff_mult=2,
        )
        for i in range(2)
    ]
    return ConditioningConfig(
        speaker_conformer=conformers[0],
        speaker_perceiver=perceivers[0],
        emotion_conformer=conformers[1],
        emotion_perceiver=perceivers[1],
        model_dim=model_dim,
    )


MINI = config(128, 64, (128, 96), (4, 2), (2, 2))
FULL = config(1280, 512, (2048, 1024), (8, 4), (6, 4))
PREFIXES = ("conditioning_encoder.", "perceiver_encoder.", "emo_", "emovec_layer.")
TOLERANCE = 1e-4  # of the golden's standard deviation


@pytest.fixture(scope="module")
def published() -> dict[str, torch.Tensor]:
    return {k: v for k, v in component_tensors("gpt").items() if k.startswith(PREFIXES)}


@pytest.fixture(scope="module")
def conditioning(published: dict[str, torch.Tensor]) -> Conditioning:
    with torch.device("meta"):
        module = Conditioning(MINI)
    fill(module, published, EXPECTED_EXTRAS)
    return module.eval()


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    return load_file(GOLDEN / "gpt_conditioning.safetensors")


def close(ours: torch.Tensor, golden: torch.Tensor) -> bool:
    assert ours.shape == golden.shape
    return bool((ours - golden).abs().max() < TOLERANCE * golden.std())


def test_latents_are_upstreams(conditioning: Conditioning, golden: dict[str, torch.Tensor]) -> None:
    with torch.no_grad():
        latents = conditioning.speaker_latents(golden["spk_cond_emb"])
    assert close(latents, golden["conditioning_latents"])


@pytest.mark.parametrize(
    ("features", "vector"), [("spk_cond_emb", "emovec_speaker"), ("emo_cond_emb", "emovec_emotion")]
)
def test_emotion_vectors_are_upstreams(
    conditioning: Conditioning, golden: dict[str, torch.Tensor], features: str, vector: str
) -> None:
    with torch.no_grad():
        assert close(conditioning.emotion_vector(golden[features]), golden[vector])


@pytest.mark.parametrize("n_real", [20, 21])
def test_padding_changes_nothing(conditioning: Conditioning, golden: dict[str, torch.Tensor], n_real: int) -> None:
    features = golden["spk_cond_emb"][:, :36].repeat(2, 1, 1)
    mask = torch.ones(2, 36)
    mask[1, n_real:] = 0
    with torch.no_grad():
        for method in (conditioning.speaker_latents, conditioning.emotion_vector):
            together = method(features, mask)
            torch.testing.assert_close(together[:1], method(features[:1]), rtol=0, atol=1e-4)
            torch.testing.assert_close(together[1:], method(features[1:, :n_real]), rtol=0, atol=1e-4)


def test_positions_equal_the_published_table(published: dict[str, torch.Tensor]) -> None:
    for name in EXPECTED_EXTRAS:
        table = published[name][0]
        assert torch.equal(sinusoidal_positions(*table.shape, torch.device("cpu")), table)


@pytest.mark.parametrize("n_frames", [3, 4, 2 * FRAMES_AT_ONCE + 1, 2 * FRAMES_AT_ONCE + 3, 300])
def test_subsampling_in_pieces_is_the_whole(n_frames: int) -> None:
    torch.manual_seed(0)
    module = Subsampling(12, 4)
    x = torch.randn(2, n_frames, 12)
    with torch.no_grad():
        whole = module.out(torch.relu(module.conv(x[:, None])).transpose(1, 2).flatten(2))
        torch.testing.assert_close(module(x), whole)


def test_gradients_reach_every_parameter() -> None:
    tiny = dataclasses.replace(
        MINI,
        speaker_conformer=dataclasses.replace(MINI.speaker_conformer, input_size=16),
        emotion_conformer=dataclasses.replace(MINI.emotion_conformer, input_size=16),
    )
    module = Conditioning(tiny)
    features = torch.randn(2, 11, 16)
    (module.speaker_latents(features).mean() + module.emotion_vector(features).mean()).backward()
    assert [n for n, p in module.named_parameters() if p.grad is None] == []


def test_a_context_as_wide_as_the_latents_has_no_projection() -> None:
    same = dataclasses.replace(MINI.speaker_perceiver, dim=64, dim_context=64)
    module = PerceiverResampler(same)
    assert not any(name.startswith("proj_context") for name in module.state_dict())
    assert module(torch.randn(1, 5, 64)).shape == (1, same.n_latents, 64)


@pytest.mark.parametrize(("size", "expected"), [("mini", MINI), ("full", FULL)])
def test_parameters_are_the_published_ones(size: str, expected: ConditioningConfig) -> None:
    folder = DATA / "manifest"
    if size == "full":
        if SHARED is None:
            pytest.skip("the full-size reference manifests are not here")
        folder = SHARED / "reference" / "manifest"
    manifest = json.loads((folder / f"{size}-gpt.json").read_text())
    mine = {k: v for k, v in manifest.items() if k.startswith(PREFIXES)}
    with torch.device("meta"):
        check_layout(Conditioning(expected), mine, EXPECTED_EXTRAS)
