"""Weight norm folded into plain weights, for tests that fill one network with upstream's tensors."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatch
from typing import Any

import torch
from torch import Tensor, nn


def fold_weight_norm(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`X.weight_g` and `X.weight_v` become `X.weight`: g * v / |v|, the norm over all but the first axis."""
    folded: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if name.endswith(".weight_v"):
            gain = tensors[name.removesuffix("_v") + "_g"]
            norm = value.flatten(1).norm(dim=1).view_as(gain)
            folded[name.removesuffix("_v")] = value * (gain / norm)
        elif not name.endswith(".weight_g"):
            folded[name] = value
    return folded


def fill(module: nn.Module, tensors: Mapping[str, Tensor], extras: tuple[str, ...]) -> None:
    """Load upstream's tensors strictly; those the module lacks must be among the expected extras."""
    folded = fold_weight_norm(tensors)
    own = module.state_dict()
    check_extras([name for name in folded if name not in own], extras)
    module.load_state_dict({n: t for n, t in folded.items() if n in own}, strict=True, assign=True)


def check_layout(module: nn.Module, manifest: Mapping[str, Any], extras: tuple[str, ...]) -> None:
    """Names and shapes of the module are those of a published component, except for the expected extras."""
    published = {name: torch.empty(spec["shape"], device="meta") for name, spec in manifest.items()}
    shapes = {name: tuple(t.shape) for name, t in fold_weight_norm(published).items()}
    own = {name: tuple(t.shape) for name, t in module.state_dict().items()}
    check_extras([name for name in shapes if name not in own], extras)
    assert own == {name: shape for name, shape in shapes.items() if name in own}


def check_extras(names: list[str], extras: tuple[str, ...]) -> None:
    """Every name matches a pattern, and every pattern is needed."""
    unknown = [name for name in names if not any(fnmatch(name, pattern) for pattern in extras)]
    assert not unknown, f"not expected as extras: {unknown}"
    unused = [pattern for pattern in extras if not any(fnmatch(name, pattern) for name in names)]
    assert not unused, f"patterns that match nothing: {unused}"
