"""A soak of `edgetts serve`: hours of changing load over all protocols, clients that go away in the middle, voices added
and removed, the model unloaded now and then. Memory, descriptors and threads are written to a file of JSON lines.

Prints a summary; exit code 1 if anything went wrong or something grew. What grows is judged by samples at rest: the
networks are loaded, and no request has been open for so long that the daemon has returned what is freed and closed idle
connections. What it holds then does not depend on the load. While clients speak memory goes up and down with them; there
the medians of the first and the last third are compared. Where the sound is determined, with a seed and thus chunks of
fixed sizes, it is compared to the bit; other sound must be as long as its text and not silent.

    PYTHONPATH=tests python tests/server/soak.py --minutes 60 --samples soak.jsonl
    PYTHONPATH=tests python tests/server/soak.py --minutes 1440 --samples day.jsonl
    PYTHONPATH=tests python tests/server/soak.py --summarize day.jsonl
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import numpy as np
from helpers.load import Task, descriptors, held_mib, memory_mib, sha256_of_wav
from helpers.paths import DATA
from helpers.plausible import Plausible, Samples, of_events, of_file, of_pcm
from helpers.serving import Served, free_port, serving
from helpers.soaked import summarize
from websockets.asyncio.client import connect
from wyoming.audio import AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.tts import Synthesize, SynthesizeVoice

from edgetts.api import TTS
from edgetts.request import SpeechRequest
from edgetts.server.client import Connection
from edgetts.server.encoder import PCM_RATE

VOICE, RATE = "af_heart", 22_050
TEXTS = (
    "Yes.",
    "The kettle is boiling, and nobody has noticed it.",
    "One, two, three, four, five.",
    "When the rain stopped, they went out. The street was empty, the lamps were lit, and it was quiet.",
    "It is a quarter past nine. You have no appointments today, but there are three letters in the box.",
)
LEVELS = (1, 3, 0, 2, 6, 1, 4, 0)  # clients, a minute each; 0: from the end of the last request
SAMPLE_S, PHASE_S, VOICE_S, UNLOAD_S, TIMEOUT_S = 10.0, 60.0, 45.0, 900.0, 600.0
_TICKS = os.sysconf("SC_CLK_TCK")


class Soak:
    """think_s: mean pause of a client between two requests. hurry: by what all times are divided."""

    def __init__(
        self,
        served: Served,
        wyoming_port: int,
        tasks: list[Task],
        plausible: dict[str, Plausible],
        think_s: float,
        hurry: float = 1.0,
    ) -> None:
        self._hurry = hurry
        self._served = served
        self._wyoming_port = wyoming_port
        self._tasks = tasks
        self._plausible = plausible  # by text
        self._think_s = think_s
        self._level = 0
        self._n_open = 0  # requests
        self._rests_since = time.monotonic()
        self.done: Counter[str] = Counter()
        self.wrong: list[str] = []
        # Shorter than the daemon's 5 s, or both would close and use a connection at the same moment.
        limits = httpx.Limits(max_connections=None, keepalive_expiry=2.0)
        self._http = httpx.AsyncClient(base_url=served.url, timeout=TIMEOUT_S, limits=limits)

    async def run(self, seconds: float, samples: Path) -> None:
        work = [self._client(number) for number in range(max(LEVELS))]
        work += [self._change_level(), self._change_voices(), self._unload()]
        running = [asyncio.create_task(one) for one in work]
        started = time.monotonic()
        with samples.open("w", buffering=1) as file:
            while (at := time.monotonic() - started) < seconds:
                file.write(json.dumps(await self._sample(at)) + "\n")
                await asyncio.sleep(SAMPLE_S / self._hurry)
                for task in running:
                    if task.done():
                        task.result()
            file.write(json.dumps(await self._sample(seconds)) + "\n")
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._http.aclose()

    async def _sample(self, at: float) -> dict[str, object]:
        pid = self._served.process.pid
        rests_s = 0.0 if self._n_open else time.monotonic() - self._rests_since
        ready = (await self._http.get("/ready")).json()
        opened = descriptors(pid)
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return {
            "minute": round(at / 60, 2),
            "memory_mib": round(memory_mib(pid), 1),
            "held_mib": round(held_mib(pid), 1),
            "descriptors": opened.total(),
            "sockets": opened["socket"],
            "threads": int(fields[17]),
            "cpu_s": (int(fields[11]) + int(fields[12])) / _TICKS,
            "clients": self._level,
            "rests_s": round(rests_s, 1),
            "streams": ready["streams"],
            "state": ready["state"],
            "done": dict(self.done),
            "wrong": len(self.wrong),
            "last_wrong": self.wrong[-3:],
        }

    async def _change_level(self) -> None:
        while True:
            for self._level in LEVELS:
                while not self._level and self._n_open:  # a rest begins when all have ended
                    await asyncio.sleep(0.1)
                await asyncio.sleep(PHASE_S / self._hurry)

    async def _client(self, number: int) -> None:
        chance = random.Random(number)
        kinds = (
            self._hashed,
            self._hashed,
            self._format,
            self._sse,
            self._socket,
            self._gone,
            self._wyoming,
            self._unix,
        )
        while True:
            await asyncio.sleep(chance.expovariate(self._hurry / self._think_s))
            if number < self._level:
                await self._try(chance.choice(kinds), chance)

    async def _try(self, kind: Callable[[random.Random], Awaitable[str]], chance: random.Random) -> None:
        name = kind.__name__.strip("_")
        self._n_open += 1
        try:
            self.done[await kind(chance)] += 1
        except Exception as error:
            self.wrong.append(f"{name}: {error!r}"[:300])
        finally:
            self._n_open -= 1
            self._rests_since = time.monotonic()

    # --- what clients do ------------------------------------------------------------------------------

    async def _hashed(self, chance: random.Random) -> str:
        task = chance.choice(self._tasks)
        answer = await self._http.post("/v1/audio/speech", json=task.body)
        if answer.status_code == 429:
            return "429"
        heard = sha256_of_wav(RATE, answer.content[44:]) if answer.status_code == 200 else answer.text
        assert heard == task.sha256, heard
        return "wav"

    async def _format(self, chance: random.Random) -> str:
        kind = chance.choice(("mp3", "opus", "flac", "pcm"))
        speed, text = chance.choice((0.8, 1.0, 1.5)), chance.choice(TEXTS)
        body = {"input": text, "voice": VOICE, "response_format": kind, "speed": speed}
        answer = await self._http.post("/v1/audio/speech", json=body)
        if answer.status_code == 200:
            samples, rate = (of_pcm(answer.content), PCM_RATE) if kind == "pcm" else of_file(answer.content)
            self._plausible[text].check(samples, rate, speed)
        return _status(answer.status_code, kind)

    async def _sse(self, chance: random.Random) -> str:
        text = chance.choice(TEXTS)
        body = {"input": text, "voice": VOICE, "response_format": "pcm", "stream_format": "sse"}
        answer = await self._http.post("/v1/audio/speech", json=body)
        if answer.status_code == 200:
            assert "speech.audio.done" in answer.text
            self._plausible[text].check(of_events(answer.text), PCM_RATE)
        return _status(answer.status_code, "sse")

    async def _gone(self, chance: random.Random) -> str:
        body = {"input": " ".join(TEXTS) * 3, "voice": VOICE, "response_format": "pcm"}
        async with self._http.stream("POST", "/v1/audio/speech", json=body) as answer:
            async for _ in answer.aiter_raw():
                break
        return _status(answer.status_code, "gone")

    async def _socket(self, chance: random.Random) -> str:
        url = f"{self._served.url.replace('http', 'ws')}/v1/audio/stream"
        async with connect(url, open_timeout=TIMEOUT_S) as socket:
            await socket.send(json.dumps({"type": "speak", "id": "1", "voice": VOICE}))
            text, heard = chance.choice(TEXTS), b""
            for word in text.split(" "):
                await socket.send(json.dumps({"type": "text", "id": "1", "text": word + " "}))
            await socket.send(json.dumps({"type": "end", "id": "1"}))
            async for message in socket:
                if isinstance(message, bytes):
                    heard += message
                elif (told := json.loads(message))["type"] == "error":
                    assert told["error"]["code"] == "queue_full", told
                    return "429"
                elif told["type"] == "done":
                    break
        self._plausible[text].check(of_pcm(heard), RATE)
        return "websocket"

    async def _wyoming(self, chance: random.Random) -> str:
        text, heard = chance.choice(TEXTS), b""
        async with AsyncTcpClient("127.0.0.1", self._wyoming_port) as client:
            await client.write_event(Synthesize(text, SynthesizeVoice(name=VOICE)).event())
            while (event := await client.read_event()) is not None and not AudioStop.is_type(event.type):
                assert event.type != "error" or event.data["code"] == "queue_full", event.data
                if event.type == "error":
                    return "429"
                heard += event.payload or b""
        self._plausible[text].check(of_pcm(heard), RATE)
        return "wyoming"

    async def _unix(self, chance: random.Random) -> str:
        request = SpeechRequest(text=chance.choice(TEXTS), voice=VOICE)

        def speak() -> Samples:
            with Connection(self._served.socket).start(request) as stream:
                return np.concatenate([chunk.samples for chunk in stream])

        self._plausible[request.text].check(await asyncio.to_thread(speak), RATE)
        return "unix"

    async def _change_voices(self) -> None:
        """A voice is made, speaks and goes, under a name of its own each time."""
        recording = (DATA / "speech.ogg").read_bytes()
        number = 0
        while True:
            await asyncio.sleep(VOICE_S / self._hurry)
            if not self._level:  # the daemon rests
                continue
            number += 1
            await self._try(
                lambda _chance, name=f"soak {number}": self._use_voice(name, recording), random.Random(number)
            )

    async def _use_voice(self, name: str, recording: bytes) -> str:
        form = {"name": name, "adapt_steps": "0"}
        made = await self._http.post("/v1/voices", data=form, files={"file": ("a.ogg", recording)})
        assert made.status_code == 201, made.text
        body = {"input": TEXTS[1], "voice": name, "response_format": "wav"}
        spoken = await self._http.post("/v1/audio/speech", json=body)
        removed = await self._http.delete(f"/v1/voices/{name}")
        assert removed.status_code == 200, removed.text
        if spoken.status_code == 200:
            self._plausible[TEXTS[1]].check(of_pcm(spoken.content[44:]), RATE)
        return _status(spoken.status_code, "voice")

    async def _unload(self) -> None:
        while True:
            await asyncio.sleep(UNLOAD_S / self._hurry)
            with contextlib.suppress(httpx.HTTPError):
                await self._http.post("/v1/unload")
                self.done["unload"] += 1


def _status(status: int, name: str) -> str:
    if status == 429:
        return "429"
    assert status == 200, f"status {status}"
    return name


def expected(tts: TTS) -> tuple[list[Task], dict[str, Plausible]]:
    """A task per text, with the hash of what this process says; and what other sound of each text is like."""
    tasks, plausible = [], {}
    for number, text in enumerate(TEXTS):
        with tts.stream(text, VOICE, dtype="int16", seed=number) as stream:
            samples = b"".join(chunk.samples.tobytes() for chunk in stream)
        body = {"input": text, "voice": VOICE, "seed": number, "response_format": "wav"}
        tasks.append(Task(body, sha256_of_wav(tts.sample_rate, samples)))
        plausible[text] = Plausible.like(of_pcm(samples), tts.sample_rate)
    return tasks, plausible


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--samples", type=Path, default=Path("soak.jsonl"), help="a line of JSON each 10 s")
    parser.add_argument("--think", type=float, default=8.0, help="mean seconds between two requests of a client")
    parser.add_argument("--hurry", type=float, default=1.0, help="divides all times, for a quick look")
    parser.add_argument("--log", type=Path, help="of the daemon")
    parser.add_argument("--summarize", type=Path, help="print the summary of such a file instead")
    given = parser.parse_args()
    if given.summarize is not None:
        return summarize(given.summarize)
    with tempfile.TemporaryDirectory() as folder:
        home, port = Path(folder), free_port()
        tts = TTS.load("builtin", device="cpu", home=home)
        tasks, plausible = expected(tts)
        tts.close()
        with serving(home, "builtin", "--wyoming", f"tcp://127.0.0.1:{port}", log=given.log) as served:
            soak = Soak(served, port, tasks, plausible, given.think, given.hurry)
            asyncio.run(soak.run(given.minutes * 60, given.samples))
    return summarize(given.samples)


if __name__ == "__main__":
    sys.exit(main())
