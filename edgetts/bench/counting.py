"""Counts operations and weight bytes of networks that are never loaded.

In: a component and dimensions. Out: networks on the meta device, floating-point operations of a call, bytes of stored
weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from edgetts.models import registry
from edgetts.pack.config import ModelConfig
from edgetts.pack.load import Pack
from edgetts.pack.meta_init import ModuleT, init_on_meta
from edgetts.pack.schemes import Quantized

_META = torch.device("meta")
_LOOKED_UP = ("embedding", ".emb.", "speed_emb")  # tables of which only one row is read


def on_meta(network: registry.Component[ModuleT], config: ModelConfig) -> ModuleT:
    """The network on the meta device, in eval mode, because norms in training mode refuse a batch of one."""
    return init_on_meta(lambda: network.build(config)).eval().requires_grad_(False)


def flops(run: Callable[[], Any]) -> float:
    """Floating-point operations of a call."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        run()
    return float(counter.get_total_flops())


def meta(*shape: int) -> Tensor:
    """A tensor without values."""
    return torch.empty(shape, device=_META)


def weight_bytes(pack: Pack, component: str, prefix: str = "") -> float:
    """Bytes of a component's weights as they are stored, without tables that are only looked up."""
    total = 0
    for name, tensor in pack.stored(component).items():
        if not name.startswith(prefix) or any(part in name for part in _LOOKED_UP):
            continue
        parts = tensor.parts.values() if isinstance(tensor, Quantized) else (tensor,)
        total += sum(part.numel() * part.element_size() for part in parts)
    return float(total)
