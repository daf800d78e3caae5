"""Seconds until the first sound, client by client, from one warm `edgetts serve` with the built-in model, beside the same
call in a process that has the model itself. Prints a table; exit code 1 if a client is slower than both bounds.

    PYTHONPATH=tests python tests/server/first_sound.py

Each client asks in turn, round after round, so that what disturbs the machine disturbs all. curl, `say` and the browser
count from the start of their process or request to the first byte of sound; `say` may take what it takes to fail without
a daemon, which is its start, and 1.2 times the engine's first sound.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import openai
from helpers.browser import Page, browser, program
from helpers.serving import Served, free_port, serving
from websockets.sync.client import connect
from wyoming.audio import AudioChunk, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.tts import Synthesize, SynthesizeVoice

from edgetts.api import TTS
from edgetts.request import SpeechRequest
from edgetts.server.client import Connection

TEXT = "Good morning. It is a quarter past nine."
VOICE = "af_heart"
BODY = {"input": TEXT, "voice": VOICE, "response_format": "pcm"}
BOUND_S, SAY_S = 0.35, 0.4  # of a client, of `say`
RATIO, SAY_RATIO = 1.3, 1.2
ENGINE, START = "in process", "say: its start alone"
FETCH = """(async () => { const at = performance.now(); const answer = await fetch("/v1/audio/speech", {method: "POST",
    headers: {"Content-Type": "application/json"}, body: JSON.stringify(%s)}); const reader = answer.body.getReader();
    await reader.read(); const first = performance.now() - at; while (!(await reader.read()).done); return first / 1000; })()"""


class Clients:
    """Each method makes one request, hears it to its end and returns the seconds until its first sound."""

    def __init__(self, tts: TTS, served: Served, wyoming_port: int, page: Page | None) -> None:
        self._tts = tts
        self._served = served
        self._wyoming_port = wyoming_port
        self._page = page
        self._openai = openai.OpenAI(base_url=f"{served.url}/v1", api_key="none")
        self._http = httpx.Client(base_url=served.url, timeout=60)

    def all(self) -> dict[str, Callable[[], float]]:
        found = {
            ENGINE: self.engine,
            "HTTP (httpx)": self.http,
            "openai": self.openai,
            "WebSocket": self.websocket,
            "Wyoming": self.wyoming,
            "Unix socket": self.unix,
            "say: process to first sample": self.say,
            START: self.start,
        }
        if shutil.which("curl"):
            found["curl: process to first byte"] = self.curl
        if self._page is not None:
            found["browser (fetch)"] = self.fetch
        return found

    def engine(self) -> float:
        started = time.perf_counter()
        with self._tts.start(SpeechRequest(text=TEXT, voice=VOICE)) as stream:
            return _first(started, (len(chunk.samples) for chunk in stream))

    def http(self) -> float:
        started = time.perf_counter()
        with self._http.stream("POST", "/v1/audio/speech", json=BODY) as answer:
            return _first(started, map(len, answer.iter_raw()))

    def openai(self) -> float:
        started = time.perf_counter()
        speech = self._openai.audio.speech.with_streaming_response
        with speech.create(model="tts-1", voice=VOICE, input=TEXT, response_format="pcm") as answer:
            return _first(started, map(len, answer.iter_bytes()))

    def websocket(self) -> float:
        with connect(f"{self._served.url.replace('http', 'ws')}/v1/audio/stream") as socket:
            started, first = time.perf_counter(), None
            socket.send(json.dumps({"type": "speak", "input": TEXT, "voice": VOICE}))
            for message in socket:
                if isinstance(message, bytes):
                    first = first or time.perf_counter() - started
                elif json.loads(message)["type"] == "done":
                    break
        assert first is not None
        return first

    def wyoming(self) -> float:
        async def ask() -> float:
            started, first = time.perf_counter(), None
            async with AsyncTcpClient("127.0.0.1", self._wyoming_port) as client:
                await client.write_event(Synthesize(TEXT, SynthesizeVoice(name=VOICE)).event())
                while (event := await client.read_event()) is not None and not AudioStop.is_type(event.type):
                    if AudioChunk.is_type(event.type):
                        first = first or time.perf_counter() - started
            assert first is not None
            return first

        return asyncio.run(ask())

    def unix(self) -> float:
        started = time.perf_counter()
        with Connection(self._served.socket).start(SpeechRequest(text=TEXT, voice=VOICE)) as stream:
            return _first(started, (len(chunk.samples) for chunk in stream))

    def say(self) -> float:
        return self._process("-v", VOICE, "--socket", str(self._served.socket), "--raw", "-q")

    def start(self) -> float:
        command = [sys.executable, "-m", "edgetts", "say", TEXT, "-v", VOICE, "--socket", "/nonexistent", "--raw"]
        started = time.perf_counter()
        subprocess.run(command, capture_output=True, check=False)
        return time.perf_counter() - started

    def _process(self, *options: str) -> float:
        started = time.perf_counter()
        command = [sys.executable, "-m", "edgetts", "say", TEXT, *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            return _first(started, iter(lambda: len(os.read(process.stdout.fileno(), 1 << 16)), 0))  # type: ignore[union-attr]

    def curl(self) -> float:
        started = time.perf_counter()
        command = ["curl", "-sN", f"{self._served.url}/v1/audio/speech", "-H", "Content-Type: application/json"]
        with subprocess.Popen([*command, "-d", json.dumps(BODY)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            return _first(started, iter(lambda: len(os.read(process.stdout.fileno(), 1 << 16)), 0))  # type: ignore[union-attr]

    def fetch(self) -> float:
        assert self._page is not None
        return float(self._page.run(FETCH % json.dumps(BODY)))


def _first(started: float, lengths: object) -> float:
    """Seconds until the first length above 0; takes all of them."""
    first = None
    for length in lengths:  # type: ignore[attr-defined]
        if length and first is None:
            first = time.perf_counter() - started
    assert first is not None
    return first


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-browser", action="store_true")
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        home, port = Path(stack.enter_context(tempfile.TemporaryDirectory())), free_port()
        os.environ["EDGETTS_HOME"] = str(home)
        served = stack.enter_context(serving(home, "builtin", "--wyoming", f"tcp://127.0.0.1:{port}"))
        tts = TTS.load("builtin", device="cpu", home=home)
        page = None
        if program() is not None and not given.no_browser:
            page = stack.enter_context(browser(home / "profile"))
            page.go(f"{served.url}/")
        clients = Clients(tts, served, port, page).all()
        times: dict[str, list[float]] = {name: [] for name in clients}
        for round_ in range(given.rounds + 2):
            for name, ask in clients.items():
                took = ask()
                if round_ >= 2:  # the first ones learn how fast this machine is
                    times[name].append(took)
    return _report(times)


def _report(times: dict[str, list[float]]) -> int:
    medians = {name: float(np.median(of)) for name, of in times.items()}
    engine = medians[ENGINE]
    print("| client | median (ms) | least | most | over in process |\n|---|---|---|---|---|")
    slow = []
    for name, of in times.items():
        print(f"| {name} | {_ms(medians[name])} | {_ms(min(of))} | {_ms(max(of))} | {medians[name] / engine:.2f} |")
        if name.startswith("say: process"):
            bound = max(SAY_S, medians[START] + SAY_RATIO * engine)
        else:
            bound = max(BOUND_S, RATIO * engine)
        if medians[name] > bound and name not in (ENGINE, START):
            slow.append(f"{name}: {_ms(medians[name])} ms, allowed are {_ms(bound)} ms")
    print(*slow, sep="\n")
    return 1 if slow else 0


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f}"


if __name__ == "__main__":
    sys.exit(main())
