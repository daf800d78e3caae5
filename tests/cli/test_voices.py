"""`edgetts voices`, with a stand-in for the enrolment itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from command import Edgetts

from edgetts.voice import Voice


def make_voice(**changes: object) -> Voice:
    values: dict[str, object] = {
        "conditioning_latents": torch.zeros(1, 2, 3),
        "emotion_vector": torch.zeros(1, 3),
        "emotion_base": torch.zeros(1, 3),
        "style": torch.zeros(1, 4),
        "reference_codes": torch.zeros(1, 5, dtype=torch.int64),
        "reference_mel": torch.zeros(1, 6, 7),
        "encoder_id": "e" * 64,
        "seconds": 2.5,
        "name": "elsewhere",
        "notices": ("cut at 15 s.",),
    }
    return Voice(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return make_voice().save(tmp_path / "given.safetensors")


def test_life_of_a_voice(edgetts: Edgetts, file: Path, home: Path, tmp_path: Path) -> None:
    result = edgetts("voices", "list")
    assert result.exit_code == 0
    assert "no voices yet" in result.stderr
    result = edgetts("voices", "add", "anna", file)
    assert result.exit_code == 0, result.stderr
    assert "Voice anna is ready" in result.stdout
    assert result.stderr == "note: cut at 15 s.\n"
    assert edgetts("voices", "list").stdout == "anna\n"
    assert "2.5 s" in edgetts("voices", "show", "anna").stdout
    about = json.loads(edgetts("voices", "show", "anna", "--json").stdout)
    assert about["seconds"] == 2.5
    assert about["encoder_id"] == "e" * 64
    listed = json.loads(edgetts("voices", "list", "--json").stdout)
    assert listed["voices"] == [{"name": "anna", "file": about["file"], "bytes": about["bytes"]}]

    out = tmp_path / "out.safetensors"
    assert edgetts("voices", "export", "anna", out).stdout == f"{out}\n"
    assert Voice.load(out).name == "anna"
    assert edgetts("voices", "export", "anna", out).exit_code == 2
    assert edgetts("voices", "export", "anna", out, "--force").exit_code == 0
    assert edgetts("voices", "export", "anna", tmp_path / "out.txt").exit_code == 2
    assert edgetts("voices", "export", "anna", home).stdout == f"{home / 'anna.safetensors'}\n"

    assert edgetts("voices", "add", "anna", file).exit_code == 2
    assert edgetts("voices", "add", "anna", file, "--force").exit_code == 0
    assert edgetts("voices", "remove", "anna").exit_code == 0
    assert edgetts("voices", "list").stdout == ""


def test_remove_is_all_or_nothing(edgetts: Edgetts, file: Path) -> None:
    edgetts("voices", "add", "anna", file)
    assert edgetts("voices", "remove", "anna", "bert").exit_code == 1
    assert edgetts("voices", "list").stdout == "anna\n"


def test_damaged_voice_file(edgetts: Edgetts, tmp_path: Path) -> None:
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"nothing")
    result = edgetts("voices", "add", "anna", bad)
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert edgetts("voices", "list").stdout == ""


def test_bad_recording_is_told_first(edgetts: Edgetts, tmp_path: Path) -> None:
    empty = tmp_path / "empty.wav"
    empty.write_bytes(b"")
    result = edgetts("voices", "add", "anna", empty)
    assert result.exit_code == 1
    assert "is an empty file" in result.stderr
