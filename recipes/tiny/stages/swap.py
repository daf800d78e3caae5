"""Copies a pack with one network replaced; all other files stay byte-identical.

In: a pack and the weights of one component, or their mean with the pack's own. Out: a new pack. It does not know what
depends on the component.

Source of the mean: Wortsman et al. 2022, "Robust fine-tuning of zero-shot models".
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from edgetts.errors import UsageError
from edgetts.pack.config import ModelConfig
from edgetts.pack.entries import MANIFEST_FILE
from edgetts.pack.load import open_pack
from edgetts.pack.manifest import manifest_json
from edgetts.quant.components import component_problems
from edgetts.quant.lazy import LazyTensor
from edgetts.quant.schemes import SchemeRule
from edgetts.quant.tensor_file import TensorFilePlan

Weights = Mapping[str, Tensor]


def mixed(trained: Weights, kept: Weights, share: float) -> dict[str, Tensor]:
    """The weighted mean of two networks, `share` of it from `trained`. Raises UsageError unless 0 < share <= 1."""
    if not 0 < share <= 1:
        raise UsageError(f"The share of the trained network is {share}; it must be above 0 and at most 1.")
    return {name: share * value.float() + (1 - share) * kept[name].float() for name, value in trained.items()}


def swap_component(
    source: Path,
    target: Path,
    component: str,
    weights: Weights,
    model: ModelConfig,
    *,
    dtype: str = "float16",
    rules: Sequence[SchemeRule] = (),
) -> Path:
    """Write a copy of the pack `source` with these weights to `target`, and return it.

    model: the configuration of all networks with the new one. Raises UsageError if `target` exists.
    """
    manifest = open_pack(source).manifest
    if target.exists():
        raise UsageError(f"{target} exists already: give another name.")
    tensors = {name: LazyTensor.of(value.detach().cpu()) for name, value in weights.items()}
    problems = component_problems(component, {name: t.shape for name, t in tensors.items()}, model)
    assert not problems, problems
    shutil.copytree(source, target)
    plan = TensorFilePlan(component, tensors, dtype, rules)
    path = target / manifest.components[component].file
    path.unlink()
    with path.open("wb") as file:
        written = plan.write(file, digests=False)
    changed = dataclasses.replace(
        manifest,
        model=model,
        components={**manifest.components, component: plan.entry(path.name)},
        files={**manifest.files, path.name: written.file},
    )
    (target / MANIFEST_FILE).write_text(manifest_json(changed), encoding="utf-8")
    open_pack(target)
    return target
