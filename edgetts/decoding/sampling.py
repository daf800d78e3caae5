"""Logits processors and sampling of the next code.

In: scores (B, K) fp32, one row per beam. Out: processed scores, or sampled indices. Knows no network, cache or loop.
Random numbers come from the given generator, on its device: a CPU generator gives the same codes on every device.

Source: upstream generates with the processors of Hugging Face transformers, in this order: repetition
penalty, temperature, top-k, top-p. With one beam they see raw logits, with several log-probabilities.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from edgetts.decoding.settings import DecodeSettings
from edgetts.pack.config import GPTConfig

PREFIX_PLACEHOLDER_CODE = 1
"""Upstream fills the positions of conditioning and text with ones, and its penalty counts them as codes."""


def min_kept(n_beams: int) -> int:
    """The fewest codes that the filters keep: with several beams two, so that one besides the stop code remains."""
    return 1 if n_beams == 1 else 2


def start_seen(config: GPTConfig, n_rows: int, device: torch.device) -> Tensor:
    """Codes that the repetition penalty counts as used before the first code: a mask (n_rows, K)."""
    seen = torch.zeros(n_rows, config.n_mel_codes, dtype=torch.bool, device=device)
    seen[:, [PREFIX_PLACEHOLDER_CODE, config.start_mel_token]] = True
    return seen


def penalize_repetition(scores: Tensor, seen: Tensor, penalty: float | Tensor) -> Tensor:
    """Make the codes in `seen` (B, K) less likely: divide positive scores by `penalty`, multiply others."""
    return torch.where(seen, torch.where(scores < 0, scores * penalty, scores / penalty), scores)


def keep_top_k(scores: Tensor, k: int, least: int) -> Tensor:
    """Set all but the `k` (at least `least`) best of each row to -inf; ties with the last one stay."""
    k = min(max(k, least), scores.shape[-1])
    threshold = scores.topk(k, dim=-1).values[:, -1:]  # (B, 1)
    return scores.masked_fill(scores < threshold, -math.inf)


def keep_top_p(scores: Tensor, p: float, least: int) -> Tensor:
    """Set the least likely codes of each row to -inf, as long as their total probability is at most 1 - p."""
    ordered, order = scores.sort(dim=-1)  # the least likely first
    dropped = ordered.softmax(dim=-1).cumsum(dim=-1) <= 1 - p
    dropped[:, -least:] = False
    return torch.empty_like(scores).scatter_(-1, order, ordered.masked_fill(dropped, -math.inf))


def filter_logits(scores: Tensor, settings: DecodeSettings) -> Tensor:
    """Apply temperature, top-k and top-p to scores (B, K)."""
    kept = min_kept(settings.n_beams)
    scores = scores / settings.temperature
    if settings.top_k > 0:
        scores = keep_top_k(scores, settings.top_k, kept)
    if settings.top_p < 1:
        scores = keep_top_p(scores, settings.top_p, kept)
    return scores


def sample(scores: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Sample `n` different indices per row of scores (B, K) from their softmax, without replacement: (B, n).

    Divides each probability by an exponential variate and takes the largest quotients. If fewer than `n` indices have a
    probability above 0, the rest are arbitrary.
    """
    noise = torch.empty(scores.shape, device=generator.device).exponential_(1, generator=generator)
    return (scores.softmax(dim=-1) / noise.to(scores.device)).topk(n, dim=-1).indices
