"""The check itself, where there is no GPU: its dry run finds nothing wrong, and finds what is wrong."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from gpu import check as checks
from gpu import sound

from edgetts.backends import device_decoder


def run(out: Path, *names: str, seconds: float = 600.0) -> dict[str, Any]:
    check = checks.Check(torch.device("cpu"), True, out, time.monotonic() + seconds)
    code = checks.run(check, list(names))
    table: dict[str, Any] = json.loads((out / "check.json").read_text())
    assert code == (1 if table["failures"] else 0)
    page = (out / "check.html").read_text()
    assert all(name in page for name in names)
    return table


def test_codes_kernels_and_versions(tmp_path: Path) -> None:
    table = run(tmp_path, "machine", "decode", "kernels")
    assert table["failures"] == []
    runs = table["sections"]["decode"]["runs"]
    assert {(r["beams"], r["runner"]) for r in runs} == {(b, n) for b in (1, 3) for n in ("eager", "watched")}
    assert {r["matrix"] for r in table["sections"]["kernels"]["rows"]} == {"qkv", "attention out", "mlp in", "mlp out"}
    assert table["sections"]["machine"]["bandwidth_gb_per_s"] > 0


@pytest.mark.slow
def test_every_section(tmp_path: Path) -> None:
    assert run(tmp_path, *checks.SECTIONS)["failures"] == []


def test_no_time_left_leaves_a_page(tmp_path: Path) -> None:
    table = run(tmp_path, "machine", "decode", seconds=-1.0)
    assert table["sections"] == {name: {"skipped": "no time was left"} for name in ("machine", "decode")}


def test_a_section_that_breaks_is_a_failure_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> dict[str, Any]:
        raise RuntimeError("out of order")

    monkeypatch.setitem(checks.SECTIONS, "kernels", broken)
    table = run(tmp_path, "kernels", "machine")
    assert table["failures"] == ["kernels: RuntimeError: out of order"]
    assert "bandwidth_gb_per_s" in table["sections"]["machine"]


def test_other_codes_are_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = device_decoder.DeviceDecoder.poll

    def poll(self: device_decoder.DeviceDecoder) -> Any:
        choices = real(self)
        if type(self.runner).__name__ == "WatchedRunner":
            choices = [
                [c._replace(code=7) if hasattr(c, "_replace") else type(c)(c.score, 7, c.beam) for c in cs]
                for cs in choices
            ]
        return choices

    monkeypatch.setattr(device_decoder.DeviceDecoder, "poll", poll)
    assert any("other codes than eager" in failure for failure in run(tmp_path, "decode")["failures"])


def test_the_vocoder_alone(tmp_path: Path) -> None:
    table = run(tmp_path, "vocoder")
    assert table["failures"] == []
    assert {name: list(table["sections"]["vocoder"][name]["ms_by_frames"]) for name in ("exact", "fast")} == {
        "exact": ["64"],
        "fast": ["64"],
    }


def test_a_vocoder_that_is_slower_in_fast_is_a_failure(tmp_path: Path) -> None:
    check = checks.Check(torch.device("cpu"), False, tmp_path, time.monotonic() + 60)
    sound.expect_fast_is_faster(check, {"exact": {64: 5.0, 700: 57.0}, "fast": {64: 5.0, 700: 62.0}})
    assert check.failures == ["the vocoder takes 62.00 ms for 700 frames in fast and 57.00 in exact"]


def test_without_a_gpu_it_says_how_to_try_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["check.py", "--out", str(tmp_path)])
    with pytest.raises(SystemExit):
        checks.main()
