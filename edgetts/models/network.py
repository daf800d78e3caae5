"""A network of a family: how it is built from the dimensions, and what of the published file it leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic

from edgetts.pack.meta_init import ModuleT


@dataclass(frozen=True)
class Network(Generic[ModuleT]):
    """build: from the family's `ModelConfig`. extras: published tensors (fnmatch patterns) that the network does not
    have."""

    build: Callable[[Any], ModuleT]
    extras: tuple[str, ...] = ()
