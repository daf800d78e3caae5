"""What the shell offers after Tab."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.command import Edgetts

from edgetts.cli import complete
from edgetts.options import PRESETS
from edgetts.voices.emotion import EMOTIONS


def test_voices_of_the_user_and_of_the_built_in_pack(home: Path) -> None:
    (home / "voices").mkdir(parents=True)
    for name in ("anna.safetensors", "af_mine.safetensors", ".hidden.safetensors", "notes.txt"):
        (home / "voices" / name).touch()
    assert complete.voices("a") == ["af_mine", "anna", "af_heart", "am_michael"]
    assert complete.voices("bm") == ["bm_george"]
    assert complete.voices("zz") == []


def test_packs_are_folders_with_a_manifest(home: Path) -> None:
    for name in ("default", "small"):
        (home / "packs" / name).mkdir(parents=True)
    (home / "packs" / "small" / "manifest.json").touch()
    assert complete.packs("") == ["small", "builtin"] and complete.own_packs("") == ["small"]


def test_names_from_tables() -> None:
    assert complete.presets("") == list(PRESETS)
    assert complete.recipes("la") == ["laptop-4gb", "laptop-8gb", "laptop-turing"] and "auto" in complete.recipes("")
    assert complete.emotions("happy=0.4,s") == ["happy=0.4,sad=", "happy=0.4,surprised="]
    assert len(complete.emotions("")) == len(EMOTIONS)


def test_a_completion_never_fails(home: Path) -> None:
    home.write_text("not a folder")
    assert complete.voices("af") == ["af_heart"] and complete.packs("") == ["builtin"]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("say hi --voice af_", "af_heart"),
        ("say hi --preset ba", "balanced"),
        ("quantize builtin small.pack --recipe jetson-o", "jetson-orin-nano"),
    ],
)
def test_the_shell_gets_them(typed: str, offered: str, edgetts: Edgetts) -> None:
    words = f"edgetts {typed}"
    environment = {"_EDGETTS_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    code = "import sys; from edgetts.cli import main; sys.argv = ['edgetts']; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert offered in done.stdout.split(), done.stderr
