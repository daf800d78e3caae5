"""A tensor that is read only when it is wanted, so that a checkpoint of any size is converted in little memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LazyTensor:
    """Shape and number format are known at once; `load` reads the values, each time anew."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    load: Callable[[], Tensor]

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @classmethod
    def of(cls, tensor: Tensor) -> LazyTensor:
        """A tensor that is in memory, or mapped, already."""
        return cls(tuple(tensor.shape), tensor.dtype, lambda: tensor)
