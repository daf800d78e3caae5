"""Quantization schemes: how a tensor is dequantized from its stored parts.

In: the stored parts of one tensor. Out: the tensor in the compute dtype. One entry of `SCHEMES` per scheme. The storage
is device-neutral: `edgetts.backends` packs the same parts for its kernels. `quant` chooses the codes.

Parts of tensor NAME are the tensors NAME.<part> of the same file. Shapes: O outputs, I inputs, G values of a
group that share a scale. NF4's levels: Dettmers et al. 2023 (arXiv 2305.14314), appendix E.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

Shape = tuple[int, ...]

INT4_LEVELS = 16
ZERO_STEPS = 16  # int4 zero points are stored in sixteenths of a code: one byte, finer than whole codes
NF4_LEVELS = (
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
)


@dataclass(frozen=True)
class Scheme:
    """parts: suffix -> stored dtype. grouped: scales belong to groups along the input.

    layout: shapes of the parts, from the tensor's shape and the group size. shape: the tensor's shape, from the shape
    of its codes.
    """

    parts: Mapping[str, torch.dtype]
    grouped: bool
    layout: Callable[[Shape, int | None], Mapping[str, Shape]]
    shape: Callable[[Shape], Shape]
    decode: Callable[[Mapping[str, Tensor], torch.dtype], Tensor]


@dataclass(frozen=True)
class Quantized:
    """One quantized tensor as stored: its parts and their scheme."""

    scheme: str
    group_size: int | None
    shape: Shape
    parts: Mapping[str, Tensor]

    def decode(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """The dequantized tensor."""
        return SCHEMES[self.scheme].decode(self.parts, dtype)


def layout_problem(scheme: str, group_size: int | None, shape: Shape) -> str | None:
    """Why the scheme cannot store a tensor of this shape, or None if it can."""
    if len(shape) < 2:
        return f"has shape {list(shape)}, and only tensors of two dimensions or more are quantized"
    if not SCHEMES[scheme].grouped:
        return None if group_size is None else f"has a group size, but {scheme} has no groups"
    if group_size is None or group_size < 2 or group_size % 2:
        return f"needs an even group size for {scheme}, not {group_size}"
    if len(shape) != 2 or shape[1] % group_size:
        return f"has shape {list(shape)}, which does not divide into groups of {group_size} along its input"
    return None


def pack_nibbles(codes: Tensor) -> Tensor:
    """codes (O, I) 0 to 15 -> (O, I / 2) uint8; the even column is the low half of a byte."""
    codes = codes.to(torch.uint8)
    return codes[:, 0::2] | (codes[:, 1::2] << 4)


def unpack_nibbles(packed: Tensor) -> Tensor:
    """(O, I / 2) uint8 -> codes (O, I) uint8, 0 to 15."""
    return torch.stack([packed & 0x0F, packed >> 4], dim=-1).flatten(1)


def int4_zero_points(zeros: Tensor) -> Tensor:
    """Stored zeros as float32, in units of a code."""
    return zeros.to(torch.float32) / ZERO_STEPS


def _whole_rows(shape: Shape, _group_size: int | None) -> Mapping[str, Shape]:
    return {"codes": shape, "scales": shape[:1]}


def _int4_groups(shape: Shape, group_size: int | None) -> Mapping[str, Shape]:
    groups = (shape[0], shape[1] // _given(group_size))
    return {"codes": _nibbles(shape), "scales": groups, "zeros": groups}


def _nf4_groups(shape: Shape, group_size: int | None) -> Mapping[str, Shape]:
    return {"codes": _nibbles(shape), "scales": (shape[0], shape[1] // _given(group_size))}


def _nibbles(shape: Shape) -> Shape:
    return (shape[0], shape[1] // 2)


def _given(group_size: int | None) -> int:
    if group_size is None:
        raise ValueError("a grouped scheme needs a group size")
    return group_size


def _same(shape: Shape) -> Shape:
    return shape


def _twice(shape: Shape) -> Shape:
    return (*shape[:-1], 2 * shape[-1])


def _int8_channel(parts: Mapping[str, Tensor], dtype: torch.dtype) -> Tensor:
    """codes (O, ...) int8 times scales (O,) fp32: symmetric, one scale per output channel."""
    codes, scales = parts["codes"], parts["scales"]
    scales = scales.reshape(-1, *(1 for _ in codes.shape[1:]))
    return (codes.to(torch.float32) * scales).to(dtype)


def _int4_group(parts: Mapping[str, Tensor], dtype: torch.dtype) -> Tensor:
    """(codes - zero) * scale per group: codes (O, I / 2) uint8, scales (O, I / G) fp16, zeros (O, I / G) uint8."""
    scales = parts["scales"].to(torch.float32)
    codes = unpack_nibbles(parts["codes"]).to(torch.float32).reshape(*scales.shape, -1)  # (O, I / G, G)
    values = (codes - int4_zero_points(parts["zeros"]).unsqueeze(-1)) * scales.unsqueeze(-1)
    return values.flatten(1).to(dtype)


def _nf4_group(parts: Mapping[str, Tensor], dtype: torch.dtype) -> Tensor:
    """level[code] * scale per group: codes (O, I / 2) uint8, scales (O, I / G) fp16, the largest magnitude."""
    scales = parts["scales"].to(torch.float32)
    levels = torch.tensor(NF4_LEVELS, device=scales.device)
    values = levels[unpack_nibbles(parts["codes"]).to(torch.int64)].reshape(*scales.shape, -1)
    return (values * scales.unsqueeze(-1)).flatten(1).to(dtype)


SCHEMES: Mapping[str, Scheme] = {
    "int8_channel": Scheme({"codes": torch.int8, "scales": torch.float32}, False, _whole_rows, _same, _int8_channel),
    "int4_group": Scheme(
        {"codes": torch.uint8, "scales": torch.float16, "zeros": torch.uint8}, True, _int4_groups, _twice, _int4_group
    ),
    "nf4_group": Scheme({"codes": torch.uint8, "scales": torch.float16}, True, _nf4_groups, _twice, _nf4_group),
}


def stored_bytes(scheme: str, group_size: int | None, shape: Shape) -> int:
    """Size of all parts of a tensor in bytes."""
    layout = SCHEMES[scheme].layout(shape, group_size)
    return sum(math.prod(layout[part]) * dtype.itemsize for part, dtype in SCHEMES[scheme].parts.items())
