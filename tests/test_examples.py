"""The examples in docs/examples: each runs with the built-in model, and is typed."""

from __future__ import annotations

import ast
import asyncio
import builtins
import importlib.util
import io
import json
import queue
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile
from helpers.paths import TESTS

from edgetts import TTS, Audio
from edgetts.audio.playback import portaudio
from edgetts.audio.playback.simulated import SimulatedClock, SimulatedSink
from edgetts.pack.locate import builtin_pack

EXAMPLES = TESTS.parent / "docs" / "examples"
RATE = 22_050


@pytest.fixture(scope="module")
def tts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TTS]:
    with TTS.load(builtin_pack(), home=tmp_path_factory.mktemp("home"), device="cpu") as opened:
        yield opened


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check_speech(samples: np.ndarray) -> None:
    assert len(samples) > RATE // 2 and 0.02 < np.abs(samples).max() <= 1.0


def test_chatbot_writes_its_answers(
    tts: TTS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chatbot = example("chatbot")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(chatbot.TTS, "load", lambda: tts)
    monkeypatch.setattr(sys, "argv", ["chatbot.py", "--save", "answer", "--voice", "af_heart"])
    questions = iter(["Will it rain?", ""])
    monkeypatch.setattr(builtins, "input", lambda _prompt: next(questions))
    chatbot.main()
    assert [p.name for p in tmp_path.iterdir()] == ["answer-1.wav"]
    check_speech(soundfile.read("answer-1.wav")[0])


def test_chatbot_plays_while_the_model_writes(tts: TTS, monkeypatch: pytest.MonkeyPatch) -> None:
    chatbot = example("chatbot")
    heard: list[np.ndarray] = []
    n_written = 0

    def sink(_device: str | None) -> SimulatedSink:
        return SimulatedSink(SimulatedClock(), lambda block: heard.append(block / 32_767))

    def answer() -> Iterator[str]:
        nonlocal n_written
        for piece in ("It is a long ", "answer. ", "It has two ", "sentences."):
            n_written += 1
            yield piece

    monkeypatch.setattr(portaudio, "PortAudioSink", sink)
    chatbot.speak(tts, answer(), None, None)
    assert n_written == 4
    check_speech(np.concatenate(heard))


def test_asyncio_server_speaks_to_several_clients(tts: TTS) -> None:
    server = example("asyncio_server")

    async def client(port: int, text: str) -> np.ndarray:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(text.encode() + b"\n")
        writer.write_eof()
        samples = np.frombuffer(await reader.read(-1), np.int16) / 32_767
        writer.close()
        return samples

    async def leave_early(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"This is a sentence that nobody listens to until its end, because it is so long.\n")
        await reader.read(100)
        writer.transport.abort()

    async def both() -> list[np.ndarray]:
        listening = await server.start(tts, 0)
        async with listening:
            port = listening.sockets[0].getsockname()[1]
            await leave_early(port)
            return await asyncio.gather(client(port, "Hello."), client(port, "This one is quite a bit longer."))

    short, long = asyncio.run(asyncio.wait_for(both(), 120))
    check_speech(short)
    assert len(long) > len(short)


def test_timer_speaks_when_time_is_up(tts: TTS) -> None:
    timer = example("gui_timer")
    now = 0.0
    waiting: list[tuple[int, Callable[[], None]]] = []
    shown: list[str] = []
    played: queue.Queue[tuple[float, Audio]] = queue.Queue()
    timer.SpokenTimer(
        61.0,
        lambda: tts.say("Your tea is ready.", seed=1),
        after=lambda ms, call: waiting.append((ms, call)),
        show=shown.append,
        play=lambda audio: played.put((now, audio)),
        now=lambda: now,
    )
    n_ticks = 0
    while waiting:
        ms, call = waiting.pop()
        n_ticks += 1
        now += ms / 1000
        call()
        if now > 61 and waiting:  # the sentence takes longer than this clock: let its thread run
            time.sleep(0.01)
    assert n_ticks >= 305
    at, audio = played.get(timeout=60)
    assert shown[0] == "1:01" and shown[-1] == "0:00" and "0:30" in shown
    assert at >= 61
    check_speech(np.asarray(audio))


def run_cell(source: str, names: dict[str, Any]) -> Any:
    """Run a cell as a notebook does; the value of its last expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names) if isinstance(last, ast.Expr) else None


def test_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    table = json.loads((EXAMPLES / "notebook.ipynb").read_text(encoding="utf-8"))
    assert table["nbformat"] == 4 and not any(cell.get("outputs") for cell in table["cells"])
    names: dict[str, Any] = {}
    shown = [run_cell("".join(cell["source"]), names) for cell in table["cells"] if cell["cell_type"] == "code"]
    players = [value for value in shown if hasattr(value, "_repr_html_")]
    assert len(players) == 2 and all("<audio" in player._repr_html_() for player in players)
    samples, rate = soundfile.read(io.BytesIO((tmp_path / "notebook.flac").read_bytes()))
    assert rate == RATE
    check_speech(samples)


def test_examples_are_typed() -> None:
    files = sorted(map(str, EXAMPLES.glob("*.py")))
    assert len(files) == 3
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", *files],
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
