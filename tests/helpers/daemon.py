"""A daemon in a thread of the tests, with the mini pack and one voice, `golden`, unless they say otherwise."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx

from edgetts.api import TTS
from edgetts.pack.load import open_pack
from edgetts.pack.locate import locate_pack
from edgetts.server.host import Host
from edgetts.server.run import Daemon
from edgetts.server.service import Service
from edgetts.server.settings import Settings
from edgetts.voices.store import VoiceStore
from helpers.voices import golden_voice, golden_voice_25

# Sound whose quality does not matter here.
QUICK = {"n_beams": 1, "n_steps": 1, "guards": False, "max_codes": 25, "max_segment_tokens": 20}
LONG = "This is a long text, which is spoken for quite a while. " * 300
VOICE = "golden"
INDEXTTS25 = "indextts-2.5"


@dataclass
class Running:
    """A running daemon and its client."""

    daemon: Daemon
    client: httpx.Client
    home: Path

    @property
    def url(self) -> str:
        return self.daemon.urls[0]

    @property
    def service(self) -> Service:
        return self.daemon.service

    @property
    def tts(self) -> TTS:
        tts = self.service.host.opened
        assert tts is not None
        return tts

    def speak(self, text: str, **fields: object) -> httpx.Response:
        return self.client.post("/v1/audio/speech", json={"input": text, "voice": VOICE, "options": QUICK, **fields})

    def reference(self, text: str, seed: int, **fields: object) -> bytes:
        """16-bit samples of the same speech, by this process without a daemon."""
        with self.tts.stream(text, VOICE, dtype="int16", seed=seed, **QUICK, **fields) as stream:
            return b"".join(chunk.samples.tobytes() for chunk in stream)


def until(is_so: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until it is true. Raises AssertionError at the timeout."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


@contextlib.contextmanager
def running(home: Path, pack: Path | str | None, **settings: object) -> Iterator[Running]:
    """A daemon with these settings, on a port of its own. home: where its voices are. pack: None: the default of home."""
    ready, failed = threading.Event(), list[BaseException]()
    made = list[Daemon]()

    async def serve() -> None:
        settled = Settings(port=0, **settings)
        locate = partial(locate_pack, pack, home)
        host = Host(lambda: TTS.load(locate(), device="cpu", home=home), settled.keep_alive_s, lambda: locate().path)
        daemon = Daemon(Service(host, settled), on_ready=lambda _daemon: ready.set())
        made.append(daemon)
        await daemon.run()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            failed.append(error)
            ready.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(600)
    if failed:
        raise failed[0]
    try:
        with httpx.Client(base_url=made[0].urls[0], timeout=300) as client:
            yield Running(made[0], client, home)
    finally:
        made[0].stop()
        thread.join(120)
    assert not thread.is_alive()
    if failed:
        raise failed[0]


def home_of(folder: Path, pack: Path) -> Path:
    """`folder` as a home with the voice that fits a mini pack of either family."""
    of = golden_voice_25 if open_pack(pack).manifest.family == INDEXTTS25 else golden_voice
    voice = of(pack)
    voice = dataclasses.replace(voice, emotion_base=voice.emotion_base.clone())  # files share no memory
    VoiceStore.default(folder).add(VOICE, voice)
    return folder
