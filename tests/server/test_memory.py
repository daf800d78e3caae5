"""What a daemon holds: one heap for all its threads, nothing of past requests, no descriptors of clients that left."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import os
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import httpx
import pytest
from helpers.daemon import LONG, QUICK, VOICE, Running, home_of, running, until
from helpers.load import Task, burden, descriptors, held_mib, n_thread_heaps, sha256_of_wav
from helpers.serving import Served, serving
from websockets.sync.client import connect
from wyoming.audio import AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.info import Describe
from wyoming.tts import Synthesize, SynthesizeVoice

from edgetts.api import TTS
from edgetts.backends.process import ARENA_VARIABLES
from edgetts.request import SpeechRequest
from edgetts.server import host, voices
from edgetts.server.client import Connection

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux what a process holds")

BODY = {"voice": VOICE, "options": QUICK, "response_format": "wav"}
TEXTS = ("Yes.", "The kettle is boiling, and nobody has noticed it.", "One, two, three, four, five.")
ONE_THREAD = {"OMP_NUM_THREADS": "1"}  # as the tests have: the sound is compared
MOST_MIB = 32.0  # more when idle, after many requests, than after a few


def test_all_threads_of_a_daemon_share_one_heap(
    mini_pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ARENA_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with serving(home_of(tmp_path, mini_pack), mini_pack, variables=ONE_THREAD) as served:
        tasks = [heard_alone(served, {**BODY, "input": text, "seed": 1}) for text in TEXTS]
        assert burden(served.url, tasks, 0.5).wrong == []
        assert n_thread_heaps(served.process.pid) == 0


def heard_alone(served: Served, body: dict[str, object]) -> Task:
    """What the daemon answers while it does nothing else; another process may have other sums in the last bits."""
    answer = httpx.post(f"{served.url}/v1/audio/speech", json=body, timeout=60).raise_for_status()
    return Task(body, hashlib.sha256(answer.content).hexdigest())


def tasks_of(pack: Path | str, home: Path, voice: str, **options: object) -> list[Task]:
    """One per text."""
    tasks = []
    with TTS.load(pack, device="cpu", home=home) as tts:
        for number, text in enumerate(TEXTS):
            with tts.stream(text, voice, dtype="int16", seed=number, **options) as stream:
                samples = b"".join(chunk.samples.tobytes() for chunk in stream)
            body = {"input": text, "voice": voice, "options": options, "response_format": "wav", "seed": number}
            tasks.append(Task(body, sha256_of_wav(tts.sample_rate, samples)))
    return tasks


def test_freed_memory_is_returned_once_nobody_speaks(
    mini_pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "SETTLED_S", 0.2)
    with running(home_of(tmp_path, mini_pack), mini_pack, stop_s=1.0) as daemon:
        users: list[int] = []
        monkeypatch.setattr(host, "give_back_freed", lambda: users.append(daemon.service.host.n_users))
        with daemon.client.stream("POST", "/v1/audio/speech", json={**BODY, "input": LONG}) as first:
            assert first.status_code == 200
            assert daemon.speak("Hi.").status_code == 200
            time.sleep(0.5)  # another still speaks
            assert users == []
        until(lambda: users == [0])
        assert daemon.speak("Hi.").status_code == 200
        until(lambda: users == [0, 0])
        time.sleep(0.5)  # once for each pause
        assert users == [0, 0]


def use_all_protocols(daemon: Running, socket: Path) -> None:
    """A request over each, and one whose client goes away."""
    assert daemon.speak("Hi.").status_code == 200
    with daemon.client.stream("POST", "/v1/audio/speech", json={**BODY, "input": LONG}) as answer:
        assert answer.status_code == 200
    with connect(f"{daemon.url.replace('http', 'ws')}/v1/audio/stream") as spoken:
        spoken.send('{"type": "nonsense"}')
        spoken.recv(timeout=60)
    with Connection(socket).start(SpeechRequest("Hi.", VOICE, options=QUICK)) as stream:
        assert sum(len(chunk.samples) for chunk in stream)
    asyncio.run(describe(daemon.daemon.wyoming_port))
    files = {"file": ("a.wav", b"no recording")}
    assert daemon.client.post("/v1/voices", data={"name": "x"}, files=files).status_code == 400


async def describe(port: int) -> None:
    async with AsyncTcpClient("127.0.0.1", port) as client:
        await client.write_event(Describe().event())
        assert await client.read_event() is not None


def test_no_descriptor_stays_of_any_protocol(mini_pack: Path, tmp_path: Path) -> None:
    socket = tmp_path / "daemon.sock"
    more = {"socket": socket, "wyoming": ("127.0.0.1", 0)}
    with running(home_of(tmp_path, mini_pack), mini_pack, stop_s=1.0, **more) as daemon:
        for _ in range(2):
            use_all_protocols(daemon, socket)
        until(lambda: daemon.service.host.n_users == 0)
        time.sleep(0.5)
        before = descriptors(os.getpid())
        for _ in range(8):
            use_all_protocols(daemon, socket)
        until(lambda: descriptors(os.getpid()) <= before)  # by what they are open on


@pytest.mark.parametrize("kind", ["http", "gone", "websocket", "websocket, pieces", "unix", "wyoming", "refused"])
def test_the_networks_are_freed_when_they_are_unloaded(mini_pack: Path, tmp_path: Path, kind: str) -> None:
    """And not some time later, when Python collects garbage: an idle process may not do that for hours."""
    socket = tmp_path / "daemon.sock"
    more = {"socket": socket, "wyoming": ("127.0.0.1", 0)}
    with running(home_of(tmp_path, mini_pack), mini_pack, stop_s=1.0, **more) as daemon:
        gc.collect()
        gc.disable()
        try:
            for _ in range(2):
                use(daemon, socket, kind)
            until(lambda: daemon.service.host.n_users == 0)
            engine = weakref.ref(daemon.tts.engine)
            assert daemon.client.post("/v1/unload").status_code == 200
            until(lambda: engine() is None)
        finally:
            gc.enable()


def use(daemon: Running, socket: Path, kind: str) -> None:
    """One request of that kind."""
    if kind == "http":
        assert daemon.speak("Hi.").status_code == 200
    elif kind == "gone":
        with daemon.client.stream("POST", "/v1/audio/speech", json={**BODY, "input": LONG}) as answer:
            assert answer.status_code == 200
    elif kind == "unix":
        with Connection(socket).start(SpeechRequest("Hi.", VOICE, options=QUICK)) as stream:
            assert sum(len(chunk.samples) for chunk in stream)
    elif kind == "wyoming":
        asyncio.run(synthesize(daemon.daemon.wyoming_port))
    elif kind == "refused":
        assert daemon.speak("Hi.", voice="nobody").status_code == 400
        assert daemon.speak("Hi.", options={**QUICK, "max_codes": 1, "guards": True}).status_code in (200, 500)
    else:
        with connect(f"{daemon.url.replace('http', 'ws')}/v1/audio/stream") as spoken:
            text = {} if "pieces" in kind else {"input": "Hi."}
            spoken.send(json.dumps({"type": "speak", "id": "1", "voice": VOICE, "options": QUICK, **text}))
            if not text:
                spoken.send(json.dumps({"type": "text", "id": "1", "text": "Hi."}))
                spoken.send(json.dumps({"type": "end", "id": "1"}))
            while isinstance(told := spoken.recv(timeout=60), bytes) or json.loads(told)["type"] != "done":
                assert "error" not in str(told)


def test_threads_that_compute_end(mini_pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries keep buffers and more threads for each that computes, until it ends."""
    computed: dict[str, list[threading.Thread]] = {}

    def noting(owner: object, name: str) -> None:
        work = getattr(owner, name)

        def noted(*given: Any, **named: Any) -> Any:
            computed.setdefault(name, []).append(threading.current_thread())
            return work(*given, **named)

        monkeypatch.setattr(owner, name, noted)

    noting(host, "_load")
    noting(voices, "_enroll")
    noting(TTS, "start")
    with running(home_of(tmp_path, mini_pack), mini_pack, stop_s=1.0) as daemon:
        for _ in range(2):
            assert daemon.speak("Hi.").status_code == 200
            files = {"file": ("a.wav", b"no recording")}
            assert daemon.client.post("/v1/voices", data={"name": "x"}, files=files).status_code == 400
        assert {name: len(threads) for name, threads in computed.items()} == {"_load": 1, "start": 2, "_enroll": 2}
        until(lambda: not any(thread.is_alive() for threads in computed.values() for thread in threads))


async def synthesize(port: int) -> None:
    async with AsyncTcpClient("127.0.0.1", port) as client:
        await client.write_event(Synthesize("Hi.", SynthesizeVoice(name=VOICE)).event())
        while (event := await client.read_event()) is not None and not AudioStop.is_type(event.type):
            assert event.type != "error"


@pytest.mark.slow
def test_an_idle_daemon_holds_no_more_after_many_requests(tmp_path: Path) -> None:
    tasks = tasks_of("builtin", tmp_path, "af_heart")
    with serving(tmp_path, "builtin", variables=ONE_THREAD) as served:
        held = []
        for clients, seconds in ((1, 10.0), (4, 40.0), (1, 20.0), (4, 40.0)):
            assert burden(served.url, (tasks * 2)[:clients], seconds).wrong == []
            held.append(idle_mib(served))
    assert max(held) - held[0] < MOST_MIB, held


def idle_mib(served: Served) -> float:
    time.sleep(host.SETTLED_S + 1.0)
    assert httpx.get(f"{served.url}/ready").json()["streams"] == 0
    return held_mib(served.process.pid)
