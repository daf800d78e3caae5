"""Builds a pack from tensors of any source; shared by `convert` and `quantize`.

In: a `Source` (lazy tensors by component, and the pack's metadata) and a `Storage` per component. Out: a pack folder.
One tensor is in memory at a time, and an interrupted run is resumed. It knows no file format but the pack's, and no
recipes.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgetts.errors import PackError
from edgetts.families import family_of
from edgetts.pack.config import ModelConfig
from edgetts.pack.entries import SchemeGroup
from edgetts.pack.strict import to_dict
from edgetts.progress import CountedProgress
from edgetts.quant.lazy import LazyTensor
from edgetts.quant.schemes import PLAIN, Encode, SchemeRule, round_to_nearest
from edgetts.quant.tensor_file import TensorFilePlan
from edgetts.quant.writer import PackWriter

Tensors = dict[str, LazyTensor]
# Measures a complete pack before it is published, and may add files to it; returns the quality table.
Measure = Callable[[PackWriter], Mapping[str, Any]]

# Small; rounding them would change the codes of recordings and the choice of emotion vectors.
ALWAYS_FP32 = ("semantic_statistics", "quantizer", "emotion")

_FORMAT_OF_FINGERPRINTS = 3  # increment when a code change changes the output


@dataclass
class Source:
    """The input of a pack.

    `components`: emptied while they are written, to release mapped files. `schemes`: tensors already quantized.
    `identity`: plain values that change when the tensors do. `add_files`: adds tokenizer, glossary and ready voices.
    `encoder_id`: None if it is to be computed from the tensors, which are then the originals.
    """

    config: ModelConfig
    name: str
    license: str
    text: Mapping[str, Any]
    components: dict[str, Tensors]
    identity: Mapping[str, Any]
    add_files: Callable[[PackWriter], None]
    description: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    encoder_id: str | None = None
    without: tuple[str, ...] = ()  # features that the model lacks
    schemes: Mapping[str, Mapping[str, SchemeGroup]] = field(default_factory=dict)
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Storage:
    """How one component is stored: `dtype` of its plain tensors, and the rules that quantize others."""

    dtype: str
    rules: tuple[SchemeRule, ...] = ()


@dataclass(frozen=True)
class Built:
    """The result. `reused`: components from an interrupted run."""

    path: Path
    n_bytes: int  # of all files that the manifest lists
    seconds: float
    reused: tuple[str, ...]


def plan_bytes(source: Source, storage: Mapping[str, Storage]) -> dict[str, int]:
    """Stored bytes of each component. Raises PackError for tensors that their scheme cannot store."""
    _refuse_requantizing(source, storage)
    return {
        name: TensorFilePlan(name, tensors, storage[name].dtype, storage[name].rules).n_bytes
        for name, tensors in source.components.items()
    }


def build_pack(
    source: Source,
    target: Path,
    storage: Mapping[str, Storage],
    *,
    recipe: str,
    force: bool = False,
    progress: CountedProgress | None = None,
    encoders: Mapping[str, Encode] | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    defaults: Mapping[str, Any] | None = None,
    measure: Measure | None = None,
) -> Built:
    """Write a pack. encoders: by component, where quantization is more than rounding.

    settings: plain values that determine an encoder's result, by component. defaults: synthesis options, over the
    source's. Raises PackError, UsageError, CheckpointError.
    """
    started = time.monotonic()
    total = sum(plan_bytes(source, storage).values())
    done = 0
    writer = PackWriter(
        target,
        source.config,
        name=source.name,
        recipe=recipe,
        license=source.license,
        description=source.description,
        text=source.text,
        defaults={**source.defaults, **(defaults or {})},
        encoder_id=source.encoder_id,
        without=source.without,
        force=force,
    )
    with writer:
        for component in family_of(source.config).components:
            report = None
            if progress is not None:
                progress(component, done, total)

                def report(n_bytes: int, component: str = component) -> None:
                    nonlocal done
                    done += n_bytes
                    progress(component, done, total)

            writer.add_component(
                component,
                source.components.pop(component),
                dtype=storage[component].dtype,
                rules=storage[component].rules,
                fingerprint=_fingerprint(source, storage[component], (settings or {}).get(component)),
                progress=report,
                encode=(encoders or {}).get(component, round_to_nearest),
            )
        source.add_files(writer)
        writer.finish(None if measure is None else lambda _folder: measure(writer))
    return Built(target, writer.n_bytes, time.monotonic() - started, tuple(writer.reused))


def _fingerprint(source: Source, storage: Storage, settings: Mapping[str, Any] | None) -> str:
    """A hash of everything that determines the output; a file of an interrupted run is reused if it is equal."""
    table = {
        "version": _FORMAT_OF_FINGERPRINTS,
        "source": dict(source.identity),
        "config": to_dict(source.config),
        "storage": to_dict(storage),
        "settings": dict(settings or {}),
    }
    return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()


def _refuse_requantizing(source: Source, storage: Mapping[str, Storage]) -> None:
    """Raise PackError for quantized tensors that would be quantized again with another scheme."""
    for component, schemes in source.schemes.items():
        for name, group in schemes.items():
            tensor = source.components[component][name]
            rule = next((r for r in storage[component].rules if r.applies(name, tensor.shape, tensor.dtype)), None)
            if rule is None or rule.scheme == PLAIN:
                continue
            if (rule.scheme, rule.group_size) != (group.scheme, group.group_size):
                raise PackError(
                    f"{name} of {component} is stored as {group.scheme} already, and quantizing it again as "
                    f"{rule.scheme} would accumulate errors: start from the checkpoint, or from a pack made with "
                    "`edgetts convert`."
                )
