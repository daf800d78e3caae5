"""Another default pack, chosen while a daemon runs: it takes over when nobody speaks, and a wrong choice ends nothing."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from helpers.daemon import LONG, QUICK, VOICE, Running, home_of, running, until
from helpers.paths import TESTS
from helpers.serving import serving

from edgetts.pack.default_pack import write_default
from edgetts.pack.locate import packs_folder
from edgetts.server import host

BODY = {"voice": VOICE, "options": QUICK, "response_format": "wav"}


@pytest.fixture
def home(mini_pack: Path, tmp_path: Path) -> Path:
    """A home with two packs, of which the first is the default."""
    made = home_of(tmp_path, mini_pack)
    for name in ("one", "two"):
        shutil.copytree(mini_pack, packs_folder(made) / name)
    write_default(made, "one")
    return made


@pytest.fixture
def daemon(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A daemon that looks often."""
    monkeypatch.setattr(host, "FOLLOW_S", 0.1)
    with running(home, None, stop_s=1.0) as daemon:
        yield daemon


def speaks(daemon: Running) -> str:
    return daemon.tts.pack.path.name


def test_another_default_takes_over_when_nobody_speaks(
    daemon: Running, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "edgetts.server.host")
    sound = daemon.speak("Hi.", seed=1).content
    with daemon.client.stream("POST", "/v1/audio/speech", json={**BODY, "input": LONG}) as running_on:
        assert running_on.status_code == 200
        write_default(home, "two")
        assert daemon.speak("Hi.", seed=1).content == sound
        time.sleep(0.5)
        assert speaks(daemon) == "one"
    until(lambda: speaks(daemon) == "two" and daemon.tts.is_loaded, 60)  # without a request, and ready for one
    assert "another pack speaks from now on" in caplog.text
    shutil.rmtree(packs_folder(home) / "one")
    assert daemon.speak("Hi.", seed=1).content == sound
    assert daemon.client.get("/v1/models").json()["data"][0]["id"] == daemon.tts.pack.manifest.name


def test_the_next_request_does_not_wait_for_a_look(home: Path) -> None:
    with running(home, None, stop_s=1.0) as daemon:
        assert speaks(daemon) == "one"
        write_default(home, "two")
        assert daemon.speak("Hi.").status_code == 200
        assert speaks(daemon) == "two"


def test_a_choice_that_is_gone_ends_nothing_and_is_told_once(
    daemon: Running, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "edgetts.server.host")
    (packs_folder(home) / "two").rename(home / "away")
    write_default(home, "two")
    until(lambda: "what is loaded goes on" in caplog.text, 60)
    assert daemon.speak("Hi.").status_code == 200
    assert [entry["id"] for entry in daemon.client.get("/v1/models").json()["data"]]
    time.sleep(0.5)
    assert caplog.text.count("what is loaded goes on") == 1
    (home / "away").rename(packs_folder(home) / "two")
    until(lambda: speaks(daemon) == "two", 60)


def test_an_unloaded_daemon_stays_unloaded(daemon: Running, home: Path) -> None:
    assert daemon.client.post("/v1/unload").status_code == 200
    write_default(home, "two")
    until(lambda: speaks(daemon) == "two", 60)
    time.sleep(0.3)
    assert not daemon.tts.is_loaded
    assert daemon.speak("Hi.").status_code == 200


def packs(home: Path, *arguments: str) -> int:
    """The exit code of `edgetts packs`."""
    environment = {**os.environ, "EDGETTS_HOME": str(home), "EDGETTS_SOCKET": str(home / "daemon.sock")}
    done = [sys.executable, "-m", "edgetts", "packs", *arguments]
    return subprocess.run(done, cwd=TESTS.parent, env=environment, check=False).returncode


@pytest.mark.slow
def test_packs_use_while_edgetts_serve_runs(home: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with serving(home, None, log=log) as served:
        assert packs(home, "use", "two") == 0
        until(lambda: "another pack speaks from now on" in log.read_text(), 60)
        assert packs(home, "remove", "one") == 0  # nobody has it open anymore
        answer = httpx.post(f"{served.url}/v1/audio/speech", json={**BODY, "input": "Hi."}, timeout=60)
        assert answer.status_code == 200


@pytest.mark.slow
def test_a_daemon_with_a_pack_of_its_own_keeps_it(home: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with serving(home, "one", log=log):
        assert packs(home, "use", "two") == 0
        time.sleep(2 * host.FOLLOW_S)
        assert "another pack" not in log.read_text()
