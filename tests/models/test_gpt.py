"""The GPT against upstream's numbers, and the cache against the pass without one."""

from __future__ import annotations

import pytest
import torch
from helpers.mini_gpt import mini_gpt
from helpers.paths import GOLDEN
from safetensors.torch import load_file
from torch import Tensor

from edgetts.errors import GenerationError
from edgetts.models.gpt import GPT, KVCache
from edgetts.pack.config import GPTConfig

TOLERANCE = 1e-4  # of the golden's standard deviation


@pytest.fixture(scope="module")
def gpt() -> GPT:
    return mini_gpt()


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(GOLDEN / "gpt.safetensors")


def relative_error(ours: Tensor, golden: Tensor) -> float:
    assert ours.shape == golden.shape
    return ((ours - golden).abs().max() / golden.std()).item()


def sequence(gpt: GPT, golden: dict[str, Tensor], codes: Tensor, positions: Tensor) -> Tensor:
    prefix = gpt.prefix(golden["conditioning_latents"], golden["emovec"], golden["text_ids"].long())
    return torch.cat([prefix, gpt.mel_embed(codes, positions)], dim=1)


def test_first_logits(gpt: GPT, golden: dict[str, Tensor]) -> None:
    n = golden["first_logits"].shape[1]
    start = torch.tensor([[gpt.config.start_mel_token]])
    codes = torch.cat([start, golden["greedy_codes"][:, : n - 1].long()], dim=1)
    positions = torch.tensor([0, *range(2, n + 1)])  # decoding with a cache skips position 1
    hidden = gpt(sequence(gpt, golden, codes, positions))
    assert relative_error(gpt.logits(hidden[:, -n:]), golden["first_logits"]) < TOLERANCE


def test_latents(gpt: GPT, golden: dict[str, Tensor]) -> None:
    greedy = golden["greedy_codes"].long()
    codes = torch.cat([torch.tensor([[gpt.config.start_mel_token]]), greedy], dim=1)
    hidden = gpt(sequence(gpt, golden, codes, torch.arange(codes.shape[1])))
    latents = hidden[:, -codes.shape[1] : -1]  # the state at code k - 1 predicts code k
    assert relative_error(latents, golden["latents"]) < TOLERANCE


@pytest.mark.parametrize("chunks", [(12,), (1,) * 12, (5, 1, 4, 2)])
def test_cache_in_any_chunking_equals_one_pass(gpt: GPT, chunks: tuple[int, ...]) -> None:
    x = torch.randn(2, sum(chunks), gpt.config.model_dim, generator=torch.Generator().manual_seed(1))
    cache = KVCache.allocate(gpt.config, 16, batch=2)
    parts = torch.cat([gpt(part, cache) for part in x.split(list(chunks), dim=1)], dim=1)
    assert cache.length == sum(chunks)
    torch.testing.assert_close(parts, gpt(x), atol=1e-5, rtol=0)


def test_cache_rows_share_a_prefix_and_follow_their_parents(gpt: GPT) -> None:
    g = torch.Generator().manual_seed(2)
    prefix = torch.randn(1, 5, gpt.config.model_dim, generator=g)
    first, second = (torch.randn(3, 1, gpt.config.model_dim, generator=g) for _ in range(2))
    cache = KVCache.allocate(gpt.config, 8, batch=3)
    gpt(prefix, cache.rows(1))
    cache.share_first_row(5)
    gpt(first, cache)
    parents = torch.tensor([2, 0, 0])
    cache.reorder(parents, start=5)
    hidden = gpt(second, cache)
    whole = gpt(torch.cat([prefix.expand(3, -1, -1), first[parents], second], dim=1))
    torch.testing.assert_close(hidden, whole[:, -1:], atol=1e-5, rtol=0)


def test_a_full_cache_says_so(gpt: GPT) -> None:
    cache = KVCache.allocate(gpt.config, 4)
    gpt(torch.zeros(1, 4, gpt.config.model_dim), cache)
    with pytest.raises(GenerationError, match="room for 4 positions, and 5 are needed"):
        gpt(torch.zeros(1, 1, gpt.config.model_dim), cache)


def test_training_reaches_every_parameter() -> None:
    config = GPTConfig(16, 2, 2, 20, 12, 10, 10, 0, 1, 10, 11, 3)
    gpt = GPT(config)
    prefix = gpt.prefix(torch.randn(2, 3, 16), torch.randn(2, 16), torch.randint(2, 20, (2, 4)))
    codes = torch.randint(0, 10, (2, 5))
    hidden = gpt(torch.cat([prefix, gpt.mel_embed(codes, torch.arange(5))], dim=1))
    assert hidden.shape == (2, gpt.n_conditioning_tokens + 6 + 5, 16)
    gpt.logits(hidden).square().mean().backward()
    assert [name for name, p in gpt.named_parameters() if p.grad is None] == []
