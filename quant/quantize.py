"""The quantization pass: from a checkpoint or a pack to a smaller pack, with its quality measured.

In: the path of the weights, and a recipe. Out: a pack folder, complete or not at all. `build` writes and resumes as for
`convert`; the recipe says what is quantized how; `report` measures the result. If calibration or comparison must run a
checkpoint, it is first converted to a temporary reference pack beside the target.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from edgetts.errors import PackError, UsageError
from edgetts.pack.entries import MANIFEST_FILE
from edgetts.pack.load import Pack, open_pack
from edgetts.progress import CountedProgress
from edgetts.quant import calibrate, gptq, hqq, report
from edgetts.quant.build import Source, Storage, build_pack
from edgetts.quant.components import check_voice, enrollment_notice
from edgetts.quant.convert import open_checkpoint
from edgetts.quant.machine import this_machine
from edgetts.quant.recipe import AUTO, Recipe, check_fits, choose_recipe, describe, keep_quantized, load_recipe
from edgetts.quant.schemes import Encode, Parts, SchemeRule, round_to_nearest
from edgetts.quant.source import open_pack_source
from edgetts.quant.staging import finish_removal, remove_pack
from edgetts.quant.target import check_target, own_pack
from edgetts.quant.writer import PackWriter

GPT = "gpt"
_INTERMEDIATE = "Intermediate of quantizing, from "  # prefix of the description of a reference pack


@dataclass(frozen=True)
class Quantization:
    """The result. `reason`: why this recipe, if it was chosen automatically."""

    path: Path
    recipe: str
    reason: str
    n_bytes: int
    seconds: float
    reused: tuple[str, ...]  # components from an interrupted run
    quality: Mapping[str, Any] | None
    kept: Mapping[str, int]  # by component: tensors that keep the source's form instead of the recipe's
    notice: str | None = None  # what the pack cannot do


def quantize(
    source_path: str | Path,
    pack_dir: str | Path,
    recipe: str = AUTO,
    *,
    force: bool = False,
    measure: bool = True,
    texts: Sequence[str] | None = None,
    voice: str | Path | None = None,
    hub_caches: Sequence[Path] = (),
    home: Path | None = None,
    progress: CountedProgress | None = None,
    judge: report.Judge | None = None,
) -> Quantization:
    """Make a pack from a recipe: a built-in name, a TOML file, or "auto" for this machine.

    measure: compare the result with its source and write the report. texts, voice: for calibration and measurement
    (default: built-in texts; the pack's first ready voice, or a built-in recording). hub_caches: as of `convert`. home:
    as of `open_pack`. judge: further measurements of the finished pack for the report. Raises UsageError,
    CheckpointError, PackError.
    """
    recipe, reason = resolve_recipe(recipe)
    plan = load_recipe(recipe)
    target = check_target(pack_dir, force=force, source=source_path)
    path = Path(source_path)
    speech = calibrate.Speech(tuple(texts) if texts is not None else None, None if voice is None else Path(voice))
    reference: Path | None = None
    kept: dict[str, int] = {}
    if (path / MANIFEST_FILE).is_file():
        source = open_pack_source(path, home)
        plan, kept = keep_quantized(plan, source)
    else:
        source = open_checkpoint(path, hub_caches)
        check_fits(plan, source)  # check before hours of work
        if measure or plan.needs_calibration:
            check_voice(source.config, speech.voice)
            path = reference = _reference_pack(source, target, home, progress)
            source = dataclasses.replace(open_pack_source(path, home), description=source.description)
    sizes = check_fits(plan, source)
    original = open_pack(path, home=home) if measure or plan.needs_calibration else None
    if original is not None:
        check_voice(source.config, speech.voice, original.manifest.ready_voices())

    encoders: dict[str, Encode] = dict.fromkeys(source.components, encode)
    if plan.needs_calibration and original is not None:
        encoders[GPT] = _Calibrated(plan, original, speech, source, progress)
    made: dict[str, Any] = {}

    def compare(writer: PackWriter) -> Mapping[str, Any]:
        assert original is not None
        made.update(report.measure(writer, original, plan, sizes, speech, progress, judge))
        return made

    built = build_pack(
        source,
        target,
        plan.storage,
        recipe=plan.name,
        force=force,
        progress=progress,
        encoders=encoders,
        settings={GPT: {"calibration": describe(plan)["calibration"], "speech": speech.identity()}}
        if plan.needs_calibration
        else None,
        defaults=plan.defaults,
        measure=compare if measure else None,
    )
    if reference is not None:
        remove_pack(reference)
    return Quantization(
        target,
        plan.name,
        reason,
        built.n_bytes,
        built.seconds,
        built.reused,
        made or None,
        kept,
        enrollment_notice(source.config),
    )


def resolve_recipe(recipe: str) -> tuple[str, str]:
    """The recipe name, and for "auto" the reason of the choice, as the end of a sentence."""
    return choose_recipe(this_machine()) if recipe == AUTO else (recipe, "")


def encode(name: str, weight: Tensor, rule: SchemeRule) -> Parts:
    """The parts of a tensor by a method without calibration."""
    return hqq.encode(name, weight, rule) if rule.method == "hqq" else round_to_nearest(name, weight, rule)


class _Calibrated:
    """Encodes the GPT. Calibration of all layers runs when the first tensor needs it, so not for a reused component."""

    def __init__(
        self, plan: Recipe, pack: Pack, speech: calibrate.Speech, source: Source, progress: CountedProgress | None
    ) -> None:
        self._plan = plan
        self._pack = pack
        self._speech = speech
        self._source = source
        self._progress = progress
        self._parts: dict[str, Parts] | None = None

    def __call__(self, name: str, weight: Tensor, rule: SchemeRule) -> Parts:
        if rule.method != "gptq":
            return encode(name, weight, rule)
        if self._parts is None:
            assert self._plan.calibration is not None
            self._parts = gptq.quantize_gpt(
                self._pack, self._plan.storage[GPT].rules, self._plan.calibration, self._speech, encode, self._progress
            )
        return self._parts.pop(name)


def _reference_pack(source: Source, target: Path, home: Path | None, progress: CountedProgress | None) -> Path:
    """The checkpoint as an fp32 pack beside the target; one of an interrupted run is reused."""
    folder = target.with_name(f".{target.name}.reference")
    digest = hashlib.sha256(json.dumps(source.identity, sort_keys=True, default=str).encode()).hexdigest()
    marked = f"{_INTERMEDIATE}{digest}"
    finish_removal(folder)
    if os.path.lexists(folder):
        described = own_pack(folder).description
        if not described.startswith(_INTERMEDIATE):
            raise UsageError(
                f"{folder} is needed as a work folder, but holds another pack: rename it, or give another name for "
                "the new pack."
            )
        with contextlib.suppress(PackError):  # damaged: made again
            open_pack(folder, home=home)
            if described == marked:
                return folder
    source = dataclasses.replace(source, description=marked)
    stored = {component: Storage("float32") for component in source.components}
    return build_pack(source, folder, stored, recipe="reference-fp32", force=True, progress=progress).path
