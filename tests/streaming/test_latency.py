"""The kept speeds are a cache: whatever is in the file, it is what was measured or nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from edgetts.streaming.engine import Engine
from edgetts.streaming.latency import LatencyModel


@pytest.mark.parametrize(
    "content",
    [
        b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
        b"[" * 200_000,
        b" " * 10_000_000,
        b'{"format": 1, "stages": {"codes": [1' + b"0" * 400 + b", 1, 1, 1, 1]}}",
        b'{"format": 1, "stages": []}',
        b"\xff",
        b"[]",
        b"",
    ],
    ids=lambda c: f"{c[:12]!r}",
)
def test_a_spoiled_file_counts_as_none(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "speeds.json"
    speeds = LatencyModel()
    speeds.add("codes", 10, 0.5)
    speeds.save(path)
    assert LatencyModel.load(path).seconds("codes", 10) == pytest.approx(0.5)
    path.write_bytes(content)
    assert LatencyModel.load(path).seconds("codes", 10) is None


def test_each_way_to_compute_keeps_speeds_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def path(**how: str) -> Path | None:
        manifest = SimpleNamespace(files={"gpt": SimpleNamespace(sha256="1")})
        given = {"device": torch.device("cpu"), "compute": "exact", "kernel": "auto", **how}
        pipeline: Any = SimpleNamespace(pack=SimpleNamespace(manifest=manifest), **given)
        return Engine.open(pipeline, tmp_path).speeds_path

    ways = [path(), path(compute="fast"), path(kernel="native")]
    monkeypatch.setattr(torch, "__version__", "9.9")
    ways.append(path())
    monkeypatch.setattr("edgetts.streaming.engine.triton_version", lambda: "8.8")
    assert len({*ways, path()}) == 5
