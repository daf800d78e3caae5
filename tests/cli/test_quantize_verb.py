"""`edgetts quantize` and what `edgetts info` says about its packs."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path

import pytest
import torch
from helpers.command import Edgetts

from edgetts.families.indextts2.dims import INDEXTTS_2
from edgetts.pack.load import Pack, open_pack
from edgetts.pack.locate import builtin_pack
from edgetts.pack.manifest import read_manifest
from edgetts.pack.schemes import Quantized
from edgetts.quant import report
from edgetts.quant.build import Storage, build_pack
from edgetts.quant.machine import Machine
from edgetts.quant.quantize import encode, quantize
from edgetts.quant.recipe import STORED_COMPONENTS, check_fits, keep_quantized, load_recipe, recipe_names
from edgetts.quant.schemes import SchemeRule
from edgetts.quant.source import open_pack_source

RECIPE = Path(__file__).parents[2] / "recipes" / "cpu-arm64.toml"  # needs no calibration


def test_quantize_and_info(
    edgetts: Edgetts, mini_pack: Path, mini_voice: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("N_TEXTS", 1), ("N_SPOKEN", 1), ("MAX_CODES", 6)):
        monkeypatch.setattr(report, name, value)
    voice = mini_voice.save(tmp_path / "voice.safetensors")  # type: ignore[attr-defined]
    target = tmp_path / "small.pack"
    made = edgetts("quantize", mini_pack, target, "--recipe", "cpu-arm64", "--voice", voice)
    assert made.exit_code == 0, made.stderr
    assert "ready for `edgetts say" in made.stdout and "most likely code" in made.stdout
    assert read_manifest(target).recipe == "cpu-arm64"
    shown = edgetts("info", target, "--kernels")
    assert "int4_group" in shown.stdout and "n_steps 6" in shown.stdout and "KL " in shown.stdout
    assert f"fp32: {4 * 2**-20 * _n_values(mini_pack, 'gpt'):.1f} MiB" in shown.stdout
    (noise,) = re.findall(r"^  gpt, signal to .*$", shown.stdout, re.MULTILINE)
    assert re.search(r"median \d\d\.\d dB, lowest \d\d\.\d \(gpt\.h\.\d\..*\.weight\); by layer( \d\d)+$", noise)
    assert f"plots: {target / 'report.html'}" in shown.stdout and (target / "report.html").is_file()
    lines = [line for line in shown.stdout.splitlines() if line.startswith("* int4_group/32")]
    assert len(lines) == 2 and "error" in lines[0]  # of 128 and of 512 inputs
    about = json.loads(edgetts("info", target, "--kernels", "--json").stdout)
    assert about["components"]["gpt"]["parameters"] == _n_values(mini_pack, "gpt")
    assert about["components"]["gpt"]["tensors"] == len(open_pack(mini_pack).shapes("gpt"))
    rows = about["kernels"]
    assert {row["kernel"] for row in rows} >= {"native", "aten", "dequantize-per-call"}
    monkeypatch.setenv("EDGETTS_KERNEL", "dequantize-per-call")
    forced = json.loads(edgetts("info", target, "--kernels", "--json").stdout)["kernels"]
    assert {row["kernel"] for row in forced if row["chosen"]} == {"dequantize-per-call"}


def _n_values(pack: Path, component: str) -> int:
    return sum(math.prod(shape) for shape in open_pack(pack).shapes(component).values())


def test_the_recipe_that_is_chosen_is_said_before_the_work(
    edgetts: Edgetts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgetts.quant.quantize.this_machine", lambda: Machine(is_arm=True))
    result = edgetts("quantize", tmp_path / "none", tmp_path / "x.pack")
    note, error = result.stderr.splitlines()
    assert note == "note: Recipe cpu-arm64: there is no CUDA device and the processor is ARM."
    assert result.exit_code == 1 and "does not exist" in error
    assert "Recipe" not in edgetts("quantize", tmp_path / "none", tmp_path / "x.pack", "--quiet").stderr


def test_what_judges_found_is_shown(
    edgetts: Edgetts, mini_pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = {"gpt": {"top1": 1.0, "n_codes": 9, "kl_mean": 0.0}, "sound": {}, "judged": {"word_error_rate": 0.25}}
    figures["sound"] = {"mel_distance": 0.0, "waveform_mel_distance": 0.0, "spectral_convergence": 0.0}
    manifest = dataclasses.replace(read_manifest(mini_pack), quality=figures)
    monkeypatch.setattr("edgetts.pack.manifest.read_manifest", lambda _: manifest)
    assert "  word error rate 0.25\n" in edgetts("info", mini_pack).stdout


def test_json_and_misuse(edgetts: Edgetts, mini_pack: Path, tmp_path: Path) -> None:
    arguments = ("quantize", mini_pack, tmp_path / "x.pack", "--recipe", RECIPE, "--no-report")
    made = json.loads(edgetts(*arguments, "--json").stdout)
    assert made["recipe"] == "cpu-arm64" and made["quality"] is None and made["bytes"] > 0
    for wrong, said in (
        (arguments, "pack at"),
        (("quantize", mini_pack, tmp_path / "y", "-r", "cpu-x68"), "did you mean cpu-x86?"),
        (("quantize", mini_pack, tmp_path / "y", "--texts", tmp_path / "none.txt"), "no text file"),
    ):
        result = edgetts(*wrong)
        assert result.exit_code == 2 and said in result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_the_built_in_pack_by_name(edgetts: Edgetts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is int8 in it stays so under every recipe that can be chosen; nothing is quantized twice."""
    monkeypatch.chdir(tmp_path)
    source = open_pack(builtin_pack())
    made = edgetts("quantize", "builtin", "tiny.pack", "--recipe", "cpu-arm64", "--no-report")
    assert made.exit_code == 0, made.stderr
    (notice,) = made.stderr.splitlines()
    assert re.match(
        r"note: Tensors \(\d+ of gpt, \d+ of s2mel and \d+ of vocoder\) are already quantized in builtin, or have",
        notice,
    )
    pack = open_pack(tmp_path / "tiny.pack", verify=True)
    assert pack.manifest.recipe == "cpu-arm64" and pack.manifest.encoder_id == source.manifest.encoder_id
    headers = 1024  # of safetensors files: another writer pads them in another way
    assert 0 < pack.manifest.total_bytes <= source.manifest.total_bytes + headers
    size = f"{pack.manifest.total_bytes / 2**20:.1f} MiB"
    assert f"tiny.pack: {size} in " in made.stdout
    assert re.search(f"^size +{size}$", edgetts("info", "tiny.pack").stdout, re.MULTILINE)
    for component in INDEXTTS_2.components:
        before, after = source.stored(component), pack.stored(component)
        kept, was = (p.manifest.components[component].scheme_of() for p in (pack, source))
        assert kept == was or component == "gpt"
        for name in was:
            assert was[name].scheme == kept[name].scheme
            for part, value in before[name].parts.items():  # type: ignore[union-attr]
                assert torch.equal(value, after[name].parts[part])  # type: ignore[union-attr]
    (tmp_path / "builtin").mkdir()  # a folder of that name is meant by it
    assert "holds no config.yaml" in edgetts("quantize", "builtin", "x.pack", "--recipe", "cpu-arm64").stderr


@pytest.mark.parametrize("recipe", recipe_names())
def test_every_recipe_takes_the_built_in_pack(recipe: str) -> None:
    source = open_pack_source(builtin_pack())
    plan, kept = keep_quantized(load_recipe(recipe), source)
    sizes = check_fits(plan, source)
    assert {"gpt", "s2mel"} <= set(kept)
    stored = {c: sum(_n_bytes(t) for t in open_pack(builtin_pack()).stored(c).values()) for c in INDEXTTS_2.components}
    assert all(sizes[component] <= stored[component] for component in INDEXTTS_2.components)


@pytest.mark.parametrize(
    "stored",
    [Storage("float16"), Storage("bfloat16"), Storage("float32", (SchemeRule("*", "int8_channel"),))],
    ids=["half", "bf16", "int8"],
)
def test_what_is_stored_smaller_than_asked_for_stays(mini_pack: Path, tmp_path: Path, stored: Storage) -> None:
    plain = {component: Storage("float32") for component in INDEXTTS_2.components}
    first = build_pack(open_pack_source(mini_pack), tmp_path / "1.pack", {**plain, "s2mel": stored}, recipe="first")
    made = quantize(first.path, tmp_path / "2.pack", "reference-fp32", measure=False)
    before, after = open_pack(first.path), open_pack(made.path)
    assert set(made.kept) == {"s2mel"}
    assert made.n_bytes == after.manifest.total_bytes <= before.manifest.total_bytes
    assert after.manifest.components["s2mel"].dtype == stored.dtype
    assert _values(before, "s2mel") == _values(after, "s2mel")
    source = open_pack_source(first.path)
    for component, n_bytes in check_fits(keep_quantized(load_recipe("reference-fp32"), source)[0], source).items():
        assert n_bytes == sum(_n_bytes(tensor) for tensor in after.stored(component).values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_stored_in_as_many_bits_or_more_becomes_what_is_asked_for(mini_pack: Path, dtype: torch.dtype) -> None:
    source, recipe = open_pack_source(mini_pack), load_recipe("cpu-arm64")
    for tensors in source.components.values():
        tensors.update({name: dataclasses.replace(tensor, dtype=dtype) for name, tensor in tensors.items()})
    plan, kept = keep_quantized(recipe, source)
    assert {c: plan.storage[c] for c in STORED_COMPONENTS} == {c: recipe.storage[c] for c in STORED_COMPONENTS}
    assert not set(kept) & set(STORED_COMPONENTS)


def test_codes_that_rounding_would_not_choose_stay(mini_pack: Path, tmp_path: Path) -> None:
    """HQQ's grid is not the one that its own values would be given."""
    rules = (SchemeRule("gpt.h.*.weight", "int4_group", 32, "hqq"),)
    first = tmp_path / "1.pack"
    stored = {component: Storage("float32") for component in INDEXTTS_2.components}
    source = open_pack_source(mini_pack)
    build_pack(source, first, {**stored, "gpt": Storage("float32", rules)}, recipe="first", encoders={"gpt": encode})
    for recipe in ("cpu-arm64", "reference-fp32"):  # the same scheme, none
        made = quantize(first, tmp_path / f"{recipe}.pack", recipe, measure=False)
        before, after = open_pack(first).stored("gpt"), open_pack(made.path).stored("gpt")
        quantized = [name for name, tensor in before.items() if isinstance(tensor, Quantized)]
        assert quantized
        for name in quantized:
            for part, value in before[name].parts.items():  # type: ignore[union-attr]
                assert torch.equal(value, after[name].parts[part])  # type: ignore[union-attr]


def _n_bytes(tensor: torch.Tensor | Quantized) -> int:
    return sum(part.nbytes for part in tensor.parts.values()) if isinstance(tensor, Quantized) else tensor.nbytes


def _values(pack: Pack, component: str) -> dict[str, list[bytes]]:
    """The bytes of every tensor as stored."""
    return {
        name: [
            part.contiguous().view(torch.uint8).numpy().tobytes()
            for part in (tensor.parts.values() if isinstance(tensor, Quantized) else (tensor,))
        ]
        for name, tensor in pack.stored(component).items()
    }
