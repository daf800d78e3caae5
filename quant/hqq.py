"""Half-quadratic quantization (HQQ): int4 codes without calibration data.

In: a weight (O, I) and a group size. Out: its int4 parts. First the range of each group is shrunk to minimize the
squared error. Then the zero point is moved to minimize the sum of |error|^p with p < 1, which is robust against a few
large errors. Two variables are solved alternately: the large errors by a generalized soft threshold, the zero point by
a mean.

Source: Badri and Shaji 2023, "Half-Quadratic Quantization of Large Machine Learning Models". Differences: ranges are
shrunk first; errors are measured in grid steps, so that the constants below fit every weight; and the best zero point
seen, including the first one, is kept.
"""

from __future__ import annotations

import torch
from torch import Tensor

from edgetts.pack.schemes import INT4_LEVELS, ZERO_STEPS, int4_zero_points
from edgetts.quant.schemes import Parts, SchemeRule, int4_codes, int4_parts

_NORM = 0.7  # p
_WEIGHT = 10.0  # initial weight of the quadratic term
_GROWTH = 1.05  # its growth per iteration
_TURNS = 20
_SHRINKS = tuple(1 - 0.03 * i for i in range(12))  # tried shrink factors of a group's range
_CHUNK_VALUES = 1 << 18  # values processed at once, to stay in the cache


def encode(_name: str, weight: Tensor, rule: SchemeRule) -> Parts:
    """The int4 parts of weight (O, I)."""
    scales, zeros = grid(weight, torch.ones(weight.shape[1]), rule.group_size or weight.shape[1])
    return int4_parts(int4_codes(weight, scales, zeros), scales, zeros)


def grid(weight: Tensor, importance: Tensor, group_size: int) -> tuple[Tensor, Tensor]:
    """Stored scales and zeros of each group: `weighted_grid`, then `better_zeros`, some rows at a time.

    weight (O, I), importance (I,) -> scales (O, I / G) fp16, zeros (O, I / G) uint8.
    """
    found = []
    step = max(1, _CHUNK_VALUES // weight.shape[1])
    for start in range(0, len(weight), step):
        part = weight[start : start + step]
        scales, zeros = weighted_grid(part, importance, group_size)
        found.append((scales, better_zeros(part, scales, zeros)))
    return torch.cat([scales for scales, _ in found]), torch.cat([zeros for _, zeros in found])


def weighted_grid(weight: Tensor, importance: Tensor, group_size: int) -> tuple[Tensor, Tensor]:
    """The stored grid of each group with the least weighted squared rounding error among shrunk ranges.

    weight (O, I), importance (I,) -> scales (O, I / G) fp16, zeros (O, I / G) uint8.
    """
    groups = weight.reshape(len(weight), -1, group_size)  # (O, I / G, G)
    share = importance.reshape(1, -1, group_size) + importance.mean()  # inputs silent in the samples keep some weight
    low, high = groups.amin(-1).clamp(max=0), groups.amax(-1).clamp(min=0)
    scales = torch.zeros(low.shape, dtype=torch.float16)
    zeros = torch.zeros(low.shape, dtype=torch.uint8)
    least = torch.full(low.shape, torch.inf)
    for shrink in _SHRINKS:
        stored_scale = ((high - low) * shrink / (INT4_LEVELS - 1)).to(torch.float16)
        step = stored_scale.to(torch.float32)
        step = torch.where(step > 0, step, torch.ones_like(step)).unsqueeze(-1)
        zero = (-low.unsqueeze(-1) * shrink / step).round().clamp(0, INT4_LEVELS - 1)
        codes = (groups / step + zero).round().clamp(0, INT4_LEVELS - 1)
        cost = ((groups - (codes - zero) * step).square() * share).sum(-1)
        better = cost < least
        scales = torch.where(better, stored_scale, scales)
        zeros = torch.where(better, (zero.squeeze(-1) * ZERO_STEPS).to(torch.uint8), zeros)
        least = torch.where(better, cost, least)
    return scales, zeros


def better_zeros(weight: Tensor, scales: Tensor, zeros: Tensor) -> Tensor:
    """Stored zero points (O, I / G) with smaller errors of weight (O, I), for given scales."""
    steps = scales.to(torch.float32).unsqueeze(-1)
    groups = weight.reshape(*scales.shape, -1) / torch.where(steps > 0, steps, torch.ones_like(steps))  # in steps
    zero = int4_zero_points(zeros).unsqueeze(-1)
    best, least = zeros, _cost(groups, zero)
    weight_of_quadratic = _WEIGHT
    for _ in range(_TURNS):
        codes = (groups + zero).round().clamp(0, INT4_LEVELS - 1)
        error = groups - (codes - zero)
        large = error.sign() * (error.abs() - _shrinkage(error, weight_of_quadratic)).clamp_min(0)
        zero = (codes - groups + large).mean(-1, keepdim=True)
        stored = (zero * ZERO_STEPS).round().clamp(0, 255)
        cost = _cost(groups, stored / ZERO_STEPS)
        better = cost < least
        best = torch.where(better, stored.squeeze(-1).to(torch.uint8), best)
        least = torch.where(better, cost, least)
        weight_of_quadratic *= _GROWTH
    return best


def _shrinkage(error: Tensor, weight: float) -> Tensor:
    tiny = torch.finfo(error.dtype).tiny
    return error.abs().clamp_min(tiny).pow(_NORM - 1) * (_NORM / weight)


def _cost(groups: Tensor, zero: Tensor) -> Tensor:
    """Sum of |error|^p per group (O, I / G), in steps."""
    codes = (groups + zero).round().clamp(0, INT4_LEVELS - 1)
    return (groups - (codes - zero)).abs().pow(_NORM).sum(-1)
