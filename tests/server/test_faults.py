"""What clients, files and supervisors do wrong: each time the daemon goes on, and keeps no memory of it."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import shutil
import socket
import struct
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
from helpers.daemon import LONG, QUICK, VOICE, Running, home_of, running, until
from helpers.load import Task, burden, n_descriptors, sha256_of_wav
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from edgetts.audio.io import read_sound_bytes
from edgetts.errors import AudioError
from edgetts.server.settings import Limits

BODY = {"voice": VOICE, "options": QUICK, "response_format": "pcm"}


def dialed(daemon: Running) -> socket.socket:
    host, port = daemon.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=120)


def request(daemon: Running, **fields: object) -> bytes:
    """A speech request as the bytes that a client sends."""
    made = daemon.client.build_request("POST", "/v1/audio/speech", json={**BODY, **fields})
    head = "".join(f"{name}: {value}\r\n" for name, value in made.headers.items())
    return f"POST /v1/audio/speech HTTP/1.1\r\n{head}\r\n".encode() + made.read()


def kill(sock: socket.socket) -> None:
    """Close as the kernel does for a process that was killed with data unread: by a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def test_several_clients_hear_their_own_text_whatever_others_do(daemon: Running) -> None:
    tasks = []
    for number in range(6):
        text = f"Number {number} speaks."
        body = {**BODY, "input": text, "seed": number, "response_format": "wav"}
        tasks.append(Task(body, sha256_of_wav(22_050, daemon.reference(text, number))))
    outcome = burden(daemon.url, tasks, 1.0)
    assert outcome.wrong == []
    assert len(outcome.total_s) >= 6


@pytest.mark.parametrize("count", [6, pytest.param(100, marks=pytest.mark.slow)])
def test_clients_killed_while_they_listen(daemon: Running, count: int) -> None:
    daemon.speak("Hi.")
    until(lambda: daemon.service.queue.n_served == 0)
    n_before, n_threads = n_descriptors(os.getpid()), threading.active_count()
    for number in range(count):
        sock = dialed(daemon)
        sock.sendall(request(daemon, input=LONG[:1500], stream_format=("audio", "sse")[number % 2]))
        assert b"200 OK" in sock.recv(200)
        kill(sock)
        until(lambda: daemon.service.queue.n_served == 0, 120)
    until(lambda: n_descriptors(os.getpid()) <= n_before)
    until(lambda: threading.active_count() <= n_threads + 2)
    assert daemon.speak("Hi.").status_code == 200


@pytest.fixture(scope="module")
def hasty(mini_pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A daemon that waits for nobody longer than 0.3 s, and whose kernel keeps little for clients."""

    def narrow(host: str, port: int) -> list[socket.socket]:
        sock = socket.create_server((host, port))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # else it takes megabytes
        return [sock]

    home = home_of(tmp_path_factory.mktemp("home"), mini_pack)
    limits = Limits(send_s=0.3, header_s=0.3, body_s=0.3, text_s=0.3, connections=8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgetts.server.run._listen", narrow)
        more = {"socket": home / "sock", "wyoming": ("127.0.0.1", 0)}
        with running(home, mini_pack, limits=limits, stop_s=1.0, **more) as daemon:
            yield daemon


def test_one_who_asks_and_does_not_read_is_let_go(hasty: Running) -> None:
    with dialed(hasty) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(request(hasty, input=LONG))
        until(lambda: hasty.service.queue.n_served == 1)
        until(lambda: hasty.service.queue.n_served == 0, 120)
    assert hasty.speak("Hi.").status_code == 200


def test_half_a_request_is_not_waited_for(hasty: Running) -> None:
    for sent in (b"", b"POST /v1/audio/speech HTTP/1.1\r\nHost: 127"):
        with dialed(hasty) as sock:
            sock.sendall(sent)
            assert sock.recv(100) == b""
    with dialed(hasty) as sock:
        sock.sendall(request(hasty, input="Hello there.")[:-8])
        assert sock.recv(100).startswith(b"HTTP/1.1 408")


def test_half_a_second_request_is_not_waited_for_either(hasty: Running) -> None:
    whole = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    for half in (whole[:-8], b"G"):
        with dialed(hasty) as sock:
            for _ in range(3):
                sock.sendall(whole)
                answer = b""
                while not answer.endswith(b"}"):
                    answer += sock.recv(1000)
                assert answer.startswith(b"HTTP/1.1 200")
            started = time.monotonic()
            sock.sendall(half)
            assert sock.recv(100) == b""
            assert time.monotonic() - started < 4  # uvicorn closes idle connections after 5 s
    with dialed(hasty) as sock:  # and one that trickles
        for byte in whole[:-8]:
            try:
                sock.sendall(bytes([byte]))
            except ConnectionError:
                break
            time.sleep(0.05)
        else:
            pytest.fail("a byte at a time is waited for")


def test_half_a_request_over_the_unix_socket_or_wyoming_is_not_waited_for(hasty: Running) -> None:
    for sent in (b"", b"r\xff\xff\xff", b"r\xff\x00\x00\x00{"):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(120)
            sock.connect(str(hasty.home / "sock"))
            sock.sendall(sent)
            answer = b""
            while piece := sock.recv(4096):
                answer += piece
            assert answer.startswith(b"h") and b"No request arrived in time" in answer
    with socket.create_connection(("127.0.0.1", hasty.daemon.wyoming_port), timeout=120) as sock:
        sock.sendall(b'{"type": "synthesize", "data_length": 100}\n{"text": ')
        answer = b""
        while piece := sock.recv(4096):
            answer += piece
        assert b"did not arrive in time" in answer


def test_so_many_connections_and_no_more(hasty: Running) -> None:
    """Nobody takes all descriptors by opening connections to the Unix socket."""
    with contextlib.ExitStack() as stack:
        for number in range(10):
            sock = stack.enter_context(socket.socket(socket.AF_UNIX))
            sock.settimeout(120)
            sock.connect(str(hasty.home / "sock"))
            assert bool(sock.recv(1)) == (number < 8)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 2,  # TLS
        b"\x00" * 4096,
        b"GET / HTTP/9.9\r\nConnection: close\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
        b"POST /v1/audio/speech HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/audio/speech HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"x" * (1 << 20) + b" HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"".join(b"x-%d: y\r\n" % i for i in range(20_000)) + b"\r\n",
    ],
    ids=["tls", "zeros", "version", "hosts", "length", "chunk", "path", "headers"],
)
def test_garbage_is_refused(daemon: Running, sent: bytes) -> None:
    with dialed(daemon) as sock:
        with contextlib.suppress(ConnectionError):
            sock.sendall(sent)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while piece := sock.recv(4096):
                answer += piece
    assert answer == b"" or answer.split()[1] in (b"400", b"403", b"505"), answer[:200]
    assert daemon.client.get("/health").status_code == 200


def test_a_text_of_ten_megabytes(daemon: Running) -> None:
    answer = daemon.speak("word " * (2 << 20))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")
    with connect(f"{daemon.url.replace('http', 'ws')}/v1/audio/stream", compression=None) as socket:
        with pytest.raises(ConnectionClosed) as closed:
            socket.send('{"type": "speak", "input": "' + "word " * (2 << 20) + '"}')
            socket.recv(timeout=120)
        # Too big a message; the reset after it may come before it is read.
        assert closed.value.rcvd is None or closed.value.rcvd.code == 1009
    assert daemon.client.get("/health").status_code == 200


def test_what_grows_when_it_is_unpacked_stays_small(daemon: Running) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    packed = gzip.compress(b'{"input": "' + b"x" * (64 << 20))
    answer = daemon.client.post("/v1/audio/speech", content=packed, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_json")
    with connect(f"{daemon.url.replace('http', 'ws')}/v1/audio/stream") as socket:  # compresses
        with pytest.raises(ConnectionClosed) as closed:
            socket.send("x" * (64 << 20))
            socket.recv(timeout=120)
        assert closed.value.rcvd is None or closed.value.rcvd.code == 1009


# What is small when packed: format, coding, rate, channels, seconds. Without bounds the first would take 900 MB.
BOMBS = {
    "flac, highest rate": ("FLAC", "PCM_16", 655_350, 1, 130),
    "flac, 8 channels": ("FLAC", "PCM_16", 192_000, 8, 130),
    "ogg vorbis, high rate": ("OGG", "VORBIS", 192_000, 1, 125),
    "ogg vorbis, many channels": ("OGG", "VORBIS", 48_000, 64, 20),
    "ogg opus, long": ("OGG", "OPUS", 48_000, 1, 130),
    "mp3, long": ("MP3", "MPEG_LAYER_III", 8_000, 1, 300),
}
MOST_DECODED = 180 << 20  # bytes, copies included


def bomb_of(format: str, coding: str, rate: int, n_channels: int, seconds: int) -> bytes:
    """A file of silence; at the highest rate after a tenth of a second of noise, so that all of it is looked at."""
    file, block = io.BytesIO(), np.zeros((rate, n_channels), np.float32)
    with soundfile.SoundFile(file, "w", rate, n_channels, format=format, subtype=coding) as out:
        if rate > 200_000:
            out.write(np.random.default_rng(0).uniform(-0.1, 0.1, (rate // 10, n_channels)).astype(np.float32))
        for _ in range(seconds):
            out.write(block)
    return file.getvalue()


@pytest.mark.parametrize("kind", BOMBS)
def test_minutes_of_sound_in_a_small_upload_are_not_unpacked(daemon: Running, kind: str) -> None:
    bomb = bomb_of(*BOMBS[kind])
    assert len(bomb) < 2 << 20
    tracemalloc.start()
    try:
        answer = daemon.client.post("/v1/voices", data={"name": "x"}, files={"file": ("x", bomb)})
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] == "audio_unusable"
    assert most < MOST_DECODED


@pytest.mark.parametrize(
    "bomb",
    [
        pytest.param(b"ID3\x04" + bytes(6), id="tags"),
        pytest.param(b"OggS" + bytes(22) + b"\0", id="ogg pages"),
        pytest.param(b"OggS\0\2" + bytes(20) + b"\0", id="beginnings of ogg streams"),
        pytest.param(b"RIFF\xff\xff\xff\xffWAVE" + b"abcd\0\0\0\0", id="riff chunks"),
    ],
)
def test_a_container_of_nothing_but_headers_is_refused_at_once(bomb: bytes) -> None:
    started = time.thread_time()
    with pytest.raises(AudioError):
        read_sound_bytes(bomb * ((16 << 20) // len(bomb)), 120.0, "it")
    assert time.thread_time() - started < 1.0  # of its own thread: others do not count


def test_a_pack_that_is_taken_away_and_comes_back_as_another(mini_pack: Path, tmp_path: Path) -> None:
    home, pack = home_of(tmp_path / "home", mini_pack), tmp_path / "a.pack"
    shutil.copytree(mini_pack, pack)
    with running(home, pack, stop_s=1.0) as daemon:
        sound = daemon.speak("Hi.", seed=1, response_format="wav").content
        pack.rename(tmp_path / "away")
        first = daemon.tts
        assert daemon.speak("Hi.", seed=1, response_format="wav").content == sound  # what is loaded goes on
        assert daemon.client.post("/v1/unload").status_code == 200
        answer = daemon.speak("Hi.")
        assert answer.status_code == 503 and str(tmp_path) not in answer.text
        assert answer.json()["error"]["code"] == "model_unusable"
        assert daemon.client.get("/health").status_code == 200
        shutil.copytree(mini_pack, pack)
        assert daemon.speak("Hi.", seed=1, response_format="wav").content == sound
        assert daemon.tts is not first
        second = daemon.tts
        pack.rename(tmp_path / "older")
        shutil.copytree(mini_pack, pack)
        assert daemon.speak("Hi.", seed=1, response_format="wav").content == sound
        assert daemon.tts is not second


def test_a_stop_under_load(mini_pack: Path, tmp_path: Path) -> None:
    outcomes: list[str] = []

    def ask(url: str) -> None:
        try:
            with httpx.stream("POST", f"{url}/v1/audio/speech", json={**BODY, "input": LONG}, timeout=60) as answer:
                for _ in answer.iter_bytes():
                    pass
                outcomes.append(str(answer.status_code))
        except httpx.RemoteProtocolError:
            outcomes.append("cut")

    home = home_of(tmp_path / "home", mini_pack)
    with running(home, mini_pack, limits=Limits(streams=2, waiting=4), stop_s=0.5) as daemon:
        threads = [threading.Thread(target=ask, args=(daemon.url,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        until(lambda: daemon.service.queue.n_waiting == 4 and len(outcomes) == 2)
        until(lambda: daemon.service.progress[1] > 0)
        started = time.monotonic()
    took = time.monotonic() - started
    for thread in threads:
        thread.join(30)
    assert took < 10
    assert sorted(outcomes[:2]) == ["429", "429"]
    assert set(outcomes[2:]) <= {"503", "cut"} and len(outcomes) == 8, outcomes
