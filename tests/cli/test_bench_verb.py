"""`edgetts bench` and `edgetts warmup`: reports, the page, misuse in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import Edgetts

QUICK = (
    "--no-enrol",
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


def test_reports_and_writes_a_page(edgetts: Edgetts, mini_pack: Path, tmp_path: Path) -> None:
    page = tmp_path / "bench.html"
    result = edgetts("bench", "--pack", mini_pack, "--text", "abc", *QUICK, "--json", "--html", page)
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["first_audio_ms"] is None and report["compute"] == "exact" and report["call"]["n_steps"] == 1
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--seconds", 100), "100"),
        (("--compute", "magic"), "magic"),
        (("--compare", "nowhere.pack"), "nowhere.pack"),
        (("--threads", 0), "0 threads"),
        (("--steps", 0), "0 flow steps"),
        (("--preset", "slow"), "slow"),
    ],
)
def test_misuse(edgetts: Edgetts, mini_pack: Path, arguments: tuple[object, ...], word: str) -> None:
    result = edgetts("bench", "--pack", mini_pack, "--text", "abc", "--no-enrol", *arguments)
    assert result.exit_code != 0 and result.exception is not None
    assert word in result.stderr and len(result.stderr.splitlines()) == 1


def test_what_does_not_fit_the_memory_budget_is_not_measured(edgetts: Edgetts, mini_pack: Path) -> None:
    arguments = ("bench", "--pack", mini_pack, "--device", "cpu", "--text", "abc", *QUICK)
    result = edgetts(*arguments, "--memory-budget", "1M")
    assert result.exit_code == 2 and "the budget is 1M" in result.stderr and len(result.stderr.splitlines()) == 1
    result = edgetts(*arguments, "--memory-budget", "64G")
    assert result.exit_code == 0, result.stderr


def test_warmup_leaves_speeds_behind(edgetts: Edgetts, mini_pack: Path, home: Path) -> None:
    result = edgetts("warmup", "--pack", mini_pack, "--all-files", "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["compute"] == "exact" and report["dtypes"] == {"s2mel": "float32", "vocoder": "float32"}
    (kept,) = home.rglob("speeds/*.json")
    stages = json.loads(kept.read_text(encoding="utf-8"))["stages"]
    assert all(stages[name][0] > 1 for name in ("codes", "latents", "flow", "vocoder")) and stages["speech"][0] == 0


def test_warmup_misuse(edgetts: Edgetts, mini_pack: Path) -> None:
    result = edgetts("warmup", "--pack", mini_pack, "--compute", "magic")
    assert result.exit_code == 2 and "magic" in result.stderr and len(result.stderr.splitlines()) == 1
