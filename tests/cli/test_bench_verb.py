"""`edgetts bench` and `edgetts warmup`: reports, the page, misuse in one sentence."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from helpers.command import Edgetts

import edgetts as package
from edgetts.pack.manifest import read_manifest

BUILT_IN = Path(package.__file__).parent / "builtin" / "tiny"

QUICK = (
    "--no-enroll",
    "--no-stream",
    "--no-start",
    "--seconds",
    0.3,
    "--prompt-seconds",
    0.5,
    "--steps",
    1,
    "--repeats",
    1,
)


@pytest.mark.parametrize(("fixture", "family"), [("mini_pack", "IndexTTS-2"), ("mini_pack_25", "IndexTTS-2.5")])
def test_reports_and_writes_a_page(
    edgetts: Edgetts, fixture: str, family: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    page, pack = tmp_path / "bench.html", request.getfixturevalue(fixture)
    result = edgetts("bench", "--pack", pack, "--text", "abc", *QUICK, "--json", "--html", page)
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["first_audio_ms"] is None and report["compute"] == "exact" and report["call"]["n_steps"] == 1
    assert [each["family"] for each in report["packs"].values()] == [family]
    assert all(stage["floor_s"] > 0 for stage in report["stages"].values()) and report["audio_s"] == pytest.approx(
        0.3, abs=0.05
    )
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_settings_are_the_packs_own_unless_given(edgetts: Edgetts) -> None:
    quick = ("--no-enroll", "--no-stream", "--no-start", "--seconds", 0.3, "--repeats", 1)
    defaults = read_manifest(BUILT_IN).defaults
    result = edgetts("bench", "--pack", BUILT_IN, *quick, "--json", "--quiet")
    assert result.exit_code == 0 and result.stderr == ""
    call = json.loads(result.stdout)["call"]
    for name in ("n_steps", "solver", "cfg_rate", "cfg_until", "noise_scale"):
        assert call[name] == defaults[name]
    assert (call["prompt_seconds"], call["beams"], call["given"]) == (defaults["prompt_s"], 1, [])
    result = edgetts("bench", "--pack", BUILT_IN, *quick, "--steps", 2, "--prompt-seconds", 1, "-q")
    assert result.exit_code == 0 and result.stderr == ""
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("settings:")]
    assert f"2 steps of {defaults['solver']}" in line and "1 s of voice" in line
    assert "given: n steps; the others are the pack's own" in line


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux what a process holds")
def test_the_soak_is_in_every_form_of_the_report(edgetts: Edgetts, mini_pack: Path, tmp_path: Path) -> None:
    page = tmp_path / "bench.html"
    result = edgetts("bench", "--pack", mini_pack, "--text", "abc", *QUICK, "--soak", 3, "--json", "--html", page)
    assert result.exit_code == 0, result.stderr
    soak = json.loads(result.stdout)["soak"]
    assert soak["calls"] == 3 and soak["settled_at"] == 1 and len(soak["rss_mb"]) == 4
    assert soak["growth_mb"] == pytest.approx(soak["end_mb"] - soak["settled_mb"]) and soak["rss_mb"][0] > 50
    assert soak["calls_per_minute"] == pytest.approx(180 / sum(soak["seconds"])) and soak["silent_calls"] == 0
    assert "<polyline" in page.read_text(encoding="utf-8") and "calls per minute" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--seconds", 100), "100"),
        (("--compute", "magic"), "magic"),
        (("--compare", "nowhere.pack"), "nowhere.pack"),
        (("--threads", 0), "--threads is 0"),
        (("--steps", 0), "0 flow steps"),
        (("--preset", "slow"), "slow"),
        (("--soak", 1), "calls of the soak to measure are 1"),
        (("--soak", -3), "-3"),
    ],
)
def test_misuse(edgetts: Edgetts, mini_pack: Path, arguments: tuple[object, ...], word: str) -> None:
    result = edgetts("bench", "--pack", mini_pack, "--text", "abc", "--no-enroll", *arguments)
    assert result.exit_code != 0 and result.exception is not None
    assert word in result.stderr and len(result.stderr.splitlines()) == 1


def test_what_does_not_fit_the_memory_budget_is_not_measured(edgetts: Edgetts, mini_pack: Path) -> None:
    arguments = ("bench", "--pack", mini_pack, "--device", "cpu", "--text", "abc", *QUICK)
    result = edgetts(*arguments, "--memory-budget", "1M")
    assert result.exit_code == 2 and "the budget is 1M" in result.stderr and len(result.stderr.splitlines()) == 1
    result = edgetts(*arguments, "--memory-budget", "64G")
    assert result.exit_code == 0, result.stderr
    assert "note: Loading and speaking will need at most about" in result.stderr
    assert "expected" in result.stdout


def test_warmup_leaves_speeds_behind(edgetts: Edgetts, mini_pack: Path, home: Path) -> None:
    result = edgetts("warmup", "--pack", mini_pack, "--all-files", "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["compute"] == "exact" and report["dtypes"] == {"s2mel": "float32", "vocoder": "float32"}
    (kept,) = home.rglob("speeds/*.json")
    stages = json.loads(kept.read_text(encoding="utf-8"))["stages"]
    assert all(stages[name][0] > 1 for name in ("codes", "features", "flow", "vocoder")) and stages["speech"][0] == 0


def test_warmup_misuse(edgetts: Edgetts, mini_pack: Path) -> None:
    result = edgetts("warmup", "--pack", mini_pack, "--compute", "magic")
    assert result.exit_code == 2 and "magic" in result.stderr and len(result.stderr.splitlines()) == 1
