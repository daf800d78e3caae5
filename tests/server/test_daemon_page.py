"""What docs/how-to/daemon.md shows is run as it stands there, with the built-in model; only ports are replaced."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.daemon import Running, running
from helpers.pages import blocks
from helpers.paths import TESTS
from typer.main import get_command

from edgetts.cli.app import app
from edgetts.pack.locate import builtin_pack

PAGE = TESTS.parent / "docs" / "how-to" / "daemon.md"
CODE = [block.code for block in blocks(PAGE, "python") if block.reason is None]
COMMANDS = "\n".join(block.code for block in blocks(PAGE, "bash")).replace("\\\n", "")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("home"), builtin_pack(), wyoming=("127.0.0.1", 0)) as daemon:
        yield daemon


def here(text: str, daemon: Running) -> str:
    port = daemon.url.rpartition(":")[2]
    return text.replace("8880", port).replace("10200", str(daemon.daemon.wyoming_port))


def check_sound(folder: Path) -> None:
    (path,) = folder.iterdir()
    if path.suffix == ".pcm":
        samples, rate = np.frombuffer(path.read_bytes(), "<i2") / 32768, 24_000
    else:
        samples, rate = soundfile.read(path)
    assert len(samples) > rate // 2 and np.abs(samples).max() > 0.02


@pytest.mark.parametrize("code", CODE, ids=["openai", "websocket", "wyoming"])
def test_snippets_of_clients(daemon: Running, code: str, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", here(code, daemon)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    check_sound(tmp_path)


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
def test_curl(daemon: Running, tmp_path: Path) -> None:
    command = next(line for line in COMMANDS.splitlines() if line.startswith("curl"))
    subprocess.run(shlex.split(here(command, daemon)), cwd=tmp_path, check=True, timeout=120)
    check_sound(tmp_path)


def test_every_verb_and_option_exists() -> None:
    verbs = get_command(app).commands  # type: ignore[attr-defined]
    calls = re.findall(r"^(?:sudo )?edgetts (.*)$", COMMANDS, flags=re.MULTILINE)
    assert len(calls) > 10
    for call in calls:
        words, more = shlex.split(call, comments=True), list[str]()
        if "--" in words:
            words, more = words[: words.index("--")], words[words.index("--") :]
        verb = verbs[words[0]]
        verb = verb.commands[words[1]] if words[0] == "service" else verb
        for used, known in ((words, verb), (more[1:], verbs["serve"])):
            options = {name for parameter in known.params for name in parameter.opts}
            assert {word for word in used if word.startswith("-")} <= options, call
