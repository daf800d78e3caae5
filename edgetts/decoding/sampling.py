"""How the next code is chosen from the network's scores: score processors, random draws.

In: scores (B, K) fp32, one row per beam. Out: changed scores, or drawn indices. It knows nothing of the
network, the cache or the loop. Randomness comes from the generator that is passed in, and is drawn on
that generator's device: a CPU generator gives the same codes whatever device the network runs on.

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
"""Upstream fills the positions of conditioning and text with ones, and its penalty takes them for codes."""

# With several beams a code besides the stop code must survive the filters, so that a beam can go on.
_MIN_KEPT_ONE_BEAM = 1
_MIN_KEPT_BEAMS = 2


def start_seen(config: GPTConfig, n_rows: int, device: torch.device) -> Tensor:
    """What the repetition penalty counts as used before the first code: a mask (n_rows, K)."""
    seen = torch.zeros(n_rows, config.n_mel_codes, dtype=torch.bool, device=device)
    seen[:, [PREFIX_PLACEHOLDER_CODE, config.start_mel_token]] = True
    return seen


def penalize_repetition(scores: Tensor, seen: Tensor, penalty: float | Tensor) -> Tensor:
    """Make the codes in `seen` (B, K) less likely: divide a positive score by `penalty`, multiply others."""
    return torch.where(seen, torch.where(scores < 0, scores * penalty, scores / penalty), scores)


def keep_top_k(scores: Tensor, k: int, min_kept: int) -> Tensor:
    """Set all but the `k` (at least `min_kept`) best of each row to -inf; scores equal to the last stay."""
    k = min(max(k, min_kept), scores.shape[-1])
    threshold = scores.topk(k, dim=-1).values[:, -1:]  # (B, 1)
    return scores.masked_fill(scores < threshold, -math.inf)


def keep_top_p(scores: Tensor, p: float, min_kept: int) -> Tensor:
    """Set the least likely codes of each row to -inf while those dropped hold at most 1 - p together."""
    ordered, order = scores.sort(dim=-1)  # the least likely first
    dropped = ordered.softmax(dim=-1).cumsum(dim=-1) <= 1 - p
    dropped[:, -min_kept:] = False
    return scores.masked_fill(torch.zeros_like(dropped).scatter(-1, order, dropped), -math.inf)


def filter_logits(scores: Tensor, settings: DecodeSettings) -> Tensor:
    """Temperature, top-k and top-p on scores (B, K), as sampling wants them."""
    min_kept = _MIN_KEPT_BEAMS if settings.n_beams > 1 else _MIN_KEPT_ONE_BEAM
    scores = scores / settings.temperature
    if settings.top_k > 0:
        scores = keep_top_k(scores, settings.top_k, min_kept)
    if settings.top_p < 1:
        scores = keep_top_p(scores, settings.top_p, min_kept)
    return scores


def sample(scores: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """`n` different indices per row of scores (B, K), with the probabilities softmax gives: (B, n).

    Each probability is divided by an exponential variate and the largest win, which is a draw without
    replacement; where fewer than `n` have any probability, the rest are arbitrary.
    """
    noise = torch.empty(scores.shape, device=generator.device).exponential_(1, generator=generator)
    return (scores.softmax(dim=-1) / noise.to(scores.device)).topk(n, dim=-1).indices
