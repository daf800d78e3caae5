"""The fast paths against the plain one: they pass, each with the tolerance of its type, and a wrong one fails."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.paths import GOLDEN
from typer.testing import CliRunner

from edgetts.backends import networks
from edgetts.backends.device_decoder import DeviceDecoder
from edgetts.backends.numbers import numbers_of
from edgetts.compute import Compute
from edgetts.errors import UsageError
from edgetts.models import registry
from edgetts.native.gpt import GPTStack
from edgetts.native.library import find_library
from edgetts.pack.load import Pack, open_pack
from edgetts.pack.locate import builtin_pack
from edgetts.parity import PATHS, TOLERANCES, compare_paths, golden, validate

CPU = torch.device("cpu")
compiled = pytest.mark.skipif(find_library() is None, reason="the compiled kernels were not built")


@pytest.fixture
def tiny() -> Pack:
    return open_pack(builtin_pack())


@pytest.mark.parametrize("compute", ["exact", "fast"])
@pytest.mark.parametrize("component", ["s2mel", "vocoder"])
def test_sound_passes_by_type(tiny: Pack, component: str, compute: Compute) -> None:
    rows = compare_paths(tiny, component, device=CPU, compute=compute)
    assert rows and all(row.passed for row in rows), rows
    name = "float32" if compute == "exact" else str(numbers_of(CPU, "fast").dit).removeprefix("torch.")
    assert {row.tolerance for row in rows} == {TOLERANCES[name]}
    assert all(row.detail.endswith(f"computed in {name}") for row in rows)


@compiled
@pytest.mark.parametrize(("kernel", "rounding"), [("native", "int16"), ("native-int8", "int8"), ("aten", "bfloat16")])
def test_codes_pass_by_kernel(tiny: Pack, kernel: str, rounding: str) -> None:
    rows = {row.tensor: row for row in compare_paths(tiny, "gpt", device=CPU, kernel=kernel)}
    assert set(rows) == {"logits", "greedy_codes", "latents"} and all(r.passed for r in rows.values()), rows
    assert rows["logits"].tolerance == TOLERANCES[rounding] and f"by {kernel}, {rounding}" in rows["logits"].detail
    assert rows["greedy_codes"].detail.startswith("201 choices")
    assert ("fused step" in rows["logits"].detail) == kernel.startswith("native")


@compiled
def test_fast_codes_have_the_tolerance_of_8_bits(tiny: Pack) -> None:
    rows = compare_paths(tiny, "gpt", device=CPU, compute="fast")
    assert all(r.passed for r in rows) and rows[0].tolerance == TOLERANCES["int8"]


def half_gpt(monkeypatch: pytest.MonkeyPatch) -> list[torch.dtype]:
    """As on CUDA, where `fast` has a GPT in bfloat16. Returns what GPTs were loaded in."""
    loaded: list[torch.dtype] = []
    load, numbers = registry.GPT.load, networks.numbers_of

    def of(device: torch.device, compute: Compute) -> Any:
        half = {"gpt": torch.bfloat16, "kv_cache": torch.bfloat16, "head": torch.bfloat16}
        return dataclasses.replace(numbers(device, compute), **(half if compute == "fast" else {}))

    def noted(*given: Any, **how: Any) -> Any:
        gpt = load(*given, **how)
        loaded.append(gpt.speed_emb.weight.dtype)
        return gpt

    monkeypatch.setattr(networks, "numbers_of", of)
    monkeypatch.setattr(golden, "numbers_of", of)
    monkeypatch.setattr(type(registry.GPT), "load", lambda self, *given, **how: noted(*given, **how))
    return loaded


def test_a_gpt_in_half_precision_is_what_is_compared(tiny: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loop and step on the device; with the tolerance of its type."""
    loaded = half_gpt(monkeypatch)
    rows = {r.tensor: r for r in compare_paths(tiny, "gpt", device=CPU, compute="fast", kernel="aten", runner="eager")}
    assert loaded == [torch.float32, torch.bfloat16]
    assert rows["logits"].tolerance == TOLERANCES["bfloat16"] and rows["logits"].error > TOLERANCES["float32"]
    assert set(rows) == {"logits", "greedy_codes", "codes_on_device", "latents"}
    assert all(row.passed for row in rows.values()), rows
    assert rows["codes_on_device"].detail.startswith("201 choices")


def test_a_wrong_step_on_the_device_fails(tiny: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DeviceDecoder, "feed", lambda self, code: self.state.codes.fill_(code + 1))
    rows = {r.tensor: r for r in compare_paths(tiny, "gpt", device=CPU, kernel="dequantized", runner="eager")}
    assert rows["greedy_codes"].passed and not rows["codes_on_device"].passed


def test_goldens_are_compared_with_a_gpt_in_half_precision(mini_pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = half_gpt(monkeypatch)
    rows = {r.tensor: r for r in validate(open_pack(mini_pack), GOLDEN, "gpt", compute="fast")}
    assert loaded == [torch.bfloat16]
    assert rows["latents"].tolerance == TOLERANCES["bfloat16"] and rows["latents"].error > TOLERANCES["float32"]
    assert all(row.passed for row in rows.values()), rows
    assert "half precision" in rows["beam3_codes"].detail


@compiled
def test_a_wrong_step_fails(tiny: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    step = GPTStack.step
    monkeypatch.setattr(GPTStack, "step", lambda self, *given, **how: step(self, *given, **how).flip(-1))
    rows = {row.tensor: row for row in compare_paths(tiny, "gpt", device=CPU)}
    assert not rows["logits"].passed and not rows["greedy_codes"].passed and rows["latents"].passed


def test_the_verb() -> None:
    from edgetts.cli.app import app

    result = CliRunner().invoke(app, ["validate", str(builtin_pack()), "--component", "vocoder", "--json"])
    assert result.exit_code == 0, result.stderr
    assert [row["tensor"] for row in json.loads(result.stdout)["rows"]] == ["audio"]


def test_misuse(tiny: Pack) -> None:
    with pytest.raises(UsageError, match="component is 'speaker_encoder'; .* only gpt, s2mel, vocoder .* golden="):
        compare_paths(tiny, "speaker_encoder", device=CPU)
    with pytest.raises(UsageError, match="Unknown compute mode 'magic'"):
        compare_paths(tiny, device=CPU, compute="magic")  # type: ignore[arg-type]
    assert list(PATHS) == ["gpt", "s2mel", "vocoder"]
