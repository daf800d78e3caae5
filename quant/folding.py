"""Conversion of published tensors: weight norm is folded, GPT-2 matrices are transposed.

In and out: lazy tensors by name; nothing is computed before a tensor is read. It knows names and shapes only, no
networks.

Sources: weight norm is Salimans and Kingma 2016 (arXiv 1602.07868), `weight_g * weight_v / ||weight_v||`
with the norm over every dimension in which `weight_g` is 1; GPT-2 stores `[in, out]` where a linear layer
has `[out, in]` (transformers' `Conv1D`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from edgetts.quant.lazy import LazyTensor

_GAIN, _DIRECTION, _FOLDED = ".weight_g", ".weight_v", ".weight"
_CONV1D = re.compile(r"gpt\.h\.\d+\.(attn\.c_attn|attn\.c_proj|mlp\.c_fc|mlp\.c_proj)\.weight")


def is_transposed(name: str) -> bool:
    """Whether the published tensor of this name is stored `[in, out]`."""
    return _CONV1D.fullmatch(name) is not None


def transpose_conv1d(tensors: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
    """GPT-2 matrices as `[out, in]`; everything else unchanged."""

    def transposed(tensor: LazyTensor) -> LazyTensor:
        return LazyTensor.made_from(
            tensor, shape=tensor.shape[::-1], dtype=tensor.dtype, by=lambda value: value.t().contiguous()
        )

    return {
        name: transposed(tensor) if is_transposed(name) and len(tensor.shape) == 2 else tensor
        for name, tensor in tensors.items()
    }


def fold_weight_norm(tensors: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
    """Each complete pair `weight_g`, `weight_v` as one `weight`.

    An incomplete pair, or a gain that does not fit its direction, stays unchanged: the check against the network
    reports it.
    """
    folded: dict[str, LazyTensor] = {}
    for name, tensor in tensors.items():
        stem = name.removesuffix(_DIRECTION)
        gain = tensors.get(stem + _GAIN) if name.endswith(_DIRECTION) else None
        if gain is not None and _fits(gain.shape, tensor.shape):
            folded[stem + _FOLDED] = _fold(gain, tensor)
        elif not (name.endswith(_GAIN) and _has_direction(name, tensor, tensors)):
            folded[name] = tensor
    return folded


def folded_weight(gain: Tensor, direction: Tensor) -> Tensor:
    """`gain * direction / ||direction||` in float32; the norm is computed in float64."""
    dims = [i for i, size in enumerate(gain.shape) if size == 1 and direction.shape[i] != 1]
    norm = direction.to(torch.float64).square().sum(dims or (), keepdim=True).sqrt() if dims else direction.abs()
    return direction * (gain.to(torch.float64) / norm).to(torch.float32)


def _fold(gain: LazyTensor, direction: LazyTensor) -> LazyTensor:
    return LazyTensor.made_from(gain, direction, shape=direction.shape, dtype=torch.float32, by=folded_weight)


def _has_direction(name: str, gain: LazyTensor, tensors: Mapping[str, LazyTensor]) -> bool:
    direction = tensors.get(name.removesuffix(_GAIN) + _DIRECTION)
    return direction is not None and _fits(gain.shape, direction.shape)


def _fits(gain: tuple[int, ...], direction: tuple[int, ...]) -> bool:
    return len(gain) == len(direction) and all(g in (1, d) for g, d in zip(gain, direction, strict=True))
