"""`edgetts doctor`: every check fails where it should, and says what to do; the verb as a whole."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.command import run_edgetts
from helpers.daemon import VOICE, home_of
from helpers.paths import TESTS

from edgetts.audio.playback import devices
from edgetts.backends import device as backend
from edgetts.cli.doctor import around, machine, model
from edgetts.cli.doctor.finding import Finding, State
from edgetts.errors import AudioError, GenerationError
from edgetts.pack.manifest import read_manifest
from edgetts.progress import no_progress
from edgetts.server import client
from edgetts.server.systemd import Scope
from edgetts.server.units import MARK, SERVICE
from edgetts.voices.store import VoiceStore

OK, NOTE, BROKEN = State.OK, State.NOTE, State.BROKEN


def said(finding: Finding, state: State, *words: str) -> None:
    assert finding.state is state, finding
    for word in words:
        assert word in finding.line, finding


def test_python() -> None:
    said(machine.check_python(), OK, "Linux")
    said(machine.check_python((3, 9, 1)), BROKEN, "3.9.1", "3.10 to 3.13")
    said(machine.check_python((3, 14, 0)), BROKEN)


def test_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    said(machine.check_torch(), OK, "threads")
    old = SimpleNamespace(__version__="2.7.1+cu126", get_num_threads=lambda: 4)
    monkeypatch.setattr(importlib, "import_module", lambda _name: old)
    said(machine.check_torch(), BROKEN, "2.7.1+cu126", "2.8 to 2.13")

    def fail(_name: str) -> None:
        raise ImportError("libtorch.so: no such\nfile")

    monkeypatch.setattr(importlib, "import_module", fail)
    said(machine.check_torch(), BROKEN, "libtorch.so: no such file", "pip install")


def test_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said(machine.check_device("cpu", dev=tmp_path), OK, "cpu")
    said(machine.check_device("tpu", dev=tmp_path), BROKEN, "tpu")
    monkeypatch.setattr(backend.torch.cuda, "is_available", lambda: False)
    (tmp_path / "nvidia0").write_text("")
    said(machine.check_device("auto", dev=tmp_path), NOTE, "does not use it", "pytorch.org")
    (tmp_path / "nvmap").write_text("")
    said(machine.check_device("auto", dev=tmp_path), NOTE, "JetPack")
    choice = backend.DeviceChoice(backend.torch.device("cpu"), "The GPU is not used because it burns.")
    monkeypatch.setattr(backend, "pick_device", lambda _name: choice)
    said(machine.check_device("auto", dev=tmp_path), BROKEN, "it burns")


def test_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    speaker = devices.OutputDevice(0, "Speaker", "ALSA", 2, 48_000, True)
    monkeypatch.setattr(devices, "list_devices", lambda: [speaker])
    monkeypatch.setattr(devices, "choose_settings", lambda _device, rate: devices.DeviceSettings(rate, 1))
    said(machine.check_sound(), OK, "Speaker", "22050 Hz")

    def refuse(*_: object) -> None:
        raise AudioError("The device supports no rate.")

    monkeypatch.setattr(devices, "choose_settings", refuse)
    said(machine.check_sound(), BROKEN, "supports no rate")
    monkeypatch.setattr(devices, "list_devices", list)
    said(machine.check_sound(), NOTE, "no output device")
    monkeypatch.setattr(devices, "list_devices", refuse)
    said(machine.check_sound(), NOTE, "supports no rate")


def test_caches(tmp_path: Path) -> None:
    said(machine.check_caches(tmp_path / "cache"), OK, "0.0 MiB")
    (tmp_path / "file").write_text("")
    said(machine.check_caches(tmp_path / "file" / "cache"), BROKEN, "writable")


def test_packs(mini_pack: Path, tmp_path: Path) -> None:
    copy = tmp_path / "packs" / "mine"
    shutil.copytree(mini_pack, copy)
    mine, other = model.check_packs(tmp_path, str(mini_pack), no_progress)[::-1]
    said(mine, OK, str(copy), "intact")
    said(other, OK, str(mini_pack))
    largest = max(copy.glob("*.safetensors"), key=lambda path: path.stat().st_size)
    with largest.open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"xxxx")
    said(model.check_packs(tmp_path, str(mini_pack), no_progress)[1], BROKEN, largest.name)
    (copy / "manifest.json").write_text("{}")
    said(model.check_packs(tmp_path, str(mini_pack), no_progress)[1], BROKEN)
    said(model.check_packs(tmp_path, "nowhere", no_progress)[0], BROKEN, "nowhere")


def test_speech(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_tts: object) -> None:
        raise GenerationError("The model computed what is no number.")

    monkeypatch.setattr("edgetts.server.health.speak_briefly", fail)
    said(model.check_speech(SimpleNamespace()), BROKEN, "no number", "--device cpu")


def test_memory(mini_pack: Path) -> None:
    manifest = read_manifest(mini_pack)
    said(model.check_memory(manifest, 1e9, int(2e9), int(4e9), None), OK, "up to 1000 MB of 4000 MB")
    said(model.check_memory(manifest, 3e9, int(2e9), int(4e9), None), NOTE, "close other programs")
    said(model.check_memory(manifest, 5e9, int(2e9), int(4e9), None), BROKEN, "smaller pack")
    said(model.check_memory(manifest, 1e9, int(2e9), int(4e9), 0), BROKEN, "quantize it again")
    recipe = (TESTS.parent / "recipes" / "jetson-orin-nano.toml").read_text(encoding="utf-8")
    assert f"\nrun_mb = {model.recipe_budget('jetson-orin-nano')}" in recipe
    assert model.recipe_budget("../jetson-orin-nano") is model.recipe_budget("none") is None


def test_voices(mini_pack: Path, tmp_path: Path) -> None:
    store = VoiceStore.default(tmp_path)
    said(model.check_voices(store, None)[0], NOTE, "voices add")
    home_of(tmp_path, mini_pack)
    encoder_id = read_manifest(mini_pack).encoder_id
    said(model.check_voices(store, encoder_id)[0], OK, VOICE)
    said(model.check_voices(store, "another")[0], NOTE, VOICE, "enroll them again")
    (store.voices_dir / "bad.safetensors").write_bytes(b"no voice")
    said(model.check_voices(store, encoder_id)[0], BROKEN, "remove bad")


def test_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s"
    said(around.check_daemon(None, None), NOTE, "XDG_RUNTIME_DIR")
    said(around.check_daemon(path, None), NOTE, "edgetts serve")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    said(around.check_daemon(path, None), BROKEN, "no answer")
    hello = {"pack": str(tmp_path), "device": "cpu"}
    monkeypatch.setattr(around, "Connection", lambda _path: SimpleNamespace(hello=hello, close=lambda: None))
    said(around.check_daemon(path, tmp_path), OK, "answers")
    said(around.check_daemon(path, tmp_path / "other"), NOTE, "without the daemon")
    assert around.NoDaemon is client.NoDaemon


@pytest.mark.parametrize(
    ("status", "state", "words"),
    [
        ({"state": "active", "at boot": "enabled"}, OK, ("user: active, enabled",)),
        ({"state": "failed", "result": "watchdog"}, BROKEN, ("watchdog", "logs --user")),
        ({"state": "inactive"}, NOTE, ("systemctl --user start",)),
    ],
)
def test_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status, state: State, words) -> None:
    scope = Scope(False, tmp_path)
    said(around.check_units((scope,))[0], NOTE, "service install")
    (tmp_path / SERVICE).write_text(MARK)
    monkeypatch.setattr(Scope, "status", lambda _self: status)
    said(around.check_units((scope,))[0], state, *words)


def test_lingering(tmp_path: Path) -> None:
    scope = Scope(False, tmp_path)
    assert around.check_lingering(scope, lingers=False) is None
    (tmp_path / SERVICE).write_text(MARK)
    finding = around.check_lingering(scope, lingers=False)
    assert finding is not None
    said(finding, NOTE, "enable-linger")
    finding = around.check_lingering(scope, lingers=True)
    assert finding is not None
    said(finding, OK)


def test_token() -> None:
    said(around.check_token_variable(None), NOTE)
    said(around.check_token_variable("short"), BROKEN, "openssl")
    said(around.check_token_variable("0123456789abcdef"), OK)


@pytest.fixture
def home(tmp_path: Path, mini_pack: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("EDGETTS_TOKEN", "EDGETTS_SOCKET", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EDGETTS_HOME", str(tmp_path))
    monkeypatch.setenv("EDGETTS_PACK", str(mini_pack))
    return home_of(tmp_path, mini_pack)


def test_all_is_well(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "check_sound", lambda: machine.ok("sound", "loud"))
    done = run_edgetts("doctor", "--device", "cpu", "--json")
    table = json.loads(done.stdout)
    assert done.exit_code == 0 and table["ok"], table
    names = [check["name"] for check in table["checks"]]
    wanted = "python torch pack device memory kernels voices sound caches daemon unit token"
    assert names == wanted.split()
    assert "spoke a word" in table["checks"][5]["text"]


def test_what_is_broken_is_said_and_decides(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGETTS_TOKEN", "short")
    done = run_edgetts("doctor", "--device", "tpu")
    assert done.exit_code == 1
    broken = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("broken")]
    assert broken[0] == "device" and broken[-1] == "token"


def test_nothing_of_an_extra_is_imported() -> None:
    """A fresh installation has none, and is what is checked most."""
    code = (
        "import sys\n"
        "extras = ('starlette', 'uvicorn', 'websockets', 'multipart', 'prometheus_client', 'wyoming', 'zeroconf',\n"
        "          'huggingface_hub', 'sounddevice', 'fugashi', 'torchao', 'bitsandbytes')\n"
        "sys.modules.update(dict.fromkeys(extras))\n"  # an import of it raises ModuleNotFoundError
        "from edgetts.cli import main\n"
        "sys.argv = ['edgetts', 'doctor', '--pack', 'builtin']\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False, cwd="/"
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert "spoke a word" in done.stdout
