"""Linear and embedding layers with quantized weights, and the replacement of a network's layers by them.

In: a plain network and its quantized tensors as the pack stores them. Out: the same network with each `nn.Linear` and
`nn.Embedding` replaced whose weight is quantized; replacements are counted and checked. `kernels` chooses the kernel.

    gpt = registry.GPT.load(pack, device, replace=replacer(KernelChoice(device)))
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from edgetts.backends.kernels import DEQUANTIZED, Epilogue, Kernel, KernelChoice
from edgetts.backends.kernels.base import Rounding
from edgetts.native.huge_pages import finish_block
from edgetts.pack.schemes import Quantized

_WEIGHT = ".weight"


class QuantizedLinear(nn.Module):
    """`nn.Linear` over a quantized weight (O, I). The loader of the network loads the bias."""

    def __init__(self, weight: Quantized, kernel: Kernel, *, bias: bool) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.kernel = kernel
        self.scheme = weight.scheme
        self._packed = kernel.pack(weight)
        self._stored = (
            weight if kernel.needs_stored else None
        )  # freed where the kernel does not read it, to save GPU memory
        self.bias = nn.Parameter(torch.empty(self.out_features, device="meta")) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """x (..., I) -> (..., O)."""
        rows = x.reshape(-1, self.in_features)
        return self.kernel.multiply(self._packed, rows, self.bias).reshape(*x.shape[:-1], self.out_features)

    def then(self, x: Tensor, *, gelu: bool = False, residual: Tensor | None = None) -> Tensor:
        """As the function `then`; fused where the kernel supports it."""
        shape = (*x.shape[:-1], self.out_features)
        flat = None if residual is None else residual.reshape(-1, self.out_features)
        epilogue = Epilogue(self.bias, gelu, flat)
        return self.kernel.multiply_then(self._packed, x.reshape(-1, self.in_features), epilogue).reshape(shape)

    @property
    def packed(self) -> object:
        """The weight in the kernel's layout, for code that calls its library directly."""
        return self._packed

    @property
    def weight(self) -> Tensor:
        """The dequantized weight (O, I), computed at each access."""
        if self._stored is not None:
            return self._stored.decode()
        packed: Any = self._packed  # only the kernel's layout is resident: multiply by the identity
        device = next(part.device for part in packed if isinstance(part, Tensor))
        return self.kernel.multiply(packed, torch.eye(self.in_features, device=device), None).t()

    def extra_repr(self) -> str:
        how = f"{self.scheme} by {self.kernel.name}"
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}, {how}"


def then(layer: nn.Module, x: Tensor, *, gelu: bool = False, residual: Tensor | None = None) -> Tensor:
    """A linear layer of x (..., I), quantized or not, then GELU (tanh), then a residual (..., O) added."""
    if isinstance(layer, QuantizedLinear):
        return layer.then(x, gelu=gelu, residual=residual)
    return Epilogue(None, gelu, residual)(layer(x))


class QuantizedEmbedding(nn.Module):
    """`nn.Embedding` over int8 rows with one scale each. Output: (..., C) in `dtype`."""

    def __init__(self, weight: Quantized, dtype: torch.dtype) -> None:
        super().__init__()
        self._stored = weight
        self._dtype = dtype

    def forward(self, ids: Tensor) -> Tensor:
        codes, scales = self._stored.parts["codes"][ids], self._stored.parts["scales"][ids]
        return (codes.to(torch.float32) * scales.unsqueeze(-1)).to(self._dtype)

    @property
    def weight(self) -> Tensor:
        """The dequantized rows, computed at each access."""
        return self._stored.decode(self._dtype)


def replacer(
    choice: KernelChoice, dtype: torch.dtype = torch.float32
) -> Callable[[nn.Module, Mapping[str, Quantized]], Collection[str]]:
    """The `replace` argument of `Pack.module`. dtype: of embeddings and of the rest of the network."""

    def replace(module: nn.Module, quantized: Mapping[str, Quantized]) -> Collection[str]:
        return replace_layers(module, quantized, choice, dtype)

    return replace


def replace_layers(
    module: nn.Module, quantized: Mapping[str, Quantized], choice: KernelChoice, dtype: torch.dtype
) -> set[str]:
    """Replace, in place, each linear or embedding layer of `module` whose weight is among `quantized`.

    Returns the names of the tensors used; the caller dequantizes the others (convolutions and the like).
    Raises RuntimeError if a linear layer with a quantized weight was not replaced.
    """
    if choice.wanted == DEQUANTIZED:
        return set()
    finish_block()  # given back alone, when this network is
    taken: set[str] = set()
    n_linears = 0
    for name, weight in quantized.items():
        path = name.removesuffix(_WEIGHT)
        owner = module.get_submodule(path) if name.endswith(_WEIGHT) else None
        layer: nn.Module | None = None
        # Exactly these classes: subclasses may use their weights differently.
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
    if found != n_linears or left:  # a layer shared by two names, or not reachable by its name
        raise RuntimeError(
            f"{found} of {n_linears} quantized linear layers of {type(module).__name__} were replaced; left: {left}"
        )
    return taken


def kernels_used(module: nn.Module) -> dict[str, int]:
    """Number of linear layers per kernel, for reports."""
    used: dict[str, int] = {}
    for layer in module.modules():
        if isinstance(layer, QuantizedLinear):
            used[layer.kernel.name] = used.get(layer.kernel.name, 0) + 1
    return used


def roundings_of(module: nn.Module) -> set[Rounding]:
    """What the kernels of its linear layers round activations or products to."""
    kernels = {layer.kernel for layer in module.modules() if isinstance(layer, QuantizedLinear)}
    return {kernel.rounds_to for kernel in kernels if kernel.rounds_to is not None}
