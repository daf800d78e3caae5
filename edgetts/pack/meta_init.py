"""Builds networks on the meta device, without memory or initial values, to be filled from a file.

In: a function that makes the network. Out: the network on the meta device. Initialization is skipped: for meta
tensors torch would load its compiler for it, which takes seconds at every start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def init_on_meta(factory: Callable[[], ModuleT]) -> ModuleT:
    """The network that `factory` makes, on the meta device: names, shapes and structure only."""
    with torch.device("meta"), _WithoutInitialValues():
        return factory()


class _WithoutInitialValues(TorchFunctionMode):
    """Skips the initialization of meta tensors."""

    def __init__(self) -> None:
        super().__init__()
        named = {f for name, f in vars(nn.init).items() if name.endswith("_") and not name.startswith("_")}
        self._skipped = {*named, Tensor.uniform_, Tensor.normal_, Tensor.fill_, Tensor.zero_}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in self._skipped:
            target = args[0] if args else kwargs.get("tensor")
            if isinstance(target, Tensor) and target.is_meta:
                return target
        return func(*args, **kwargs)
