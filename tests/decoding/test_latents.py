"""The latent pass against upstream's numbers, and chunk by chunk against the whole."""

from __future__ import annotations

import itertools

import pytest
import torch
from helpers.mini_gpt import mini_gpt
from helpers.paths import GOLDEN
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from edgetts.decoding.latents import LatentPass
from edgetts.decoding.prompt import GPTPrompt
from edgetts.errors import UsageError
from edgetts.models.gpt import GPT


@pytest.fixture(scope="module")
def gpt() -> GPT:
    return mini_gpt()


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(GOLDEN / "gpt.safetensors")


def latent_pass(gpt: GPT, golden: dict[str, Tensor], **options: int) -> LatentPass:
    ids = golden["text_ids"].long()
    return LatentPass(gpt, GPTPrompt.build(gpt, golden["conditioning_latents"], golden["emovec"], ids), **options)


def test_whole_equals_upstream(gpt: GPT, golden: dict[str, Tensor]) -> None:
    codes = golden["greedy_codes"][0].tolist()
    latents = latent_pass(gpt, golden).append(codes)
    assert latents.shape == golden["latents"].shape
    assert (latents - golden["latents"]).abs().max() / golden["latents"].std() < 1e-4


@settings(max_examples=6, deadline=None)
@given(st.lists(st.integers(1, 59), max_size=6).map(lambda cuts: sorted({0, 60, *cuts})))
def test_any_chunking_equals_the_whole(gpt: GPT, golden: dict[str, Tensor], cuts: list[int]) -> None:
    codes = golden["greedy_codes"][0].tolist()
    stream = latent_pass(gpt, golden, capacity=20)  # outgrown on the way
    parts = [stream.append(codes[a:b]) for a, b in itertools.pairwise(cuts)]
    assert [p.shape[1] for p in parts] == [b - a for a, b in itertools.pairwise(cuts)]
    assert stream.n_codes == len(codes)
    whole = latent_pass(gpt, golden).append(codes)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-5, rtol=0)


def test_a_latent_needs_only_earlier_codes(gpt: GPT, golden: dict[str, Tensor]) -> None:
    codes = golden["greedy_codes"][0].tolist()[:8]
    first = latent_pass(gpt, golden).append(codes)
    other = latent_pass(gpt, golden).append([*codes[:-1], codes[-1] + 1])
    torch.testing.assert_close(first, other, atol=0, rtol=0)
    changed = latent_pass(gpt, golden).append([codes[0] + 1, *codes[1:]])
    torch.testing.assert_close(first[:, :1], changed[:, :1], atol=0, rtol=0)
    assert (first[:, 1:] - changed[:, 1:]).abs().amax(dim=-1).min() > 1e-3


@pytest.mark.parametrize(
    ("codes", "message"),
    [([], "at least one"), ([5, 8193], "8193 is not a code"), ([-1], "-1 is not a code"), ([8194], "8194")],
)
def test_what_is_not_a_code_is_refused(gpt: GPT, golden: dict[str, Tensor], codes: list[int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        latent_pass(gpt, golden).append(codes)


def test_more_codes_than_positions_are_refused(gpt: GPT, golden: dict[str, Tensor]) -> None:
    with pytest.raises(UsageError, match="1816 codes; this model has positions for 1815"):
        latent_pass(gpt, golden).append([0] * 1816)
