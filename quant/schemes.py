"""Quantizing one tensor for storage: the counterpart of `edgetts.pack.schemes`.

In: a float32 tensor. Out: its stored parts. Plain round-to-nearest without calibration; methods that look
further (`edgetts.quant.hqq`, `edgetts.quant.gptq`) make the same parts from better codes. Rows are worked on a few at
a time, so that the largest tensor needs little more memory than itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor

from edgetts.pack.schemes import INT4_LEVELS, NF4_LEVELS, ZERO_STEPS, int4_zero_points, pack_nibbles

Parts = Mapping[str, Tensor]

_INT8_LIMIT = 127  # symmetric: -128 is not used
_INT4_MAX = INT4_LEVELS - 1
_CHUNK_VALUES = 1 << 22  # values processed at once
PLAIN = "plain"  # a rule with this scheme keeps tensors as they are, in the component's dtype
METHODS = ("rtn", "hqq", "gptq")


@dataclass(frozen=True)
class SchemeRule:
    """Store the tensors of a component whose name matches `pattern` (fnmatch) with `scheme`; the first rule wins.

    Only floating-point tensors with at least two dimensions are quantized. `method`: how codes are chosen, one of
    METHODS.
    """

    pattern: str
    scheme: str
    group_size: int | None = None
    method: str = "rtn"

    def applies(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> bool:
        return dtype.is_floating_point and len(shape) >= 2 and fnmatchcase(name, self.pattern)


# Name, value and rule of a tensor -> its parts.
Encode = Callable[[str, Tensor, SchemeRule], Parts]


def round_to_nearest(_name: str, weight: Tensor, rule: SchemeRule) -> Parts:
    """The parts of `weight` (O, ...) by rounding every value to its nearest code."""
    step = max(1, _CHUNK_VALUES // max(1, weight[0].numel() if len(weight) else 1))
    encode = _ENCODERS[rule.scheme]
    chunks = [
        encode(weight[start : start + step].to(torch.float32), rule.group_size)
        for start in range(0, max(1, len(weight)), step)
    ]
    return {part: torch.cat([chunk[part] for chunk in chunks]) for part in chunks[0]}


def int4_grid(weight: Tensor, group_size: int) -> tuple[Tensor, Tensor]:
    """The int4 grid that spans each group: scales (O, I / G) fp16 and zeros (O, I / G) uint8, as stored.

    weight (O, I) fp32. Zero is on the grid, so that a weight of 0 stays 0.
    """
    groups = weight.reshape(len(weight), -1, group_size)  # (O, I / G, G)
    low = groups.amin(-1).clamp(max=0)
    high = groups.amax(-1).clamp(min=0)
    scales = ((high - low) / _INT4_MAX).to(torch.float16)
    steps = scales.to(torch.float32)
    safe = torch.where(steps > 0, steps, torch.ones_like(steps))  # a group of zeros stays zeros
    zeros = (-low / safe).round().clamp(0, _INT4_MAX) * ZERO_STEPS
    return scales, zeros.to(torch.uint8)


def int4_codes(weight: Tensor, scales: Tensor, zeros: Tensor) -> Tensor:
    """The nearest codes (O, I) uint8 of weight (O, I) on a grid (O, I / G) as stored."""
    groups = weight.reshape(*scales.shape, -1)
    steps = scales.to(torch.float32).unsqueeze(-1)
    safe = torch.where(steps > 0, steps, torch.ones_like(steps))
    codes = (groups / safe + int4_zero_points(zeros).unsqueeze(-1)).round().clamp(0, _INT4_MAX)
    return codes.to(torch.uint8).flatten(1)


def int4_parts(codes: Tensor, scales: Tensor, zeros: Tensor) -> Parts:
    return {"codes": pack_nibbles(codes), "scales": scales, "zeros": zeros}


def int8_scales(weight: Tensor) -> Tensor:
    """weight (O, ...) -> the scale of each output channel (O,) fp32."""
    return weight.flatten(1).abs().amax(1) / _INT8_LIMIT


def int8_codes(weight: Tensor, scales: Tensor) -> Tensor:
    """The nearest codes (O, ...) int8 of weight (O, ...) with scales (O,)."""
    safe = torch.where(scales > 0, scales, torch.ones_like(scales))  # a row of zeros stays zeros
    rows = (weight.flatten(1) / safe.unsqueeze(1)).round().clamp(-_INT8_LIMIT, _INT8_LIMIT)
    return rows.to(torch.int8).reshape(weight.shape)


def _int8_channel(weight: Tensor, _group_size: int | None) -> Parts:
    scales = int8_scales(weight)
    return {"codes": int8_codes(weight, scales), "scales": scales}


def _int4_group(weight: Tensor, group_size: int | None) -> Parts:
    scales, zeros = int4_grid(weight, group_size or weight.shape[1])
    return int4_parts(int4_codes(weight, scales, zeros), scales, zeros)


def _nf4_group(weight: Tensor, group_size: int | None) -> Parts:
    groups = weight.reshape(len(weight), -1, group_size or weight.shape[1])  # (O, I / G, G)
    scales = groups.abs().amax(-1).to(torch.float16)
    steps = scales.to(torch.float32).unsqueeze(-1)
    shares = groups / torch.where(steps > 0, steps, torch.ones_like(steps))
    levels = torch.tensor(NF4_LEVELS, device=weight.device)
    codes = torch.bucketize(shares, (levels[1:] + levels[:-1]) / 2)  # nearest level
    return {"codes": pack_nibbles(codes.flatten(1)), "scales": scales}


_ENCODERS: Mapping[str, Callable[[Tensor, int | None], Parts]] = {
    "int8_channel": _int8_channel,
    "int4_group": _int4_group,
    "nf4_group": _nf4_group,
}
