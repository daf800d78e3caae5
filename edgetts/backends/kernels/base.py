"""What a kernel is: a way to multiply by a quantized weight. And the reference, which works everywhere.

In: a weight as the pack stores it (`Quantized`, (O, I)) and activations (R, I). Out: (R, O) in the type of the
activations. Shapes: R rows, O outputs, I inputs, G values of a group.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from edgetts.pack.schemes import Quantized

DEQUANTIZED = "dequantized"  # not a kernel: weights are dequantized when they are loaded, and stay so
REFERENCE = "dequantize-per-call"

EXACT, BF16 = 1e-3, 1e-2  # largest relative error, by what the products are made in
CPU, CUDA, ANY = ("cpu",), ("cuda",), ("cpu", "cuda")
FEW_ROWS = 16  # up to here a kernel made for decoding beats dequantizing
_BLOCK_VALUES = 1 << 22  # dequantized at once


@dataclass(frozen=True)
class Epilogue:
    """What is done to a product (R, O) before it is written: bias (O,), then GELU (tanh), then residual (R, O)."""

    bias: Tensor | None = None
    gelu: bool = False
    residual: Tensor | None = None

    def __call__(self, y: Tensor) -> Tensor:
        """By PyTorch, for kernels that cannot do it themselves."""
        if self.bias is not None:
            y = y + self.bias.to(y.dtype)
        if self.gelu:
            y = F.gelu(y, approximate="tanh")
        return y if self.residual is None else y + self.residual


@dataclass(frozen=True)
class Kernel:
    """`pack` makes what `multiply` wants, once, at load. `tolerance`: largest relative error against the reference.

    `fused`: the same with an `Epilogue`, in one pass; None: it is done afterwards. `needs_stored`: whether the stored
    weight is read by `multiply`; if not it is freed, and on a GPU only one form of it is resident.
    """

    name: str
    scheme: str
    devices: tuple[str, ...]
    tolerance: float
    pack: Callable[[Quantized], Any]
    multiply: Callable[[Any, Tensor, Tensor | None], Tensor]  # packed, x (R, I), bias (O,) -> (R, O)
    fused: Callable[[Any, Tensor, Epilogue], Tensor] | None = None
    needs_stored: bool = True

    def multiply_then(self, packed: Any, x: Tensor, epilogue: Epilogue) -> Tensor:
        """The product (R, O) with its epilogue."""
        if self.fused is not None:
            return self.fused(packed, x, epilogue)
        return Epilogue(None, epilogue.gelu, epilogue.residual)(self.multiply(packed, x, epilogue.bias))


@dataclass(frozen=True)
class Repacked:
    """A weight in a library's own layout. `stored`: beside it for many rows, on the CPU the mapped file."""

    tensors: tuple[Tensor, ...]
    stored: Quantized


def keep(weight: Quantized) -> Quantized:
    """The weight as it is stored."""
    return weight


def dequantize(weight: Quantized, x: Tensor, bias: Tensor | None) -> Tensor:
    """The reference: a few outputs at a time, so that the weight is never there as a whole."""
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
    """A kernel's product for decoding; more rows are multiplied by the dequantized weight."""

    def multiply(packed: Repacked, x: Tensor, bias: Tensor | None) -> Tensor:
        if len(x) > FEW_ROWS:
            return dequantize(packed.stored, x, bias)
        y = few(packed, x).to(x.dtype)
        return y if bias is None else y + bias.to(y.dtype)

    return multiply


def on_device(x: Tensor) -> AbstractContextManager[object]:
    """Around launches by libraries that take the current device, whatever their tensors are on."""
    return torch.cuda.device(x.device) if x.is_cuda else contextlib.nullcontext()


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Norm of the difference over norm of the expected."""
    wide = expected.to(torch.float64)
    return float((found.to(torch.float64) - wide).norm() / wide.norm().clamp_min(torch.finfo(torch.float32).tiny))
