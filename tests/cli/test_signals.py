"""A signal ends a verb without a trace, wherever it comes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from helpers.command import run_edgetts


@pytest.mark.parametrize(("signal", "code"), [(SystemExit(143), 143), (KeyboardInterrupt(), 130)])
def test_a_signal_while_a_lock_is_taken_back_ends_without_a_trace(
    monkeypatch: pytest.MonkeyPatch, signal: BaseException, code: int
) -> None:
    def wait(*_: object, **__: object) -> None:
        try:
            raise signal
        finally:  # as `Condition.wait` does it when it is interrupted early
            raise RuntimeError("cannot release un-acquired lock")

    monkeypatch.setattr("edgetts.cli.say.request.words", wait)
    result = run_edgetts("say", "Hi", "-o", os.devnull, "--format", "wav")
    assert result.exit_code == code and not result.output


_KILL = "os.kill(os.getpid(), signal.SIGINT)"
_AT_IMPORT = """
import importlib.abc, os, signal, sys

class Interrupt(importlib.abc.MetaPathFinder):
    def find_spec(self, name, *_):
        if name == sys.argv[-1]:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
"""


def _process(before: str, *arguments: str) -> tuple[int, str]:
    """Exit code and output of the command in a process of its own, in which `before` was run first."""
    code = f"import os, signal, sys\n{before}\nsys.argv = {['edgetts', *arguments]!r}\n"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "started.py").write_text(f"{code}from edgetts.cli import main\nmain()\n")
        ended = subprocess.run(  # as a module: CPython ends those by the signal more readily than other scripts
            [sys.executable, "-m", "started"], cwd=folder, capture_output=True, text=True, timeout=120, check=False
        )
    return ended.returncode, ended.stdout + ended.stderr


@pytest.mark.parametrize("module", ["edgetts.cli.app", "typer", "platformdirs", "edgetts.cli.say"])
def test_an_early_signal_ends_without_a_trace(module: str) -> None:
    speak = ("say", "Hi.", "--socket", "/nonexistent", "-o", "x.wav")
    assert _process(_AT_IMPORT.replace("sys.argv[-1]", repr(module)), *speak) == (130, "")


@pytest.mark.parametrize("in_text", [False, True], ids=["", "in code from text, as dataclasses make it"])
@pytest.mark.parametrize("verb", ["quantize", "convert"])
def test_making_a_pack_ends_without_a_trace(verb: str, in_text: bool, tmp_path: Path) -> None:
    interrupt = _AT_IMPORT.replace("sys.argv[-1]", repr(f"edgetts.quant.{verb}"))
    if in_text:
        interrupt = interrupt.replace(_KILL, f"exec({_KILL + '; str()'!r})")
    recipe = ("--recipe", "cpu-arm64") if verb == "quantize" else ()
    assert _process(interrupt, verb, str(tmp_path / "none"), str(tmp_path / "x"), *recipe) == (130, "")


def test_a_signal_while_the_process_ends_leaves_no_trace() -> None:
    late = f"import atexit\natexit.register(lambda: {_KILL})"
    code, output = _process(late, "--version")
    assert code == 130 and len(output.splitlines()) == 1


def test_a_process_in_the_background_goes_on_ignoring_the_signal() -> None:
    ignoring = f"import atexit\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\natexit.register(lambda: {_KILL})"
    code, output = _process(ignoring, "--version")
    assert code == 0 and output.startswith("edgetts ")
