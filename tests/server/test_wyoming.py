"""Wyoming, with the client of its own package, as Home Assistant uses it."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from helpers.command import run_edgetts
from helpers.daemon import LONG, VOICE, Running, home_of, running, until
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong
from wyoming.tts import (
    Synthesize,
    SynthesizeChunk,
    SynthesizeStart,
    SynthesizeStop,
    SynthesizeStopped,
    SynthesizeVoice,
)

from edgetts.errors import UsageError
from edgetts.request import SpeechRequest
from edgetts.server import announce
from edgetts.server.settings import Limits, Settings, wyoming_address

SPOKEN = SynthesizeVoice(name=VOICE)
# The mini pack's codes are noise: guards would retry for ever, and defaults take 25 steps.
DEFAULTS = {"n_beams": 1, "n_steps": 1, "guards": False, "max_codes": 20, "seed": 7}
Work = Callable[[AsyncTcpClient], Awaitable[None]]


@pytest.fixture(scope="module")
def daemon(mini_pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = home_of(tmp_path_factory.mktemp("home"), mini_pack)
    limits = Limits(streams=1, waiting=1, text_characters=20_000, body_bytes=30_000)
    with running(home, mini_pack, limits=limits, stop_s=1.0, wyoming=("127.0.0.1", 0)) as daemon:
        daemon.tts.pack.manifest.defaults.update(DEFAULTS)  # type: ignore[attr-defined]
        start = daemon.tts.start
        # Chunks of one size: measured speeds would change the sound from call to call.
        daemon.tts.start = lambda request, *more, **others: start(  # type: ignore[method-assign]
            dataclasses.replace(request, chunks=(20,)), *more, **others
        )
        yield daemon


def talk(daemon: Running, work: Work) -> None:
    async def run() -> None:
        async with AsyncTcpClient("127.0.0.1", daemon.daemon.wyoming_port) as client:
            await asyncio.wait_for(work(client), 60)

    asyncio.run(run())


async def events(client: AsyncTcpClient, last: type) -> AsyncIterator[Event]:
    """Up to the one of type `last`."""
    while True:
        event = await client.read_event()
        assert event is not None
        yield event
        if last.is_type(event.type):
            return


async def heard(client: AsyncTcpClient, last: type = AudioStop) -> bytes:
    samples, kinds = b"", list[str]()
    async for event in events(client, last):
        kinds.append(event.type)
        if AudioChunk.is_type(event.type):
            chunk = AudioChunk.from_event(event)
            assert (chunk.rate, chunk.width, chunk.channels) == (22_050, 2, 1)
            assert chunk.timestamp == round(1000 * len(samples) / 2 / 22_050)
            samples += chunk.audio
    ends = [SynthesizeStopped(), AudioStop()] if last is SynthesizeStopped else [AudioStop()]
    assert kinds[0] == AudioStart(22_050, 2, 1).event().type
    assert kinds[-len(ends) :] == [end.event().type for end in reversed(ends)]
    assert len(samples) > 2000
    return samples


async def error(client: AsyncTcpClient) -> Error:
    """Which is the last thing that a client hears."""
    async for event in events(client, Error):
        found = event
    assert await client.read_event() is None
    return Error.from_event(found)


def test_voices_have_languages(daemon: Running) -> None:
    async def work(client: AsyncTcpClient) -> None:
        await client.write_event(Describe().event())
        event = await client.read_event()
        assert event is not None
        program = Info.from_event(event).tts[0]
        assert program.installed and program.supports_synthesize_streaming
        assert [(voice.name, sorted(voice.languages)) for voice in program.voices] == [(VOICE, ["en", "zh"])]
        await client.write_event(Ping(text="still there?").event())
        event = await client.read_event()
        assert event is not None and Pong.from_event(event).text == "still there?"

    talk(daemon, work)


def test_texts_in_order_on_one_connection(daemon: Running) -> None:
    async def work(client: AsyncTcpClient) -> None:
        for voice in (SPOKEN, None, SynthesizeVoice(language="en")):
            await client.write_event(Synthesize("Hello there.", voice).event())
        first = await heard(client)
        assert await heard(client) == await heard(client) == first

    talk(daemon, work)


@pytest.mark.parametrize("length", [1, 3, 100])
def test_text_in_pieces_that_end_anywhere(daemon: Running, length: int) -> None:
    text = "Hello there all of you"  # one clause: several may be planned together or not, as they arrive

    async def work(client: AsyncTcpClient) -> None:
        await client.write_event(SynthesizeStart(SPOKEN).event())
        for at in range(0, len(text), length):
            await client.write_event(SynthesizeChunk(text[at : at + length]).event())
        await client.write_event(Synthesize(text, SPOKEN).event())  # for servers that do not stream
        await client.write_event(SynthesizeStop().event())
        streamed = await heard(client, SynthesizeStopped)
        await client.write_event(Ping().event())
        event = await client.read_event()
        assert event is not None and Pong.is_type(event.type)  # the text was not spoken twice
        assert streamed == expected

    with daemon.tts.start(SpeechRequest(voice=VOICE, dtype="int16"), pieces=[text]) as stream:
        expected = b"".join(chunk.samples.tobytes() for chunk in stream)
    talk(daemon, work)


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (Synthesize("Hello.", SynthesizeVoice(name="nobody")).event(), "nobody"),
        (Synthesize("Hello.", SynthesizeVoice(name="../../etc/passwd")).event(), "not a valid name"),
        (Synthesize("Hello.", SynthesizeVoice(name=VOICE, speaker="two")).event(), "speaker"),
        (Event("synthesize", {"text": "<speak>Hello.</speak>", "text_format": "ssml"}), "text_format"),
        (Synthesize(LONG * 2, SPOKEN).event(), "30000 bytes"),
        (Synthesize("a " * 10_001, SPOKEN).event(), "characters"),
        (Synthesize("", SPOKEN).event(), "nothing to speak"),
        (Event("synthesize", {"text": 7}), "string"),
        (Event("synthesize", {"text": "Hi.", "voice": [1]}), "voice"),
        (SynthesizeChunk("Hello.").event(), "synthesize-start"),
    ],
)
def test_what_cannot_be_spoken_is_said_and_ends_the_connection(daemon: Running, sent: Event, said: str) -> None:
    async def work(client: AsyncTcpClient) -> None:
        await client.write_event(sent)
        assert said in (await error(client)).text.lower()

    talk(daemon, work)


@pytest.mark.parametrize(
    "data",
    [
        b"{}\n",
        b"garbage\n",
        b"[]\n",
        b'{"type": "synthesize", "data": [1]}\n',
        b'{"type": "synthesize", "data_length": 99999999999}\n',
        b"x" * 100_000,
    ],
)
def test_what_is_no_event(daemon: Running, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", daemon.daemon.wyoming_port)) as client:
        client.settimeout(10)
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        answer = client.recv(1 << 16)
    assert answer == b"" if data == b"{}\n" else b'"error"' in answer


def test_a_client_that_leaves_stops_its_stream_and_a_busy_daemon_says_so(daemon: Running) -> None:
    async def work(client: AsyncTcpClient) -> None:
        await client.write_event(SynthesizeStart(SPOKEN).event())
        until(lambda: daemon.service.queue.n_served == 1)
        async with AsyncTcpClient("127.0.0.1", daemon.daemon.wyoming_port) as second:
            await second.write_event(Synthesize("Hello.", SPOKEN).event())
            until(lambda: daemon.service.queue.n_waiting == 1)
            async with AsyncTcpClient("127.0.0.1", daemon.daemon.wyoming_port) as third:
                await third.write_event(Synthesize("Hello.", SPOKEN).event())
                assert (await error(third)).code == "queue_full"

    talk(daemon, work)
    until(lambda: daemon.service.queue.n_served == 0)


def test_addresses_of_others_have_to_be_meant() -> None:
    assert wyoming_address("tcp://[::1]:10200") == ("::1", 10_200)
    for wrong in ("127.0.0.1:10200", "tcp://host", "unix:///tmp/s", "tcp://host:99999"):
        with pytest.raises(UsageError, match="tcp://"):
            wyoming_address(wrong)
    with pytest.raises(UsageError, match="has no token"):
        Settings(wyoming=("0.0.0.0", 10_200))
    with pytest.raises(UsageError, match="loopback"):
        Settings(wyoming=("127.0.0.1", 10_200), wyoming_name="kitchen")
    with pytest.raises(UsageError, match="need wyoming="):
        Settings(wyoming_public=True)
    assert Settings(wyoming=("0.0.0.0", 10_200), wyoming_public=True, wyoming_name="kitchen").wyoming_name


def test_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = run_edgetts("serve", "--pack", "builtin", "--wyoming", "tcp://0.0.0.0:10200")
    assert refused.exit_code == 2 and "--wyoming-public" in refused.stderr


def test_announcing(monkeypatch: pytest.MonkeyPatch) -> None:
    import zeroconf.asyncio

    told = list[object]()

    class Stand:
        async def async_register_service(self, info: object) -> None:
            told.append(info)

        async def async_close(self) -> None:
            told.append("closed")

    monkeypatch.setattr(zeroconf.asyncio, "AsyncZeroconf", Stand)

    async def run() -> None:
        async with announce.announced("kitchen", "192.0.2.7", 10_200):
            assert len(told) == 1

    asyncio.run(run())
    info, end = told
    assert (info.name, info.port, end) == ("kitchen._wyoming._tcp.local.", 10_200, "closed")  # type: ignore[attr-defined]
    assert info.parsed_addresses() == ["192.0.2.7"]  # type: ignore[attr-defined]
