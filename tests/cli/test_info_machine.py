"""`edgetts info --kernels`: what was tried, what won and by how much."""

from __future__ import annotations

import math
from typing import Any

import pytest

from edgetts.backends.kernels import registry
from edgetts.bench import footprint
from edgetts.cli import info
from edgetts.cli.environment import Environment
from edgetts.memory import MIB, shown
from edgetts.native.library import find_library
from edgetts.pack.locate import locate_pack


def test_what_was_tried_and_by_how_much_it_won(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(registry._CACHE_BYTES, "cpu", 1 << 20)
    trials = info._kernels(locate_pack(None, None).path, None, "cpu", "auto", None)
    assert {trial["weights"].split()[0] for trial in trials} == {"int8_channel"}
    for weights in {trial["weights"] for trial in trials}:
        of = [trial for trial in trials if trial["weights"] == weights]
        assert sum(trial["chosen"] for trial in of) == 1
        for trial in of:
            ran = not trial["problem"]
            assert ran == math.isfinite(trial["gb_per_s"]) == (trial["microseconds"] > 0)
            elsewhere = ("cuda only", "not built", "for ARM processors", "No module named")
            assert ran or any(reason in trial["problem"] for reason in elsewhere), trial
    known = [
        {"weights": "w", "kernel": "a", "chosen": True, "problem": "", "microseconds": 10.0},
        {"weights": "w", "kernel": "b", "chosen": False, "problem": "", "microseconds": 25.0},
        {"weights": "w", "kernel": "c", "chosen": False, "problem": "refused", "microseconds": math.nan},
        {"weights": "v", "kernel": "b", "chosen": False, "problem": "", "microseconds": 1.0},
    ]
    assert info._ahead(known[0], known) == ", 2.50 times as fast as the next"
    assert [info._ahead(trial, known) for trial in known[1:]] == ["", "", ""]


def test_memory_is_estimated_before_loading_and_measured_after(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = []
    load = footprint.Pipeline

    def pipeline(*given: Any, **how: Any) -> Any:
        loaded.append(capsys.readouterr().out)
        return load(*given, **how)

    monkeypatch.setattr(footprint, "Pipeline", pipeline)
    path = locate_pack(None, None).path
    found = info._memory(path, Environment.read({}), "cpu", "exact", tells=True)
    (before,) = loaded
    assert "memory on cpu, compute exact: at most about" in before and "of memory; " in before
    assert f"measured: the process held {shown(found['peak_bytes'])}" in capsys.readouterr().out
    grown = found["peak_bytes"] - found["parts"]["start"]
    assert 10 * MIB < grown < found["expected_bytes"] - found["parts"]["start"]


@pytest.mark.skipif(find_library() is None, reason="the native kernels are not built")
def test_the_kernel_shown_as_chosen_is_that_of_the_compute_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_ROUNDS", 1)
    monkeypatch.setitem(registry._CACHE_BYTES, "cpu", 1)
    path = locate_pack(None, None).path
    for compute, name in (("exact", "native"), ("fast", "native-int8")):
        trials = info._kernels(path, None, "cpu", "auto", compute)  # type: ignore[arg-type]
        assert {trial["kernel"] for trial in trials if trial["chosen"]} == {name}
