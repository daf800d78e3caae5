"""What a machine does to `edgetts serve`: kills it, fills its disk, sets its clock. Each time in a process of its own."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from helpers.daemon import LONG, QUICK, VOICE, home_of, until
from helpers.paths import DATA
from helpers.serving import Served, free_port, serving, start, wait

from edgetts.request import SpeechRequest
from edgetts.server.client import Connection, NoDaemon

pytestmark = pytest.mark.slow
RECORDING = (DATA / "speech.ogg").read_bytes()
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
DAY_S = 86_400


def speak(served: Served, text: str = "Hi.", **fields: object) -> httpx.Response:
    body = {"input": text, "voice": VOICE, "options": QUICK, "seed": 1, "response_format": "wav", **fields}
    return httpx.post(f"{served.url}/v1/audio/speech", json=body, timeout=600)


def enroll(served: Served, name: str) -> httpx.Response:
    form = {"name": name, "adapt_steps": "0"}
    return httpx.post(f"{served.url}/v1/voices", data=form, files={"file": ("a.ogg", RECORDING)}, timeout=600)


def connection(served: Served) -> Connection:
    """Over the Unix socket, patiently: on a busy machine the daemon may take longer than clients wait."""
    deadline = time.monotonic() + 300
    while True:
        try:
            return Connection(served.socket)
        except NoDaemon:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def n_streams(served: Served) -> int:
    return int(httpx.get(f"{served.url}/ready", timeout=600).json()["streams"])


def names(served: Served) -> list[str]:
    return [voice["id"] for voice in httpx.get(f"{served.url}/v1/voices", timeout=600).json()["data"]]


# --- killed ----------------------------------------------------------------------------------------------


def test_killed_in_the_middle_and_started_again_twenty_times(mini_pack: Path, tmp_path: Path) -> None:
    """As a supervisor does: at once, at the same address and Unix socket, while clients speak."""
    home, port = home_of(tmp_path / "home", mini_pack), free_port()
    files = sorted(path for path in home.rglob("*") if path.is_file())
    sound, outcomes = None, list[str]()

    def listen(url: str) -> None:
        body = {"input": LONG, "voice": VOICE, "options": QUICK, "response_format": "pcm"}
        try:
            with httpx.stream("POST", f"{url}/v1/audio/speech", json=body, timeout=600) as answer:
                for _ in answer.iter_raw():
                    pass
            outcomes.append("whole")
        except httpx.HTTPError:
            outcomes.append("cut")

    served = start(home, mini_pack, port=port)
    try:
        for _ in range(20):
            wait(served)
            sound = sound or speak(served).content
            assert speak(served).content == sound
            with connection(served).start(SpeechRequest(text="Hi.", voice=VOICE, options=QUICK)) as stream:
                assert sum(len(chunk.samples) for chunk in stream)
            client = threading.Thread(target=listen, args=(served.url,))
            client.start()
            until(lambda served=served: n_streams(served) == 1, 300)
            served.process.kill()
            served.process.wait()
            served = start(home, mini_pack, port=port)
            client.join(600)
        wait(served)
        assert speak(served).content == sound
    finally:
        served.process.kill()
        served.process.wait()
    assert outcomes == ["cut"] * 20  # nobody takes the part for the whole
    left = sorted(path for path in home.rglob("*") if path.is_file())
    assert [path for path in left if path.suffix == ".safetensors"] == [f for f in files if f.suffix == ".safetensors"]
    assert not [path for path in left if path.name.endswith(".part")]


def test_told_to_stop_under_load(mini_pack: Path, tmp_path: Path) -> None:
    outcomes: list[str] = []

    def ask(url: str, text: str) -> None:
        body = {"input": text, "voice": VOICE, "options": QUICK, "response_format": "wav"}
        try:
            outcomes.append(str(httpx.post(f"{url}/v1/audio/speech", json=body, timeout=600).status_code))
        except httpx.HTTPError:
            outcomes.append("cut")

    home = home_of(tmp_path / "home", mini_pack)
    with serving(home, mini_pack, "--streams", "2", "--queue", "8", "--stop-seconds", "20") as served:
        texts = ["Hi there."] * 2 + [LONG] * 8
        threads = [threading.Thread(target=ask, args=(served.url, text)) for text in texts]
        for thread in threads:
            thread.start()
            time.sleep(0.05)
        until(lambda: n_streams(served) == 2, 300)
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(300) == 0
        for thread in threads:
            thread.join(600)
        assert not served.socket.exists()
    assert len(outcomes) == 10 and set(outcomes) <= {"200", "503", "cut"}


# --- a full disk -----------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 2 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take what is left of the disk."""
    ballast = folder / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    return ballast


def test_a_full_disk_costs_the_new_voice_and_nothing_else(small_disk: Path, tmp_path: Path) -> None:
    """Voices, caches, the Unix socket and temporary files lie on it."""
    home = small_disk / "home"
    home.mkdir()
    with serving(home, "builtin", variables={"TMPDIR": str(small_disk)}, log=tmp_path / "log") as served:
        assert enroll(served, "first").status_code == 201
        sound = speak(served, voice="first").content
        ballast = fill(small_disk)
        answer = enroll(served, "second")
        error = answer.json()["error"]
        assert answer.status_code == 507, answer.text
        assert (error["code"], error["type"]) == ("disk_full", "server_error")
        assert "no space left" in error["message"].lower() and str(small_disk) not in error["message"]
        assert "first" in names(served) and "second" not in names(served)
        assert not list(home.rglob("*.part"))
        assert speak(served, voice="first").content == sound
        assert speak(served, voice="af_heart").status_code == 200  # learned latencies are not stored
        assert enroll(served, "first").status_code == 409
        replaced = httpx.post(
            f"{served.url}/v1/voices",
            data={"name": "first", "replace": "true", "adapt_steps": "0"},
            files={"file": ("a.ogg", RECORDING)},
            timeout=600,
        )
        assert replaced.status_code == 507
        assert speak(served, voice="first").content == sound  # the old one is still whole
        assert httpx.get(f"{served.url}/health").status_code == 200
        ballast.unlink()
        assert enroll(served, "second").status_code == 201
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_a_log_that_cannot_be_written_stops_nobody(mini_pack: Path, tmp_path: Path) -> None:
    home = home_of(tmp_path / "home", mini_pack)
    with serving(home, mini_pack, "--log-text", log=Path("/dev/full")) as served:
        for _ in range(3):
            assert speak(served).status_code == 200
        assert httpx.get(f"{served.url}/ready").json()["ready"] is True
        served.process.terminate()
        assert served.process.wait(300) == 0


# --- the clock is set ------------------------------------------------------------------------------------


@pytest.mark.skipif(FAKETIME is None, reason="no libfaketime: apt-get install libfaketime")
def test_a_clock_that_jumps_a_day_ahead_and_ten_years_back(mini_pack: Path, tmp_path: Path) -> None:
    """As with the first contact of a board without a battery to a time server. Time limits, the unloading of an idle
    model and the watchdog go by a clock that only runs."""
    home, told = home_of(tmp_path / "home", mini_pack), tmp_path / "clock"
    told.write_text("+0")
    faked = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(told),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with serving(home, mini_pack, "--keep-alive", "3600", variables=faked, log=tmp_path / "log") as served:
        sound = speak(served).content
        heard: list[int] = []

        def listen() -> None:
            body = {"input": LONG[:1200], "voice": VOICE, "options": QUICK, "response_format": "pcm"}
            with httpx.stream("POST", f"{served.url}/v1/audio/speech", json=body, timeout=600) as answer:
                heard.extend(len(piece) for piece in answer.iter_raw())

        client = threading.Thread(target=listen)
        client.start()
        until(lambda: bool(heard), 300)
        for jump in (DAY_S, -10 * 365 * DAY_S, 0):
            told.write_text(f"{jump:+d}")
            n_heard = len(heard)
            until(lambda n_heard=n_heard: len(heard) > n_heard or not client.is_alive(), 300)
            assert speak(served).content == sound
            ready = httpx.get(f"{served.url}/ready").json()
            assert ready["state"] == "loaded"
        client.join(600)
        assert sum(heard) > 50_000
        assert served.process.poll() is None
    log = (tmp_path / "log").read_text()
    years = {line[:4] for line in log.splitlines() if line[:2] == "20"}
    assert len(years) >= 2, "the clock was not set"
    assert "outcome=done" in log and "Traceback" not in log and "outcome=failed" not in log
