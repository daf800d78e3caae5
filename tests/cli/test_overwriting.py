"""No verb writes over what it reads, or over files of another kind; misuse is told before any work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers.command import run_edgetts

KEPT = b"years of work"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("me.wav", "thesis.tex", "text.wav", "terms.yaml", "model.safetensors"):
        (tmp_path / name).write_bytes(KEPT)
    (tmp_path / "link.wav").symlink_to("thesis.tex")
    (tmp_path / "me-too.wav").symlink_to("me.wav")
    os.link("me.wav", "hard.wav")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("say Hi --voice me.wav -o me.wav", "-o and --voice are one file"),
        ("say Hi --voice me-too.wav -o me.wav", "-o and --voice are one file"),
        ("say Hi --voice ./me.wav -o hard.wav", "-o and --voice are one file"),
        ("say Hi --emotion-voice me.wav -o ./me.wav", "-o and --emotion-voice are one file"),
        ("say -f text.wav -o text.wav", "-o and -f are one file"),
        ("say Hi --glossary text.wav -o text.wav", "-o and --glossary are one file"),
        ("say Hi -o new.wav --srt new.wav", "--srt and -o are one file"),
        ("say Hi -o new.wav --srt new.srt --vtt ./new.srt", "--vtt and --srt are one file"),
        ("say Hi -o link.wav", "is not a sound file, so it is left alone"),
        ("say Hi -o thesis.tex --format wav", "is not a sound file, so it is left alone"),
        ("say Hi -o new.wav --srt thesis.tex", "is not subtitles, so it is left alone"),
        ("say Hi -o new.wav --vtt me.wav", "is not subtitles, so it is left alone"),
        ("bench --html thesis.tex", "is not a web page, so it is left alone"),
        ("bench --html link.wav", "is not a web page, so it is left alone"),
        ("voices export af_heart model.safetensors --force", "is not a voice file, so it is left alone"),
    ],
)
def test_files_of_the_user_stay(here: Path, arguments: str, sentence: str) -> None:
    before = {path.name: path.read_bytes() for path in here.iterdir()}
    result = run_edgetts(*arguments.split())
    assert result.exit_code == 2, result.output
    assert sentence in " ".join(result.output.split())
    assert {path.name: path.read_bytes() for path in here.iterdir()} == before
