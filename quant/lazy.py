"""A tensor that is read only when it is wanted, so that a checkpoint of any size is converted in little memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from edgetts.pack import page_release as mapped
from edgetts.pack.schemes import Quantized


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class LazyTensor:
    """Shape and number format are known at once; `load` reads the values, each time anew.

    `give_back`: what was read from a mapped file need not stay in memory. Values that `load` gave stay right.
    `quantized`: how the tensor is stored where it comes from, if not plainly.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    load: Callable[[], Tensor]
    give_back: Callable[[], None] = _nothing
    quantized: Quantized | None = None

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @classmethod
    def of(cls, tensor: Tensor) -> LazyTensor:
        """A tensor that is in memory and belongs to somebody else."""
        return cls(tuple(tensor.shape), tensor.dtype, lambda: tensor)

    @classmethod
    def of_file(cls, tensor: Tensor) -> LazyTensor:
        """A tensor that lies in a mapped file and that nobody changes."""
        return cls(tuple(tensor.shape), tensor.dtype, lambda: tensor, lambda: mapped.give_back(tensor))

    @classmethod
    def made_from(
        cls, *sources: LazyTensor, shape: tuple[int, ...], dtype: torch.dtype, by: Callable[..., Tensor]
    ) -> LazyTensor:
        """What `by` makes of the values of other tensors."""

        def give_back() -> None:
            for source in sources:
                source.give_back()

        return cls(shape, dtype, lambda: by(*(source.load() for source in sources)), give_back)
