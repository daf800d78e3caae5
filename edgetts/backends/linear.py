"""Layers that compute with quantized weights, and how they take the place of a network's own.

In: a network built by its own file, which never heard of quantization, and its quantized tensors as the pack
stores them. Out: the same network with its `nn.Linear` and `nn.Embedding` layers replaced where the weight is
quantized, and every replacement counted. Which kernel multiplies is `kernels`' affair.

    gpt = registry.GPT.load(pack, device, replace=replacer(KernelChoice(device)))
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from edgetts.backends.kernels import DEQUANTIZED, Epilogue, Kernel, KernelChoice
from edgetts.pack.schemes import Quantized

_WEIGHT = ".weight"


class QuantizedLinear(nn.Module):
    """`nn.Linear` over a quantized weight (O, I). The bias is loaded by whoever loads the network."""

    def __init__(self, weight: Quantized, kernel: Kernel, *, bias: bool) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.kernel = kernel
        self.scheme = weight.scheme
        self._packed = kernel.pack(weight)
        self._stored = weight if kernel.needs_stored else None  # on a GPU, where it would be there twice
        self.bias = nn.Parameter(torch.empty(self.out_features, device="meta")) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """x (..., I) -> (..., O)."""
        rows = x.reshape(-1, self.in_features)
        return self.kernel.multiply(self._packed, rows, self.bias).reshape(*x.shape[:-1], self.out_features)

    def then(self, x: Tensor, *, gelu: bool = False, residual: Tensor | None = None) -> Tensor:
        """`forward`, then GELU (tanh), then a residual (..., O) added: in one pass where the kernel can."""
        shape = (*x.shape[:-1], self.out_features)
        flat = None if residual is None else residual.reshape(-1, self.out_features)
        epilogue = Epilogue(self.bias, gelu, flat)
        return self.kernel.multiply_then(self._packed, x.reshape(-1, self.in_features), epilogue).reshape(shape)

    @property
    def packed(self) -> object:
        """What the kernel made of the weight, for code that calls the kernel's library itself."""
        return self._packed

    @property
    def weight(self) -> Tensor:
        """The weight (O, I) itself, made anew each time, for code that looks at it."""
        if self._stored is not None:
            return self._stored.decode()
        packed: Any = self._packed  # the kernel's layout alone is resident: it is asked for every column
        device = next(part.device for part in packed if isinstance(part, Tensor))
        return self.kernel.multiply(packed, torch.eye(self.in_features, device=device), None).t()

    def extra_repr(self) -> str:
        how = f"{self.scheme} by {self.kernel.name}"
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}, {how}"


class QuantizedEmbedding(nn.Module):
    """`nn.Embedding` over int8 rows with a scale each; rows (..., C) come out as `dtype`."""

    def __init__(self, weight: Quantized, dtype: torch.dtype) -> None:
        super().__init__()
        self._stored = weight
        self._dtype = dtype

    def forward(self, ids: Tensor) -> Tensor:
        codes, scales = self._stored.parts["codes"][ids], self._stored.parts["scales"][ids]
        return (codes.to(torch.float32) * scales.unsqueeze(-1)).to(self._dtype)

    @property
    def weight(self) -> Tensor:
        """The rows themselves, decoded anew each time, for code that looks at them."""
        return self._stored.decode(self._dtype)


def replacer(
    choice: KernelChoice, dtype: torch.dtype = torch.float32
) -> Callable[[nn.Module, Mapping[str, Quantized]], Collection[str]]:
    """What `Pack.module` calls to have layers replaced. dtype: of embeddings, as of the rest of the network."""

    def replace(module: nn.Module, quantized: Mapping[str, Quantized]) -> Collection[str]:
        return replace_layers(module, quantized, choice, dtype)

    return replace


def replace_layers(
    module: nn.Module, quantized: Mapping[str, Quantized], choice: KernelChoice, dtype: torch.dtype
) -> set[str]:
    """Replace, in place, each linear or embedding layer of `module` whose weight is among `quantized`.

    Returns the names of the tensors that were taken; the others (convolutions and the like) are to be decoded.
    Raises RuntimeError when not every linear layer with a quantized weight was replaced.
    """
    if choice.wanted == DEQUANTIZED:
        return set()
    taken: set[str] = set()
    n_linears = 0
    for name, weight in quantized.items():
        path = name.removesuffix(_WEIGHT)
        owner = module.get_submodule(path) if name.endswith(_WEIGHT) else None
        layer: nn.Module | None = None
        # Exactly these classes: what is derived from them may use its weight in another way.
        if type(owner) is nn.Linear:
            layer = QuantizedLinear(weight, choice(weight), bias=owner.bias is not None)
            n_linears += 1
        elif type(owner) is nn.Embedding and weight.scheme == "int8_channel":
            layer = QuantizedEmbedding(weight, dtype)
        if layer is not None:
            module.set_submodule(path, layer)
            taken.add(name)
    found = sum(isinstance(m, QuantizedLinear) for m in module.modules())
    left = [n for n, m in module.named_modules() if type(m) is nn.Linear and n + _WEIGHT in quantized]
    if found != n_linears or left:  # a layer shared by two names, or one that is not reached by its name
        raise RuntimeError(
            f"{n_linears} linear layers were to be replaced in {type(module).__name__}, and {found} were; left: {left}"
        )
    return taken


def kernels_used(module: nn.Module) -> dict[str, int]:
    """How many linear layers each kernel serves in a network, for `edgetts info` and reports."""
    used: dict[str, int] = {}
    for layer in module.modules():
        if isinstance(layer, QuantizedLinear):
            used[layer.kernel.name] = used.get(layer.kernel.name, 0) + 1
    return used
