"""`edgetts quantize` and what `edgetts info` says about its packs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import Edgetts

from edgetts.pack.manifest import read_manifest
from quant import report

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
    assert "int4_group" in shown.stdout and "n_steps 8" in shown.stdout and "divergence" in shown.stdout
    lines = [line for line in shown.stdout.splitlines() if line.startswith("* int4_group/32")]
    assert len(lines) == 2 and "error" in lines[0]  # of 128 and of 512 inputs
    rows = json.loads(edgetts("info", target, "--kernels", "--json").stdout)["kernels"]
    assert {row["kernel"] for row in rows} >= {"native", "aten", "dequantise"}
    monkeypatch.setenv("EDGETTS_KERNEL", "dequantise")
    forced = json.loads(edgetts("info", target, "--kernels", "--json").stdout)["kernels"]
    assert {row["kernel"] for row in forced if row["chosen"]} == {"dequantise"}


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
