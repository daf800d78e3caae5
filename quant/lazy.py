"""Lazy tensors: values are read on demand, so that a checkpoint of any size is converted in little memory."""

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
    """Shape and dtype are known at once; `load` reads the values at each call.

    `give_back`: releases the pages of a mapped file; loaded values stay valid. `quantized`: the stored form in the
    source, if it is quantized.
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
        """A tensor in memory."""
        return cls(tuple(tensor.shape), tensor.dtype, lambda: tensor)

    @classmethod
    def of_file(cls, tensor: Tensor) -> LazyTensor:
        """A tensor in a mapped file, which must not be changed."""
        return cls(tuple(tensor.shape), tensor.dtype, lambda: tensor, lambda: mapped.give_back(tensor))

    @classmethod
    def made_from(
        cls, *sources: LazyTensor, shape: tuple[int, ...], dtype: torch.dtype, by: Callable[..., Tensor]
    ) -> LazyTensor:
        """The result of `by` on the values of other tensors."""

        def give_back() -> None:
            for source in sources:
                source.give_back()

        return cls(shape, dtype, lambda: by(*(source.load() for source in sources)), give_back)
