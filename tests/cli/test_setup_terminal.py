"""Ctrl-C at a terminal, at each question of `edgetts setup` and in each of its steps: a sentence, 130, and it goes on."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("huggingface_hub", reason="needs the extra `download`")

from helpers.fake_hub import FakeHub, repositories_of, serve
from helpers.paths import TESTS
from helpers.terminal import CTRL_C, Terminal
from helpers.voices import voice_for

from edgetts.cli.setup.ask import ask

ROOT = TESTS.parent
RESUMES = "note: Stopped; the same command goes on where it stopped."


@pytest.fixture(scope="module")
def hub(mini_checkpoint: Path) -> Iterator[FakeHub]:
    with serve(FakeHub(repositories_of(mini_checkpoint))) as running:
        yield running


@pytest.fixture
def environment(hub: FakeHub, home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("EDGETTS_", "XDG_", "HF_"))}
    own = {"EDGETTS_HOME": str(home), "HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(home.parent / "none")}
    return {**kept, **own, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100"}


QUESTIONS = (
    ("Number or name [IndexTTS-2.5]", "2"),
    ("Name (? lists them)", "reference-fp32"),
    ("File", ""),
    ("Do you agree to these licenses? [no]", "y"),
    ("Go on? [yes]", ""),
)


@pytest.mark.parametrize(
    ("words", "questions", "said"),
    [pytest.param(["setup"], QUESTIONS[:n], "changed", id=QUESTIONS[n - 1][0]) for n in range(1, len(QUESTIONS) + 1)]
    + [pytest.param(["download", "--model", "IndexTTS-2"], QUESTIONS[3:4], "downloaded", id="download")],
)
def test_at_a_question(
    words: list[str],
    questions: tuple[tuple[str, str], ...],
    said: str,
    environment: dict[str, str],
    home: Path,
    tmp_path: Path,
) -> None:
    """The last one is not answered."""
    terminal = Terminal(tmp_path, *words, environment=environment)
    try:
        for question, answer in questions[:-1]:
            terminal.wait_for(question)
            terminal.type(f"{answer}\n")
        terminal.wait_for(questions[-1][0])
        terminal.type(CTRL_C)
        assert terminal.ends() == 130, terminal.shown
    finally:
        terminal.close()
    assert terminal.shown.endswith(f"^C\nnote: Stopped; nothing was {said}.\n") and "Traceback" not in terminal.shown
    assert not home.exists()


def test_ctrl_c_while_a_question_is_printed_ends_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may come before the answer is waited for."""

    class Screen(io.StringIO):
        interrupted = False

        def flush(self) -> None:
            if not self.interrupted:
                self.interrupted = True
                raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stderr", Screen())
    with pytest.raises(KeyboardInterrupt):
        ask("Name?", "me", str)
    assert sys.stderr.getvalue() == "Name? [me] \n"  # type: ignore[attr-defined]


# What is stopped in each step: it says that it was reached, and waits. Later steps see what earlier runs have left.
STEPS = {
    "download": "edgetts.quant.download:_fetch",
    "quantize": "edgetts.quant.build:plan_bytes",
    "default": "edgetts.cli.setup.steps:write_default",
    "warm up": "edgetts.bench.warm:warm",
    "voice": "edgetts.cli.setup.steps:Steps._checked",
    "speak": "edgetts.api:TTS.say",
}
WAITING = """
import importlib, time
module, _, name = {place!r}.partition(":")
owner = importlib.import_module(module)
*path, last = name.split(".")
for part in path:
    owner = getattr(owner, part)

def wait(*_, **__):
    print("reached", flush=True)
    time.sleep(600)

setattr(owner, last, wait)
"""


@pytest.mark.slow  # seven processes that import torch, six of which load or make a pack
def test_in_each_step(environment: dict[str, str], recipe: Path, home: Path, tmp_path: Path) -> None:
    words = ["setup", "--model", "IndexTTS-2", "--recipe", str(recipe), "--yes", "--accept-license"]
    words += ["-o", str(tmp_path / "hello.wav"), "--say", "Hello."]
    pack = home / "packs" / "indextts-2-quick"
    for step, place in STEPS.items():
        if step == "voice":
            words += ["--voice", str(voice_for(pack, tmp_path / "anna.safetensors"))]
        terminal = Terminal(tmp_path, *words, before=WAITING.format(place=place), environment=environment)
        try:
            terminal.wait_for("reached")
            terminal.type(CTRL_C)
            assert terminal.ends() == 130, terminal.shown
        finally:
            terminal.close()
        last = [line for line in terminal.shown.splitlines() if line.strip()][-1]
        assert last.endswith(RESUMES) and "Traceback" not in terminal.shown, (step, terminal.shown)
        assert pack.exists() == (step not in ("download", "quantize")), step
        assert not (tmp_path / "hello.wav").exists()
    terminal = Terminal(tmp_path, *words, environment=environment)
    try:
        assert terminal.ends() == 0, terminal.shown
    finally:
        terminal.close()
    assert "IndexTTS-2 is ready" in terminal.shown and (tmp_path / "hello.wav").stat().st_size > 1000
    assert [path.name for path in (home / "packs").iterdir()] == [pack.name]
    assert not [path for path in (home / "checkpoints").rglob("*") if path.suffix in (".part", ".incomplete")]
