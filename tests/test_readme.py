"""What the README shows is run as it stands there, with the built-in model. The installation is CI's part."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.paths import TESTS

README = (TESTS.parent / "README.md").read_text(encoding="utf-8")
INSTALL = "pip install . && "


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def check_speech(path: Path) -> None:
    samples, rate = soundfile.read(path)
    assert rate == 22_050 and len(samples) > rate // 2
    assert 0.02 < np.abs(samples).max() <= 1.0 and np.sqrt(np.mean(samples**2)) > 0.005


def test_the_first_command_ends_in_speech(tmp_path: Path) -> None:
    command = next(b for b in blocks("bash") if b.startswith(INSTALL)).removeprefix(INSTALL).strip()
    words = shlex.split(command)
    assert words[0] == "edgetts" and words[-2:] == ["-o", "hello.wav"]
    done = subprocess.run([sys.executable, "-m", *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("built-in demonstration model") == 1 and "edgetts setup" in done.stderr
    check_speech(tmp_path / "hello.wav")


@pytest.mark.parametrize("code", blocks("python"))
def test_python_examples(code: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for path in tmp_path.glob("*.wav"):
        check_speech(path)
    assert done.stdout


def test_every_verb_and_option_in_the_readme_exists() -> None:
    from typer.main import get_command

    from edgetts.cli.app import app

    verbs = get_command(app).commands  # type: ignore[attr-defined]
    for line in "\n".join(blocks("bash")).splitlines():
        for call in re.findall(r"\bedgetts (?!\")([a-z]+.*?)(?=\s+#|\||$)", line):
            words = shlex.split(call)
            verb = verbs[words[0]]
            if words[0] == "voices":
                verb = verb.commands[words[1]]
            known = {o for p in verb.params for o in (*p.opts, *p.secondary_opts)}
            assert {w for w in words if w.startswith("-") and w != "-"} <= known, line
