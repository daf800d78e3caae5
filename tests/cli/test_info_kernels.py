"""`edgetts info --kernels`: what was tried, what won and by how much."""

from __future__ import annotations

import math

import pytest

from edgetts.backends.kernels import registry
from edgetts.cli import info
from edgetts.pack.locate import locate_pack


def test_what_was_tried_and_by_how_much_it_won(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(registry._CACHE_BYTES, "cpu", 1 << 20)
    trials = info._kernels(locate_pack(None, None).path, None, "cpu", "auto")
    assert {trial["weights"].split()[0] for trial in trials} == {"int8_channel"}
    for weights in {trial["weights"] for trial in trials}:
        of = [trial for trial in trials if trial["weights"] == weights]
        assert sum(trial["chosen"] for trial in of) == 1
        for trial in of:
            ran = not trial["problem"]
            assert ran == math.isfinite(trial["gb_per_s"]) == (trial["microseconds"] > 0)
            assert ran == ("cuda only" not in trial["problem"] and "not built" not in trial["problem"])
    known = [
        {"weights": "w", "kernel": "a", "chosen": True, "problem": "", "microseconds": 10.0},
        {"weights": "w", "kernel": "b", "chosen": False, "problem": "", "microseconds": 25.0},
        {"weights": "w", "kernel": "c", "chosen": False, "problem": "refused", "microseconds": math.nan},
        {"weights": "v", "kernel": "b", "chosen": False, "problem": "", "microseconds": 1.0},
    ]
    assert info._ahead(known[0], known) == ", 2.50 times as fast as the next"
    assert [info._ahead(trial, known) for trial in known[1:]] == ["", "", ""]
