"""The `Kernel` interface for products with quantized weights, and the reference that works everywhere.

In: a weight as the pack stores it (`Quantized`, (O, I)) and activations (R, I). Out: (R, O) in the dtype of the
activations. Shapes: R rows, O outputs, I inputs, G values of a group.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from edgetts.pack.schemes import Quantized

DEQUANTIZED = "dequantized"  # not a kernel: weights are dequantized at load
REFERENCE = "dequantize-per-call"

EXACT, BF16 = 1e-3, 1e-2  # largest relative error, by precision of the products
Rounding = Literal["int16", "float16", "bfloat16", "int8"]
EXACT_ROUNDINGS: tuple[Rounding | None, ...] = (None, "int16")  # those of the compute mode `exact`
CPU, CUDA, ANY = ("cpu",), ("cuda",), ("cpu", "cuda")
FEW_ROWS = 16  # up to here a decoding kernel beats dequantizing
_BLOCK_VALUES = 1 << 22  # values dequantized at a time


@dataclass(frozen=True)
class Epilogue:
    """Operations on a product (R, O) before it is written: bias (O,), then GELU (tanh), then residual (R, O)."""

    bias: Tensor | None = None
    gelu: bool = False
    residual: Tensor | None = None

    def __call__(self, y: Tensor) -> Tensor:
        """In PyTorch, for kernels without a fused epilogue."""
        if self.bias is not None:
            y = y + self.bias.to(y.dtype)
        if self.gelu:
            y = F.gelu(y, approximate="tanh")
        return y if self.residual is None else y + self.residual


@dataclass(frozen=True)
class Kernel:
    """`pack` converts a weight once, at load, for `multiply`. `tolerance`: largest relative error against the
    reference.

    `rounds_to`: what `multiply` rounds activations or products to; None: it multiplies in the activations' dtype.
    `fused`: `multiply` with an `Epilogue` in one pass; None: the epilogue runs afterwards. `needs_stored`: whether
    `multiply` reads the stored weight; if not it is freed, so that a GPU holds one form only.
    """

    name: str
    scheme: str
    devices: tuple[str, ...]
    tolerance: float
    pack: Callable[[Quantized], Any]
    multiply: Callable[[Any, Tensor, Tensor | None], Tensor]  # packed, x (R, I), bias (O,) -> (R, O)
    _: KW_ONLY
    rounds_to: Rounding | None  # no default: accuracy is judged, and kernels are chosen, by it
    fused: Callable[[Any, Tensor, Epilogue], Tensor] | None = None
    needs_stored: bool = True

    def multiply_then(self, packed: Any, x: Tensor, epilogue: Epilogue) -> Tensor:
        """The product (R, O) with its epilogue."""
        if self.fused is not None:
            return self.fused(packed, x, epilogue)
        return Epilogue(None, epilogue.gelu, epilogue.residual)(self.multiply(packed, x, epilogue.bias))


@dataclass(frozen=True)
class Repacked:
    """A weight in a library's layout. `stored`: the pack's form, for many rows; on the CPU it is the mapped file."""

    tensors: tuple[Tensor, ...]
    stored: Quantized


def keep(weight: Quantized) -> Quantized:
    """A `pack` that keeps the stored form."""
    return weight


def dequantize(weight: Quantized, x: Tensor, bias: Tensor | None) -> Tensor:
    """The reference. It dequantizes a block of outputs at a time, never the whole weight."""
    n_outputs, n_inputs = weight.shape
    step = max(1, _BLOCK_VALUES // n_inputs)
    parts = []
    for start in range(0, n_outputs, step):
        rows = Quantized(
            weight.scheme,
            weight.group_size,
            (min(step, n_outputs - start), n_inputs),
            {name: part[start : start + step] for name, part in weight.parts.items()},
        )
        parts.append(F.linear(x, rows.decode(x.dtype)))
    y = parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
    return y if bias is None else y + bias.to(y.dtype)


def for_few_rows(few: Callable[[Repacked, Tensor], Tensor]) -> Callable[[Any, Tensor, Tensor | None], Tensor]:
    """A `multiply` that uses `few` up to FEW_ROWS rows and the dequantized weight above."""

    def multiply(packed: Repacked, x: Tensor, bias: Tensor | None) -> Tensor:
        if len(x) > FEW_ROWS:
            return dequantize(packed.stored, x, bias)
        y = few(packed, x).to(x.dtype)
        return y if bias is None else y + bias.to(y.dtype)

    return multiply


def on_device(x: Tensor) -> AbstractContextManager[object]:
    """Make x's device current, for libraries that launch on the current device."""
    return torch.cuda.device(x.device) if x.is_cuda else contextlib.nullcontext()


def relative_error(found: Tensor, expected: Tensor) -> float:
    """||found - expected|| / ||expected||."""
    wide = expected.to(torch.float64)
    return float((found.to(torch.float64) - wide).norm() / wide.norm().clamp_min(torch.finfo(torch.float32).tiny))
