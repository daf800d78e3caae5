"""Prepacked convolutions on the CPU: weights are stored in the layout of what multiplies them.

In: an `nn.Conv1d` of any dtype. Out: a layer with the same results, or None where there is no better one.

- `CompiledConv1d`, float32 and bfloat16: our kernel (native/conv.py). oneDNN generates code for each layer and length:
  for the published vocoder 0.5 to 0.8 s and 90 MB for each new length, as long as the products take.
- `PrepackedConv1d`, where ours is not built or the processor has no AVX2: oneDNN's blocked layout. PyTorch's own layer
  reorders the weights at every call, a quarter of the time for short signals. The operators belong to Inductor and may
  be missing in some torch version: `can_prepack` tries one on a small weight and compares.

It does not know which network it is in. Shapes: B batch, C channels, T time, K kernel.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgetts.native.conv import PackedConv, Products, products
from edgetts.native.library import Isa, find_library

_PROBE_CHANNELS, _PROBE_LENGTH, _PROBE_KERNEL = 32, 40, 3
_PROBE_TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 4e-3}  # relative to the largest value
_TYPICAL_LENGTH = 1024  # oneDNN chooses the layout for it
_LEAST_LENGTH = 128  # of outputs: below it oneDNN reorders the weight at every call (10 ms)


def prepacked(plain: nn.Conv1d) -> CompiledConv1d | PrepackedConv1d | None:
    """The fastest form of a convolution with stride 1, zero padding and one group, or None where PyTorch's own is."""
    if plain.weight.device.type != "cpu":
        return None
    if can_compile(plain.weight.dtype):
        return CompiledConv1d(plain)
    return PrepackedConv1d(plain) if can_prepack(plain.weight.dtype) else None


class CompiledConv1d(nn.Module):
    """`nn.Conv1d` with zero padding, stride 1, one group, by our kernel, with float32 bias and sums."""

    def __init__(self, plain: nn.Conv1d) -> None:
        super().__init__()
        library = find_library()
        assert library is not None
        padding = _checked_padding(plain)
        self._packed = PackedConv.pack(library, plain.weight, plain.bias, plain.dilation[0], padding)

    def channels_last(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """(B, T, C) -> (B, T', C'), plus `residual` if given."""
        residual = None if residual is None else residual.contiguous()
        return self._packed(x.contiguous(), residual, n_threads=torch.get_num_threads())

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, C', T')."""
        return self.channels_last(x.transpose(1, 2)).transpose(1, 2).contiguous()


def can_compile(dtype: torch.dtype) -> bool:
    """Whether our kernel is fast for `dtype` on this processor."""
    library = find_library()
    if library is None:
        return False
    if dtype == torch.bfloat16:
        return products(library) != Products.NONE
    return dtype == torch.float32 and library.usable(None) >= Isa.AVX2


class PrepackedConv1d(nn.Module):
    """`nn.Conv1d` with zero padding, stride 1, one group; contiguous (B, C, T) in and out."""

    def __init__(self, plain: nn.Conv1d) -> None:
        super().__init__()
        padding = _checked_padding(plain)
        weight = plain.weight.detach().unsqueeze(2)  # (C_out, C_in, 1, K): the operators take 2-D convolutions
        self._margin = plain.dilation[0] * (weight.shape[-1] - 1) - 2 * padding  # input length minus output length
        self._geometry = ([0, padding], [1, 1], [1, plain.dilation[0]], 1)
        self._weight: Tensor = _operators()._reorder_convolution_weight(
            weight.to(memory_format=torch.channels_last),
            *self._geometry,
            [1, weight.shape[1], 1, _TYPICAL_LENGTH],
        )
        self._bias = None if plain.bias is None else plain.bias.detach().contiguous()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, C', T')."""
        image = x.unsqueeze(2).contiguous(memory_format=torch.channels_last)
        return self.on_image(image).squeeze(2).contiguous()

    def channels_last(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """(B, T, C) -> (B, T', C'), plus `residual` if given."""
        y = self.on_image(x.transpose(1, 2).unsqueeze(2)).squeeze(2).transpose(1, 2)
        return y if residual is None else y.add_(residual)

    def on_image(self, x: Tensor) -> Tensor:
        """(B, C, 1, T) -> (B, C', 1, T'), both in channels-last memory, which is (B, T, C)."""
        length = x.shape[-1] - self._margin
        missing = _LEAST_LENGTH - length
        if missing > 0:
            x = F.pad(x, (0, missing)).contiguous(memory_format=torch.channels_last)
        y: Tensor = _operators()._convolution_pointwise(x, self._weight, self._bias, *self._geometry, "none", [], "")
        return y if missing <= 0 else y[..., :length].contiguous(memory_format=torch.channels_last)


def _checked_padding(plain: nn.Conv1d) -> int:
    if plain.stride != (1,) or plain.groups != 1 or plain.padding_mode != "zeros":
        raise ValueError(f"{plain} is not a plain convolution: it needs stride 1, one group and zero padding")
    assert isinstance(plain.padding, tuple)
    return plain.padding[0]


def _operators() -> Any:
    return torch.ops.mkldnn


@functools.lru_cache(maxsize=8)
def can_prepack(dtype: torch.dtype) -> bool:
    """Whether this torch has the operators for weights of `dtype` and they compute correctly."""
    if dtype not in _PROBE_TOLERANCE:
        return False
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        plain = nn.Conv1d(_PROBE_CHANNELS, _PROBE_CHANNELS, _PROBE_KERNEL, padding=1, device="cpu")
        weight = torch.randn(plain.weight.shape, generator=generator)
        plain.weight, plain.bias = nn.Parameter(weight.to(dtype)), nn.Parameter(weight[:, 0, 0].to(dtype))
        x = torch.randn(1, _PROBE_CHANNELS, _PROBE_LENGTH, generator=generator).to(dtype)
        expected = F.conv1d(x.float(), plain.weight.float(), plain.bias.float(), padding=1)
        try:
            found = PrepackedConv1d(plain)(x).float()
        # Operator missing, other signature or refused: the plain convolution is used, and `Prepared` reports it.
        except (RuntimeError, AttributeError, TypeError):
            return False
    error = (found - expected).abs().max() / expected.abs().max()
    return found.shape == expected.shape and bool(error <= _PROBE_TOLERANCE[dtype])
