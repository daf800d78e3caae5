"""Recipes: those that come along fit the published model and keep what they promise; mistakes are named, all at once."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.paths import DATA, DATA_25

from edgetts.errors import UsageError
from edgetts.families.indextts2.dims import INDEXTTS_2
from edgetts.families.indextts25.dims import INDEXTTS_25
from edgetts.models.registry import networks_of
from edgetts.pack.config import ModelConfig
from edgetts.pack.load import open_pack
from edgetts.quant.build import Source
from edgetts.quant.components import matrix_shapes, network_shapes
from edgetts.quant.lazy import LazyTensor
from edgetts.quant.machine import Machine, this_machine
from edgetts.quant.recipe import check_fits, choose_recipe, load_recipe, parse_recipe, recipe_names
from edgetts.quant.source import open_pack_source
from edgetts.quant.upstream_config import model_config, read_upstream_config

RECIPES = (
    "cpu-arm64",
    "cpu-x86",
    "jetson-agx-orin",
    "jetson-orin-nano",
    "laptop-4gb",
    "laptop-8gb",
    "laptop-turing",
    "reference-fp32",
)
GIB = 1 << 30
CONFIG_FULL = DATA / "config" / "full"
VALID: dict[str, Any] = {
    "format": 1,
    "name": "mine",
    "description": "Mine",
    "components": {
        c: {"dtype": "float16"}
        for c in ("semantic_encoder", "codec_encoder", "speaker_encoder", "conditioning", "gpt", "s2mel", "vocoder")
    },
}


def full_size(config_file: Path = CONFIG_FULL / "config.yaml") -> Source:
    """The published model: shapes only."""
    upstream = read_upstream_config(config_file)
    config: ModelConfig = model_config(upstream, CONFIG_FULL / "w2vbert.json", CONFIG_FULL / "bigvgan.json")
    components = {}
    for component in upstream.family.components:
        shapes: dict[str, tuple[int | None, ...]]
        is_network = component in networks_of(config)
        shapes = dict(network_shapes(component, config) if is_network else matrix_shapes(component, config))
        components[component] = {
            name: LazyTensor(
                tuple(size or config.gpt.model_dim for size in shape),
                torch.int64 if name.endswith("num_batches_tracked") else torch.float32,
                lambda: torch.zeros(0),
            )
            for name, shape in shapes.items()
        }
    return Source(config, "full", "", {}, components, {}, lambda _writer: None)


def changed(**values: Any) -> dict[str, Any]:
    """VALID with values set by dotted key ("__" for a dot); None removes."""
    table = copy.deepcopy(VALID)
    for key, value in values.items():
        *parents, last = key.split("__")
        place = table
        for parent in parents:
            place = place.setdefault(parent, {})
        if value is None:
            del place[last]
        else:
            place[last] = value
    return table


def rule(**values: Any) -> list[dict[str, Any]]:
    return [{"pattern": "*", "scheme": "int8_channel", **values}]


def test_these_come_along() -> None:
    assert tuple(recipe_names()) == RECIPES


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_fit_the_published_model_and_keep_their_size(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    sizes = check_fits(recipe, full_size())
    run, pack = sum(sizes[c] for c in INDEXTTS_2.run_components), sum(sizes.values())
    if name == "reference-fp32":
        assert recipe.budget is None or pack < 6.1e9
    elif any(r.scheme == "int8_channel" and r.pattern == "gpt.h.*.weight" for r in recipe.storage["gpt"].rules):
        assert run <= 1000e6
    else:
        assert run <= 760e6 and pack <= 1.7e9
    said = (Path(__file__).parents[2] / "recipes" / f"{name}.toml").read_text().splitlines()
    comment = " ".join(line.removeprefix("#").strip() for line in said if line.startswith("#"))
    assert f"Run phase {run / 1e9:.{2 if run < 1e9 else 1}f} GB" in comment


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_fit_the_published_2_5(name: str) -> None:
    source = full_size(DATA_25 / "config" / "full.yaml")
    sizes = check_fits(load_recipe(name), source)
    run, pack = sum(sizes[c] for c in INDEXTTS_25.run_components), sum(sizes.values())
    said = (Path(__file__).parents[2] / "recipes" / f"{name}.toml").read_text()
    digits = 2 if run < 1e9 else 1
    assert f"# IndexTTS-2.5: run phase {run / 1e9:.{digits}f} GB, pack {pack / 1e9:.2f} GB" in said


def test_a_recipe_of_the_other_family_is_refused() -> None:
    with pytest.raises(UsageError, match=r"mine does not fit full: it has no table for codec_decoder; add one such as"):
        check_fits(parse_recipe(VALID, "mine.toml"), full_size(DATA_25 / "config" / "full.yaml"))


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_fit_other_sizes_too(name: str, mini_pack: Path) -> None:
    """The mini model's rows are multiples of 64 as well, so that every recipe can be tried on it."""
    check_fits(load_recipe(name), open_pack_source(mini_pack))


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (changed(color="red"), "unknown key color"),
        (changed(format=2), "format is 2"),
        (changed(name=None), "missing key name"),
        (changed(description=1), "description must be text"),
        (changed(components__gpt=None), "missing component gpt"),
        (changed(components__emotion={"dtype": "float16"}), "unknown component emotion"),
        (changed(components__gpt__dtype="int8"), "components.gpt.dtype is 'int8'; allowed are float32"),
        (changed(components__gpt__size=1), "unknown key components.gpt.size"),
        (changed(components__gpt__rules="all"), "components.gpt.rules must be a list"),
        (changed(components__gpt__rules=["all"]), "components.gpt.rules[0] is not usable"),
        (changed(components__gpt__rules=rule(scheme="int3")), "scheme is 'int3'; allowed are plain, int8_channel"),
        (changed(components__gpt__rules=rule(scheme="int4_group")), "int4_group needs group_size"),
        (changed(components__gpt__rules=rule(group_size=32)), "int8_channel has no group_size"),
        (changed(components__gpt__rules=rule(method="magic")), "method is 'magic'; allowed are rtn, hqq, gptq"),
        (changed(components__gpt__rules=rule(method="hqq")), "method hqq is for int4_group only"),
        (changed(components__gpt__rules=rule(bits=4)), "unknown key bits"),
        (
            changed(components__gpt__rules=rule(scheme="int4_group", group_size=32, method="gptq")),
            "method gptq needs a table [calibration]",
        ),
        (
            changed(components__s2mel__rules=rule(scheme="int4_group", group_size=32, method="gptq")),
            "components.s2mel: method gptq is for the gpt only",
        ),
        (changed(calibration={"n_texts": 3}), "missing key max_codes"),
        (changed(budget={"run_mb": 1, "pack_mb": 2, "x": 3}), "unknown key x"),
        (changed(defaults={"n_beam": 1}), "did you mean n_beams?"),
        (changed(defaults={"n_beams": 0}), "n_beams"),
        (changed(defaults=3), "defaults"),
        (changed(components=3), "components must be a table"),
    ],
)
def test_mistakes_are_named(table: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_recipe(table, "mine.toml")
    assert said in str(caught.value) and str(caught.value).startswith("The recipe mine.toml is not usable: ")


def test_all_mistakes_at_once() -> None:
    table = changed(color="red", components__gpt__rules=rule(scheme="int3"), defaults={"n_beams": 0})
    with pytest.raises(UsageError, match="color.*int3.*n_beams"):
        parse_recipe(table, "mine.toml")


def test_finding_recipes(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean laptop-4gb?"):
        load_recipe("laptop-4b")
    with pytest.raises(UsageError, match="there are auto, cpu-arm64"):
        load_recipe("xyz")
    with pytest.raises(UsageError, match="cannot be read"):
        load_recipe(str(tmp_path / "none.toml"))
    (tmp_path / "bad.toml").write_text("a = = 1")
    with pytest.raises(UsageError, match="not valid TOML"):
        load_recipe(str(tmp_path / "bad.toml"))
    (tmp_path / "bad.toml").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="not valid TOML"):
        load_recipe(str(tmp_path / "bad.toml"))


def test_patterns_and_budgets_are_checked_against_the_source() -> None:
    recipe = parse_recipe(changed(components__gpt__rules=rule(pattern="gtp.*")), "mine.toml")
    with pytest.raises(UsageError, match=r"the pattern 'gtp\.\*' names no tensor of gpt"):
        check_fits(recipe, full_size())
    recipe = parse_recipe(changed(budget={"run_mb": 900, "pack_mb": 9000}), "mine.toml")
    with pytest.raises(UsageError, match="run_mb would be 1446, and the budget is 900"):
        check_fits(recipe, full_size())


@pytest.mark.parametrize(
    ("machine", "name"),
    [
        (Machine(False), "cpu-x86"),
        (Machine(True), "cpu-arm64"),
        (Machine(True, "Orin", 8 * GIB - 1, True), "jetson-orin-nano"),
        (Machine(True, "Orin", 62 * GIB, True), "jetson-agx-orin"),
        (Machine(False, "NVIDIA GeForce RTX 4060 Laptop GPU", 8 * GIB - (300 << 20), True), "laptop-8gb"),
        (Machine(False, "NVIDIA GeForce RTX 3050 Laptop GPU", 4 * GIB, True), "laptop-4gb"),
        (Machine(False, "NVIDIA GeForce GTX 1660 Ti", 6 * GIB, False), "laptop-turing"),
    ],
)
def test_auto(machine: Machine, name: str) -> None:
    chosen, reason = choose_recipe(machine)
    assert chosen == name and reason and not reason.endswith(".")
    assert choose_recipe(this_machine())[0] in RECIPES


def test_an_unquantized_part_may_not_be_quantized_twice(mini_pack: Path) -> None:
    """A pack that is int8 already is not made int4, nor is int4 made int8; the same again is fine."""
    from edgetts.errors import PackError
    from edgetts.pack.entries import SchemeGroup

    source = open_pack_source(mini_pack)
    name = "gpt.h.0.attn.c_attn.weight"
    source.schemes = {"gpt": {name: SchemeGroup("int8_channel", None, (name,))}}
    check_fits(parse_recipe(changed(components__gpt__rules=rule()), "mine.toml"), source)
    int4 = parse_recipe(changed(components__gpt__rules=rule(scheme="int4_group", group_size=32)), "mine.toml")
    with pytest.raises(PackError, match="stored as int8_channel already.*start from the checkpoint"):
        check_fits(int4, source)
    assert open_pack(mini_pack).manifest.components["gpt"].schemes == ()


def test_what_a_model_lacks_is_taken_along() -> None:
    from edgetts.pack.locate import builtin_pack

    assert open_pack_source(builtin_pack()).without == ("emotion",)
