"""What the pages of the daemon and its clients show is run as it stands there, with the built-in model; only ports are
replaced."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.daemon import Running, running
from helpers.pages import blocks
from helpers.paths import TESTS
from typer.main import get_command

from edgetts.audio.io import read_sound_bytes
from edgetts.cli.app import app
from edgetts.pack.locate import builtin_pack

PAGES = [TESTS.parent / "docs" / "how-to" / name for name in ("daemon.md", "clients.md")]
CODE = [block.code for page in PAGES for block in blocks(page, "python") if block.reason is None]
COMMANDS = "\n".join(block.code for page in PAGES for block in blocks(page, "bash")).replace("\\\n", "")

PACKAGE = re.compile(r"^from (\w+)", flags=re.MULTILINE)  # the first that is not the standard library's
NOT_OURS = {"livekit": "livekit-plugins-openai", "pipecat": "pipecat-ai[openai]"}  # which tests do not require


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("home"), builtin_pack(), wyoming=("127.0.0.1", 0)) as daemon:
        daemon.tts.store.add("alloy", daemon.tts.voice("af_heart"))  # as the page says
        yield daemon


def here(text: str, daemon: Running) -> str:
    port = daemon.url.rpartition(":")[2]
    return text.replace("8880", port).replace("10200", str(daemon.daemon.wyoming_port))


def check_sound(folder: Path) -> None:
    (path,) = folder.iterdir()
    if path.suffix == ".pcm":
        samples, rate = np.frombuffer(path.read_bytes(), "<i2") / 32768, 24_000
    else:
        samples, rate = soundfile.read(path)
    assert len(samples) > rate // 2 and np.abs(samples).max() > 0.02


@pytest.mark.parametrize("code", CODE, ids=lambda code: PACKAGE.search(code)[1])
def test_snippets_of_clients(daemon: Running, code: str, tmp_path: Path) -> None:
    package = PACKAGE.search(code)[1]
    if package in NOT_OURS and importlib.util.find_spec(package) is None:
        pytest.skip(f"{NOT_OURS[package]} is not installed")
    command = [sys.executable, "-W", "ignore", "-c", here(code, daemon)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    check_sound(tmp_path)


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
def test_curl(daemon: Running, tmp_path: Path) -> None:
    command = next(line for line in COMMANDS.splitlines() if line.startswith("curl"))
    subprocess.run(shlex.split(here(command, daemon)), cwd=tmp_path, check=True, timeout=120)
    check_sound(tmp_path)


def test_every_verb_and_option_exists() -> None:
    verbs = get_command(app).commands  # type: ignore[attr-defined]
    calls = re.findall(r"^(?:sudo )?edgetts (.*)$", COMMANDS, flags=re.MULTILINE)
    assert len(calls) > 10
    for call in calls:
        words, more = shlex.split(call, comments=True), list[str]()
        if "--" in words:
            words, more = words[: words.index("--")], words[words.index("--") :]
        verb = verbs[words[0]]
        verb = verb.commands[words[1]] if words[0] == "service" else verb
        for used, known in ((words, verb), (more[1:], verbs["serve"])):
            options = {name for parameter in known.params for name in parameter.opts}
            assert {word for word in used if word.startswith("-")} <= options, call


def test_the_page_has_every_client() -> None:
    assert [PACKAGE.search(code)[1] for code in CODE] == ["openai", "websockets", "livekit", "pipecat", "wyoming"]


# --- programs that are no package: their requests, as they send them ------------------------------------------------


def test_open_webui(daemon: Running) -> None:
    """Its settings list voices and models, without a key; then its server posts sentences and keeps the answers as mp3."""
    models = daemon.client.get("/v1/audio/models").json()["models"]
    assert "tts-1" in {model["id"] for model in models}
    voices = {voice["id"]: voice["name"] for voice in daemon.client.get("/v1/audio/voices").json()["voices"]}
    assert voices["af_heart"] == "af_heart"
    headers = {"Authorization": "Bearer none", "X-OpenWebUI-User-Name": "J%C3%B6rg", "X-OpenWebUI-User-Role": "admin"}
    headers |= {"Accept": "*/*", "Accept-Encoding": "gzip, deflate, br", "User-Agent": "Python/3.11 aiohttp/3.14.5"}
    body = {"input": "Hello from Open WebUI.", "voice": "af_heart", "model": "tts-1"}
    answer = daemon.client.post("/v1/audio/speech", json=body, headers=headers)
    assert answer.status_code == 200 and answer.headers["content-type"] == "audio/mpeg"
    sound = read_sound_bytes(answer.content, 60, "the answer")
    assert len(sound.samples) > sound.sample_rate // 2
    refused = daemon.client.post("/v1/audio/speech", json={**body, "voice": "nobody"}, headers=headers)
    assert "nobody" in refused.json()["error"]["message"]  # which it shows
