"""The DiT against upstream's estimator, and what training and faster paths rely on."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from helpers.checkpoint import component_tensors
from helpers.folding import fill
from helpers.paths import DATA, GOLDEN
from helpers.s2mel_config import s2mel_config, tiny_dit_config
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from edgetts.models.dit import EXPECTED_EXTRAS, AdaptiveNorm, DiT, apply_rope, rope_table

PREFIX = "cfm.estimator."


def inputs(batch: int, length: int, seed: int = 0) -> dict[str, Tensor]:
    config = tiny_dit_config()
    generator = torch.Generator().manual_seed(seed)
    return {
        "x": torch.randn(batch, config.n_mels, length, generator=generator),
        "prompt": torch.randn(batch, config.n_mels, length, generator=generator),
        "t": torch.rand(batch, generator=generator),
        "style": torch.randn(batch, config.style_dim, generator=generator),
        "condition": torch.randn(batch, length, config.content_dim, generator=generator),
    }


def shaken(depth: int = 4) -> DiT:
    """A tiny DiT whose zero-initialized parameters are not zero, so that every input matters."""
    network = DiT(tiny_dit_config(depth))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
    return network


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(GOLDEN / "s2mel.safetensors")


def test_matches_upstream(golden: dict[str, Tensor]) -> None:
    with torch.device("meta"):
        network = DiT(s2mel_config(DATA / "config/mini/config.yaml").dit)
    own = {n.removeprefix(PREFIX): t for n, t in component_tensors("s2mel").items() if n.startswith(PREFIX)}
    fill(network, own, EXPECTED_EXTRAS)
    noise = golden["noise"]
    prompt = F.pad(golden["ref_mel"], (0, noise.shape[-1] - golden["ref_mel"].shape[-1]))
    condition = torch.cat([golden["prompt_condition"], golden["target_condition"]], dim=1)
    with torch.inference_mode():
        velocity = network(
            noise.expand(2, -1, -1),
            torch.cat([prompt, torch.zeros_like(prompt)]),
            golden["estimator_t"].expand(2),
            torch.cat([golden["style"], torch.zeros_like(golden["style"])]),
            torch.cat([condition, torch.zeros_like(condition)]),
        )
    expected = golden["estimator_out"]
    assert (velocity - expected).abs().max() <= 1e-4 * expected.std()


def test_mask_hides_padding() -> None:
    network = shaken()
    whole = inputs(2, 24)
    short = 15
    mask = torch.arange(24) < torch.tensor([[24], [short]])
    garbage = {k: v.clone() for k, v in whole.items()}
    garbage["x"][1, :, short:] = 7.0
    garbage["condition"][1, short:] = -7.0
    with torch.inference_mode():
        clean = network(**whole, mask=mask)
        dirty = network(**garbage, mask=mask)
        unmasked = network(**garbage)
        plain = network(**whole)
    reach = 4 * 2  # of the WaveNet's convolutions, which see the frames beside the edge
    torch.testing.assert_close(clean[0], plain[0])
    torch.testing.assert_close(clean[1, :, : short - reach], dirty[1, :, : short - reach])
    assert not torch.allclose(dirty[1, :, : short - reach], unmasked[1, :, : short - reach], atol=1e-3)


def test_time_conditions_can_be_made_ahead_and_shared() -> None:
    network = shaken()
    given = inputs(2, 12)
    given["t"] = torch.tensor([0.3, 0.3])
    with torch.inference_mode():
        expected = network(**given)
        times = network.time_embeddings(given.pop("t")[:1])
        assert all(part.shape[dim] == 1 for part, dim in zip(times, (1, 0, 0), strict=True))
        velocity = network.estimate(**given, times=times, rope=network.rope(12, torch.device("cpu")))
    torch.testing.assert_close(velocity, expected)


@pytest.mark.parametrize("depth", [1, 2, 5, 6])
def test_skips_pair_up_at_any_depth(depth: int) -> None:
    network = shaken(depth)
    receiving = [i for i, layer in enumerate(network.transformer.layers) if layer.skip_in_linear is not None]
    assert receiving == list(range(depth // 2 + 1, depth))
    with torch.inference_mode():
        assert network(**inputs(1, 8)).isfinite().all()


def test_rope_is_relative_and_in_fp32() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 1, 1, 1, 8, generator=generator).unbind(0)
    table = rope_table(2000, 8, torch.device("cpu"))
    assert table.dtype == torch.float32 and table.shape == (2000, 4, 2)

    def score(i: int, j: int) -> Tensor:
        return (apply_rope(q, table[i : i + 1]) * apply_rope(k, table[j : j + 1])).sum()

    torch.testing.assert_close(score(3, 10), score(1203, 1210), rtol=0, atol=1e-3)
    torch.testing.assert_close(apply_rope(q, table[:1]), q)


def test_half_precision_runs_without_autocast() -> None:
    network = shaken()
    given = inputs(2, 12)
    with torch.inference_mode():
        expected = network(**given)
        half = {k: v if k == "t" else v.to(torch.bfloat16) for k, v in given.items()}
        velocity = network.to(torch.bfloat16)(**half)
    assert velocity.dtype == torch.bfloat16
    assert (velocity.float() - expected).abs().mean() < 0.1 * expected.std()


def test_every_parameter_can_be_trained_after_inference() -> None:
    network = shaken()
    given = inputs(3, 11)
    mask = torch.arange(11) < torch.tensor([[11], [9], [6]])
    with torch.inference_mode():
        network(**given, mask=mask)
    network(**given, mask=mask).square().sum().backward()
    missing = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    # The norms' own weights and gains start equal, all else must be reached.
    assert not missing


def test_fresh_network_says_zero_and_has_plain_norms() -> None:
    network = DiT(dataclasses.replace(tiny_dit_config(), depth=3))
    assert not network(**inputs(1, 8)).any()
    norm = network.transformer.norm
    assert isinstance(norm, AdaptiveNorm)
    x = torch.randn(1, 5, 16, generator=torch.Generator().manual_seed(0))
    modulation = norm.gain_and_bias(torch.ones(1, 16))
    torch.testing.assert_close(norm(x, modulation), F.rms_norm(x, (16,), eps=1e-5))
