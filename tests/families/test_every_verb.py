"""Every verb with a small pack of IndexTTS-2.5."""

from __future__ import annotations

from pathlib import Path

import pytest
from families.every_verb import run_all


@pytest.mark.slow
def test_every_verb(mini_checkpoint_25: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGETTS_HOME", str(tmp_path / "home"))
    rows = run_all(mini_checkpoint_25, tmp_path)
    assert {command.split()[0] for command, _, _ in rows} >= {
        "convert",
        "say",
        "quantize",
        "validate",
        "bench",
        "serve",
    }
