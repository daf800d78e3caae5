"""Recipes: strict TOML files that say how a pack for one kind of machine is stored.

In: the name of a built-in recipe, a user's file, or `auto` and a `Machine`. Out: a `Recipe`. Unknown and missing keys,
wrong types, patterns without a match and values out of range are all listed in one error. `recipes/README.md` explains
the keys, `edgetts.quant.schemes` the schemes and methods.
"""

from __future__ import annotations

import dataclasses
import difflib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from edgetts.compute import COMPUTE, check_compute
from edgetts.distribution import recipes_folder
from edgetts.errors import EdgeTTSError, PackError, UsageError
from edgetts.families import ALL_COMPONENTS, FAMILIES, family_of
from edgetts.options import SynthesisOptions
from edgetts.pack.schemes import SCHEMES
from edgetts.pack.strict import from_dict
from edgetts.quant.build import ALWAYS_FP32, Source, Storage, plan_bytes
from edgetts.quant.lazy import LazyTensor
from edgetts.quant.machine import Machine
from edgetts.quant.schemes import METHODS, PLAIN, SchemeRule
from edgetts.quant.tensor_file import DTYPE_NAMES, DTYPES, takes_dtype

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FORMAT = 1
SUFFIX = ".toml"
AUTO = "auto"
STORED_COMPONENTS = tuple(c for c in ALL_COMPONENTS if c not in ALWAYS_FP32)  # components that a recipe configures

_INT4 = "int4_group"  # the only scheme with methods other than round-to-nearest
_CALIBRATED = "gptq"
_MB = 1_000_000
_LARGE_GPU_BYTES = 7 << 30
_SMALL_BOARD_BYTES = 12 << 30  # between the 8 GB and the 16 GB board
_RULE_DEFAULTS = {"group_size": None, "method": "rtn"}


@dataclass(frozen=True)
class CalibrationSettings:
    """Settings of GPTQ. `damping`: fraction of the mean diagonal that is added to the diagonal."""

    n_texts: int
    max_codes: int  # per text
    seed: int
    damping: float
    activation_order: bool  # quantize inputs in order of decreasing second moment


@dataclass(frozen=True)
class Budget:
    """Size limits of the pack in MB (10^6 bytes), checked before anything is written."""

    run_mb: int  # tensors in memory during synthesis
    pack_mb: int


@dataclass(frozen=True)
class Recipe:
    """One recipe. `storage` by component; `defaults`: synthesis options for the machine."""

    name: str
    description: str
    storage: Mapping[str, Storage]
    defaults: Mapping[str, Any]
    calibration: CalibrationSettings | None
    budget: Budget | None

    @property
    def needs_calibration(self) -> bool:
        return any(rule.method == _CALIBRATED for stored in self.storage.values() for rule in stored.rules)


def recipe_names() -> list[str]:
    return sorted(path.stem for path in recipes_folder().glob(f"*{SUFFIX}"))


def load_recipe(wanted: str) -> Recipe:
    """A recipe by name, or by the path of a TOML file. Raises UsageError."""
    names = recipe_names()
    path = Path(wanted)
    if wanted in names:
        path = recipes_folder() / f"{wanted}{SUFFIX}"
    elif not wanted.endswith(SUFFIX) and not path.is_file():
        close = difflib.get_close_matches(wanted, [*names, AUTO], n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {AUTO}, {', '.join(names)}, or give a TOML file."
        raise UsageError(f"Unknown recipe {wanted!r}: {hint}")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"The recipe {wanted} cannot be read ({error.strerror}): check the path.") from error
    except ValueError as error:  # not TOML, not UTF-8
        raise UsageError(f"The recipe {path} is not valid TOML ({error}).") from error
    return parse_recipe(table, str(path))


def parse_recipe(table: Mapping[str, Any], where: str) -> Recipe:
    """A recipe from the values of its file. Raises UsageError listing all problems."""
    problems: list[str] = []
    allowed = ("format", "name", "description", "components", "calibration", "budget", "defaults")
    problems += [f"unknown key {key}" for key in table if key not in allowed]
    problems += [f"missing key {key}" for key in allowed[:4] if key not in table]
    if table.get("format", FORMAT) != FORMAT:
        problems.append(f"format is {table['format']!r}, and this edgetts reads {FORMAT}")
    for key in ("name", "description"):
        if not isinstance(table.get(key, ""), str):
            problems.append(f"{key} must be text")
    storage = _storage(table.get("components", {}), problems)
    calibration = _table(CalibrationSettings, table.get("calibration"), "calibration", problems)
    budget = _table(Budget, table.get("budget"), "budget", problems)
    defaults = table.get("defaults", {})
    options = dict(defaults) if isinstance(defaults, dict) else {"defaults": defaults}
    try:
        if COMPUTE in options:
            check_compute(options.pop(COMPUTE))
        SynthesisOptions.of({}, options)
    except EdgeTTSError as error:
        problems.append(str(error).rstrip("."))
    recipe = Recipe(str(table.get("name")), str(table.get("description")), storage, defaults, calibration, budget)
    if recipe.needs_calibration and calibration is None:
        problems.append(f"method {_CALIBRATED} needs a table [calibration]")
    if problems:
        raise UsageError(f"The recipe {where} is not usable: {'; '.join(problems)}.")
    return recipe


def keep_quantized(recipe: Recipe, source: Source) -> tuple[Recipe, dict[str, int]]:
    """The recipe adapted to a pack as source, and how many tensors of each component keep their stored form.

    Quantized tensors keep their scheme: another scheme would accumulate errors, and none would be larger but not
    better. Likewise, plain tensors in half precision are not widened.
    """
    storage, kept = dict(recipe.storage), {}
    for component, stored in _storage_of(recipe, source).items():
        tensors, schemes = source.components[component], source.schemes.get(component, {})
        rules = []
        for name, group in schemes.items():
            wanted = _wanted(stored, name, tensors[name])
            if wanted is None or (wanted.scheme, wanted.group_size) != (group.scheme, group.group_size):
                rules.append(SchemeRule(name, group.scheme, group.group_size))
        matrices = [
            tensor.dtype
            for name, tensor in tensors.items()
            if name not in schemes and takes_dtype(tensor) and _wanted(stored, name, tensor) is None
        ]
        widest = max(matrices, key=lambda dtype: dtype.itemsize, default=DTYPES[stored.dtype])
        is_narrower = widest.itemsize < DTYPES[stored.dtype].itemsize
        if rules or is_narrower:
            kept[component] = len(rules) + (len(matrices) if is_narrower else 0)
            dtype = DTYPE_NAMES[widest] if is_narrower else stored.dtype
            storage[component] = Storage(dtype, (*rules, *stored.rules))
    return dataclasses.replace(recipe, storage=storage), kept


def _wanted(stored: Storage, name: str, tensor: LazyTensor) -> SchemeRule | None:
    """The rule that quantizes a tensor; None for a plain tensor."""
    rule = next((r for r in stored.rules if r.applies(name, tensor.shape, tensor.dtype)), None)
    return None if rule is None or rule.scheme == PLAIN else rule


def _storage_of(recipe: Recipe, source: Source) -> dict[str, Storage]:
    """The storage of each component of a source. Raises UsageError if the recipe lacks one."""
    lacking = [component for component in source.components if component not in recipe.storage]
    if lacking:
        raise UsageError(
            f"The recipe {recipe.name} does not fit {source.name}: it has no table for {', '.join(lacking)}; add one "
            f"such as [components.{lacking[0]}] with a dtype."
        )
    return {component: recipe.storage[component] for component in source.components}


def check_fits(recipe: Recipe, source: Source) -> dict[str, int]:
    """Bytes of each component under a recipe. Raises UsageError for rules without a match and an exceeded budget."""
    problems = [
        f"the pattern {rule.pattern!r} names no tensor of {component}"
        for component, stored in _storage_of(recipe, source).items()
        for rule in stored.rules
        if not any(fnmatchcase(name, rule.pattern) for name in source.components[component])
    ]
    if problems:
        raise UsageError(f"The recipe {recipe.name} does not fit {source.name}: {'; '.join(problems)}.")
    sizes = plan_bytes(source, recipe.storage)
    if recipe.budget is not None:
        run, total = sum(sizes[c] for c in family_of(source.config).run_components), sum(sizes.values())
        for what, n_bytes, limit in (
            ("run_mb", run, recipe.budget.run_mb),
            ("pack_mb", total, recipe.budget.pack_mb),
        ):
            if n_bytes > limit * _MB:
                problems.append(f"{what} would be {n_bytes / _MB:.0f}, and the budget is {limit}")
    if problems:
        raise UsageError(f"The recipe {recipe.name} does not keep its budget: {'; '.join(problems)}.")
    return sizes


def choose_recipe(machine: Machine) -> tuple[str, str]:
    """Name of the recipe for a machine, and why, as the end of a sentence."""
    if machine.gpu_name is None:
        if machine.is_arm:
            return "cpu-arm64", "there is no CUDA device and the processor is ARM"
        return "cpu-x86", "there is no CUDA device"
    gib = machine.gpu_bytes / (1 << 30)
    seen = f"{machine.gpu_name} has {gib:.0f} GiB"
    if machine.is_arm:
        small = machine.gpu_bytes < _SMALL_BOARD_BYTES
        return ("jetson-orin-nano" if small else "jetson-agx-orin"), f"{seen}, shared with an ARM processor"
    if not machine.has_bf16:
        return "laptop-turing", f"{seen} and no bf16 in hardware"
    return ("laptop-8gb" if machine.gpu_bytes >= _LARGE_GPU_BYTES else "laptop-4gb"), f"{seen} and bf16"


def _storage(table: Any, problems: list[str]) -> dict[str, Storage]:
    if not isinstance(table, dict):
        problems.append("components must be a table")
        return {}
    problems += [f"unknown component {c}" for c in table if c not in STORED_COMPONENTS]
    # Complete for at least one family; `check_fits` checks the model's own family.
    lacking = [[c for c in f.components if c in STORED_COMPONENTS and c not in table] for f in FAMILIES.values()]
    problems += [f"missing component {c}" for c in min(lacking, key=len)]
    storage = {component: Storage("float32") for component in ALWAYS_FP32}
    for component in filter(table.__contains__, STORED_COMPONENTS):
        entry = table[component]
        path = f"components.{component}"
        if not isinstance(entry, dict):
            problems.append(f"{path} must be a table")
            continue
        problems += [f"unknown key {path}.{key}" for key in entry if key not in ("dtype", "rules")]
        dtype, rules = entry.get("dtype", "float32"), entry.get("rules", [])
        if dtype not in DTYPES:
            problems.append(f"{path}.dtype is {dtype!r}; allowed are {', '.join(DTYPES)}")
        if not isinstance(rules, list):
            problems.append(f"{path}.rules must be a list")
            rules = []
        found = [_rule(rule, f"{path}.rules[{i}]", problems) for i, rule in enumerate(rules)]
        storage[component] = Storage(str(dtype), tuple(rule for rule in found if rule is not None))
        if component != "gpt" and any(rule.method == _CALIBRATED for rule in storage[component].rules):
            problems.append(f"{path}: method {_CALIBRATED} is for the gpt only")
    return storage


def _rule(values: Any, path: str, problems: list[str]) -> SchemeRule | None:
    if isinstance(values, dict):
        values = {**_RULE_DEFAULTS, **values}
    rule: SchemeRule | None = _table(SchemeRule, values, path, problems)
    if rule is None:
        return None
    if rule.scheme not in (PLAIN, *SCHEMES):
        problems.append(f"{path}.scheme is {rule.scheme!r}; allowed are {', '.join((PLAIN, *SCHEMES))}")
    elif rule.scheme != PLAIN and SCHEMES[rule.scheme].grouped != (rule.group_size is not None):
        wanted = "needs" if SCHEMES[rule.scheme].grouped else "has no"
        problems.append(f"{path}: {rule.scheme} {wanted} group_size")
    if rule.method not in METHODS:
        problems.append(f"{path}.method is {rule.method!r}; allowed are {', '.join(METHODS)}")
    elif rule.method != "rtn" and rule.scheme != _INT4:
        problems.append(f"{path}: method {rule.method} is for {_INT4} only")
    return rule


def _table(cls: type[Any], values: Any, path: str, problems: list[str]) -> Any:
    if values is None:
        return None
    try:
        return from_dict(cls, values, what=path)
    except PackError as error:
        problems.append(str(error).rstrip("."))
        return None


def describe(recipe: Recipe) -> dict[str, Any]:
    """A recipe as plain values, for the report and for resuming."""
    return dataclasses.asdict(recipe)
