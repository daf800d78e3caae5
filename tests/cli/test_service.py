"""`edgetts service` with a stand-in for systemctl and a home of its own."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from helpers.command import run_edgetts

from edgetts.cli import service as verb
from edgetts.server import systemd
from edgetts.server.systemd import Scope
from edgetts.server.units import MARK

# Writes down how it was called; ends with the code in the file `code`, for the words in `fails` alone.
SYSTEMCTL = """#!/bin/sh
echo "$(basename $0) $*" >> "$FAKE/calls"
case "$*" in
    --version) echo "systemd 254 (254.1)" ;;
    *show*) cat "$FAKE/shown" 2>/dev/null ;;
    *$(cat "$FAKE/fails" 2>/dev/null || echo nothing)*) echo "Job failed." >&2; exit 1 ;;
esac
"""


class Fake:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.units = folder / "config" / "systemd" / "user"

    def calls(self) -> list[str]:
        calls = (self.folder / "calls").read_text().splitlines()
        (self.folder / "calls").unlink()
        return [call for call in calls if "--version" not in call]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("systemctl", "journalctl"):
        (programs / name).write_text(SYSTEMCTL)
        (programs / name).chmod(0o755)
    (tmp_path / "calls").write_text("")
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(systemd, "SYSTEM_FOLDER", tmp_path / "system")
    monkeypatch.setattr(systemd, "LINGER_FOLDER", tmp_path / "linger")
    monkeypatch.setattr(verb, "HIDDEN", ())
    monkeypatch.setattr(verb, "SYSTEM_HOME", tmp_path / "state")
    return Fake(tmp_path)


def test_print_shows_and_changes_nothing(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGETTS_VOICE", "me")
    done = run_edgetts("service", "install", "--user", "--print", "--", "--keep-alive", "600", "--port", "9000")
    assert done.exit_code == 0, done.stderr
    assert f"# {fake.units / 'edgetts.service'}\n{MARK}" in done.stdout
    assert "serve --stop-seconds 10 --keep-alive 600 --port 9000\n" in done.stdout
    assert "ListenStream=127.0.0.1:9000\n" in done.stdout
    assert "Environment=EDGETTS_VOICE=me\n" in done.stdout and "MemoryMax=" in done.stdout
    assert "RestartSteps=" in done.stdout
    assert not fake.units.exists() and fake.calls() == []


def test_install_again_and_uninstall(fake: Fake) -> None:
    done = run_edgetts("service", "install", "--user")
    assert done.exit_code == 0, done.stderr
    assert "enable-linger" in done.stdout
    assert sorted(path.name for path in fake.units.iterdir()) == ["edgetts.service", "edgetts.socket"]
    names = "edgetts.service edgetts.socket"
    begun = [f"systemctl --user {words}" for words in ("daemon-reload", f"enable {names}")]
    started = "systemctl --user start edgetts.socket edgetts.service"
    assert fake.calls() == [*begun, started]

    (fake.folder / "linger").mkdir()
    (fake.folder / "linger" / systemd.getpass.getuser()).write_text("")
    again = run_edgetts("service", "install", "--user", "--", "--keep-alive", "60")
    assert again.exit_code == 0 and "enable-linger" not in again.stdout
    assert "--keep-alive 60" in (fake.units / "edgetts.service").read_text()
    assert fake.calls() == [begun[0], f"systemctl --user stop {names}", begun[1], started]

    assert run_edgetts("service", "uninstall").exit_code == 0
    assert list(fake.units.iterdir()) == []
    assert fake.calls()[0] == f"systemctl --user disable --now {names}"
    gone = run_edgetts("service", "uninstall", "--user")
    assert gone.exit_code == 2 and "No edgetts.service" in gone.stderr


def test_units_of_others_stay(fake: Fake) -> None:
    fake.units.mkdir(parents=True)
    (fake.units / "edgetts.socket").write_text("[Socket]\n")
    refused = run_edgetts("service", "install", "--user")
    assert refused.exit_code == 2 and "was not written by" in refused.stderr
    assert (fake.units / "edgetts.socket").read_text() == "[Socket]\n"
    assert not (fake.units / "edgetts.service").exists() and fake.calls() == []


def test_a_service_that_does_not_start(fake: Fake) -> None:
    (fake.folder / "fails").write_text("start")
    failed = run_edgetts("service", "install", "--user")
    assert failed.exit_code == 1 and "Job failed." in failed.stderr
    later = run_edgetts("service", "install", "--user", "--no-start")
    assert later.exit_code == 0 and "to be started later" in later.stdout


def test_the_one_of_the_machine(fake: Fake, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("0123456789abcdef")
    options = ("--host", "0.0.0.0", "--token-file", token)
    done = run_edgetts("service", "install", "--system", "--group", "audio", "--", *options)
    assert done.exit_code == 0, done.stderr
    assert "sound server" in done.stdout
    written = (tmp_path / "system" / "edgetts.service").read_text()
    assert "--host 0.0.0.0 --token-file %d/token\n" in written and f"LoadCredential=token:{token}\n" in written
    assert "0123456789abcdef" not in written and "IPAddressDeny" not in written
    assert "SocketGroup=audio" in (tmp_path / "system" / "edgetts.socket").read_text()
    assert all(call.startswith("systemctl --system") for call in fake.calls())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--user", "--system"), "contradict"),
        (("--user", "--group", "audio"), "--system"),
        (("--user", "--", "--nonsense"), "nonsense"),
        (("--user", "--", "--host", "0.0.0.0"), "token"),
        (("--user", "--", "--pack", "nowhere"), "no model pack"),
    ],
)
def test_misuse(fake: Fake, arguments, said: str) -> None:
    refused = run_edgetts("service", "install", *arguments)
    assert refused.exit_code != 0 and said in refused.stderr
    assert not fake.units.exists() and fake.calls() == []


def test_a_program_that_the_machine_cannot_see(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verb, "HIDDEN", (Path("/"),))
    refused = run_edgetts("service", "install", "--system")
    assert refused.exit_code == 2 and "sees nothing below /" in refused.stderr
    shown = run_edgetts("service", "install", "--system", "--print")
    assert shown.exit_code == 0 and "sees nothing below /" in shown.stderr


def test_status_and_logs(fake: Fake) -> None:
    (fake.folder / "shown").write_text("ActiveState=active\nMainPID=7\nMemoryCurrent=1048576\nResult=\n")
    running = run_edgetts("service", "status", "--user")
    assert running.exit_code == 0 and "1 MiB" in running.stdout and "active" in running.stdout
    (fake.folder / "shown").write_text("ActiveState=failed\nResult=watchdog\n")
    failed = run_edgetts("service", "status", "--user", "--json")
    assert failed.exit_code == 3
    assert json.loads(failed.stdout) == {"scope": "user", "installed": False, "state": "failed", "result": "watchdog"}
    fake.calls()
    assert run_edgetts("service", "logs", "--user", "-n", "7").exit_code == 0
    assert run_edgetts("service", "logs", "--system", "--follow").exit_code == 0
    assert fake.calls() == [
        "journalctl --user-unit edgetts.service --lines 7 --no-pager",
        "journalctl --unit edgetts.service --lines 50 --follow",
    ]


def test_without_systemd(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    for words in (("status", "--user"), ("logs", "--user"), ("install", "--user")):
        refused = run_edgetts("service", *words)
        assert refused.exit_code == 2 and "There is no" in refused.stderr


def test_where_it_is_installed_is_where_it_is_looked_for(tmp_path: Path) -> None:
    scope = Scope(True, tmp_path)
    assert not scope.is_installed
    (tmp_path / "edgetts.service").write_text("[Unit]\n")
    assert not scope.is_installed
    (tmp_path / "edgetts.service").write_text(MARK)
    assert scope.is_installed
