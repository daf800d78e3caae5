"""The WebSocket of a daemon: text in, sound out, several utterances on one connection."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from helpers.daemon import LONG, QUICK, VOICE, Running, until
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from edgetts.audio.formats import wav_header

SPEAK = {"type": "speak", "voice": VOICE, "options": QUICK, "seed": 7, "response_format": "wav"}


@pytest.fixture
def socket(daemon: Running) -> Iterator[ClientConnection]:
    with connect(f"{daemon.url.replace('http', 'ws')}/v1/audio/stream") as socket:
        yield socket


def tell(socket: ClientConnection, **table: object) -> None:
    socket.send(json.dumps(table))


def hear(socket: ClientConnection) -> tuple[list[dict], bytes]:
    """Messages up to the end of an utterance, and its sound."""
    told, sound = [], b""
    while not told or told[-1]["type"] in ("started", "segment"):
        message = socket.recv(timeout=60)
        if isinstance(message, bytes):
            sound += message
        else:
            told.append(json.loads(message))
    return told, sound


def test_utterances_follow_each_other_with_their_times(daemon: Running, socket: ClientConnection) -> None:
    texts = {"one": "Hello there. How are you?", "two": "And again."}
    for id, text in texts.items():
        tell(socket, **SPEAK, id=id, input=text)
    for id, text in texts.items():
        told, sound = hear(socket)
        assert sound == wav_header(22_050, None) + daemon.reference(text, 7)
        assert {message["id"] for message in told} == {id}
        started, *segments, done = told
        assert (started["type"], started["seed"], started["sample_rate"]) == ("started", 7, 22_050)
        assert (done["type"], done["characters"]) == ("done", len(text))
        ends = [segment["end"] for segment in segments]
        assert segments[0]["start"] == 0 and ends == sorted(ends)
        assert ends[-1] == pytest.approx(done["seconds"], abs=1e-3)
        assert "".join(segment["text"] for segment in segments).replace(" ", "") == text.replace(" ", "")


def test_text_bit_by_bit(daemon: Running, socket: ClientConnection) -> None:
    tell(socket, **SPEAK, id="x")
    for piece in ("Hel", "lo the", "re. ", "How are y", "ou?"):
        tell(socket, type="text", id="x", text=piece)
    tell(socket, type="end", id="x")
    told, sound = hear(socket)
    assert (told[-1]["type"], told[-1]["characters"]) == ("done", 25)
    with daemon.tts.stream(iter(["Hello there. How are you?"]), VOICE, dtype="int16", seed=7, **QUICK) as stream:
        samples = [chunk.samples for chunk in stream]
    assert len(sound) > 1000 and sum(map(len, samples)) > 0
    tell(socket, type="text", id="x", text="more")
    assert hear(socket)[0][-1]["error"]["code"] == "unknown_id"


def test_cancelling_one_leaves_the_next(daemon: Running, socket: ClientConnection) -> None:
    tell(socket, **SPEAK, id="long", input=LONG)
    tell(socket, **SPEAK, id="never", input=LONG)
    tell(socket, **SPEAK, id="next", input="Hi.")
    while isinstance(socket.recv(timeout=60), str):
        pass
    tell(socket, type="cancel", id="never")
    tell(socket, type="cancel", id="long")
    endings = [hear(socket)[0][-1] for _ in range(3)]
    assert [(e["id"], e["type"]) for e in endings] == [("long", "cancelled"), ("never", "cancelled"), ("next", "done")]


def test_what_is_wrong_is_told_and_the_connection_stays(socket: ClientConnection) -> None:
    for message, said in (
        ("no json", "not valid JSON"),
        (b"\x00\x01", "not bytes"),
        ('{"type": "sing"}', "type must be"),
        ('{"type": "speak", "input": "Hi.", "voice": "../x"}', "is not a valid name"),
        ('{"type": "speak", "input": "Hi.", "pitch": 2}', "Unknown field"),
        ('{"type": "cancel", "id": "gone", "at": 3}', "Unknown field"),
    ):
        socket.send(message)
        assert said in hear(socket)[0][-1]["error"]["message"]
    tell(socket, **SPEAK, input="Hi.")
    assert hear(socket)[0][-1]["type"] == "done"


def test_a_client_that_goes_away_stops_its_streams(daemon: Running) -> None:
    with connect(f"{daemon.url.replace('http', 'ws')}/v1/audio/stream") as socket:
        tell(socket, **SPEAK, input=LONG)
        socket.recv(timeout=60)
        assert daemon.service.queue.n_served == 1
    until(lambda: daemon.service.queue.n_served == 0, 3)


def test_pages_of_other_servers_get_no_connection(daemon: Running) -> None:
    with pytest.raises((InvalidStatus, ConnectionClosed)):
        connect(f"{daemon.url.replace('http', 'ws')}/v1/audio/stream", origin="http://evil.example")
