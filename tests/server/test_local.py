"""The Unix socket: `edgetts say` with a daemon is `edgetts say` without one, only sooner."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.command import run_edgetts
from helpers.daemon import LONG, VOICE, Running, home_of, running, until
from helpers.paths import TESTS

from edgetts.errors import UsageError
from edgetts.server import frames
from edgetts.server.local import listen
from edgetts.server.settings import Limits

QUICK = ("--beams", 1, "--steps", 1, "--max-codes", 25, "--no-guards", "--seed", 7, "--device", "cpu")


@pytest.fixture(scope="module")
def daemon(mini_pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("home")
    home = home_of(folder, mini_pack)
    with running(home, mini_pack, socket=folder / "s", limits=Limits(streams=1, waiting=0), stop_s=1.0) as daemon:
        yield daemon


@pytest.fixture
def variables(daemon: Running, mini_pack: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    wanted = {
        "EDGETTS_HOME": str(daemon.home),
        "EDGETTS_PACK": str(mini_pack),
        "EDGETTS_VOICE": VOICE,
        "EDGETTS_SOCKET": str(daemon.home / "s"),
    }
    for name, value in wanted.items():
        monkeypatch.setenv(name, value)
    return {**os.environ, **wanted}


def say(*arguments: object, input: str | bytes | None = None):
    return run_edgetts("-v", "say", *arguments, *QUICK, input=input)


def plain(result) -> str:
    """What is said on stderr, without the log and without what depends on how busy the machine is."""
    lines = result.stderr.splitlines()
    return "\n".join(line for line in lines if " INFO " not in line and "estimated to take" not in line)


def test_the_file_is_for_its_user_alone(daemon: Running) -> None:
    assert (daemon.home / "s").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("arguments", "input"),
    [
        (("Hello there. How are you?", "-o", "-", "--format", "flac"), None),
        (("Hello there.", "--raw"), None),
        # One clause: several may be planned together or not, as they arrive.
        (("-", "--raw", "--chunks", "10,20"), "Hello there all of you"),
        (("-", "--raw"), b"Hello there. \xff"),
        (("(", "-o", "-"), None),
        (("Hello.", "-o", "-", "--emotion", "happy=0.4", "--markup"), None),
        (("Hello.", "-o", "-", "-v", "nobody"), None),
        (("Hello.", "-o", "-", "--steps", "0"), None),
    ],
)
def test_the_same_output_and_exit_code(variables: dict[str, str], arguments, input) -> None:
    with_daemon, without = say(*arguments, input=input), say(*arguments, "--no-daemon", input=input)
    assert with_daemon.exit_code == without.exit_code
    assert with_daemon.stdout_bytes == without.stdout_bytes
    assert plain(with_daemon) == plain(without)
    if with_daemon.exit_code == 0:
        assert "the daemon at" in with_daemon.stderr and "opened pack" not in with_daemon.stderr
        assert len(with_daemon.stdout_bytes) > 1000


def test_the_same_files_and_json(variables: dict[str, str], tmp_path: Path) -> None:
    told, files = [], []
    for more in ((), ("--no-daemon",)):
        out, srt = tmp_path / "out.wav", tmp_path / "out.srt"
        result = say("Hello there. How are you?", "-o", out, "--srt", srt, "--json", "--quiet", *more)
        assert result.exit_code == 0, result.stderr
        told.append(json.loads(result.stdout))
        files.append((out.read_bytes(), srt.read_bytes()))
    assert files[0] == files[1]
    for table in told:
        assert table.pop("rtf") > 0 and table.pop("compute_seconds") > 0
    assert told[0] == told[1]


def test_the_client_imports_no_torch(variables: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out.wav"
    arguments = ["edgetts", "say", "Hello there.", "-o", str(out), *map(str, QUICK)]
    code = (
        f"import sys\nsys.argv = {arguments!r}\nfrom edgetts.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "print([name for name in ('torch', 'starlette', 'uvicorn', 'asyncio') if name in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=TESTS.parent, env=variables, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == "[]\n"
    assert out.stat().st_size > 1000


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--compute", "reference"), "has compute exact, not reference"),
        (("--pack", "builtin", "-v", "af_heart"), "has pack"),
        (("-v", "me.wav"), "accepts voice names"),
    ],
)
def test_a_daemon_that_would_sound_otherwise_is_not_asked(variables, daemon: Running, options, said: str) -> None:
    result = say("Hello.", "-o", "-", "--socket", daemon.home / "s", *options)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_daemon_that_was_named_speaks_with_its_own_pack_and_voices(
    variables: dict[str, str], daemon: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGETTS_HOME", str(tmp_path))
    monkeypatch.delenv("EDGETTS_PACK")
    by_name = say("Hello.", "-o", "-", "--socket", daemon.home / "s")
    assert by_name.exit_code == 0, by_name.stderr
    assert "using the daemon" in by_name.stderr
    found = say("Hello.", "-o", "-", "--play-on", "server")
    assert found.exit_code == 2 and "drop it, or -o" in found.stderr


def test_no_daemon_at_the_socket_that_was_named(variables: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "none", tmp_path / "file"):
        result = say("Hello.", "-o", "-", "--socket", path)
        assert result.exit_code == 2 and "cannot serve this request" in result.stderr


def test_a_client_that_goes_away_stops_its_stream_and_a_busy_daemon_says_so(variables, daemon: Running) -> None:
    request = {"text": LONG, "voice": VOICE, "options": {"n_beams": 1, "n_steps": 1, "guards": False}}
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(daemon.home / "s"))
        client.sendall(frames.pack_table(frames.REQUEST, request))
        until(lambda: daemon.service.queue.n_served == 1)
        result = say("Hello.", "-o", "-")
        assert result.exit_code == 1 and "--no-daemon" in result.stderr
    until(lambda: daemon.service.queue.n_served == 0, 3)


@pytest.mark.parametrize(
    "data", [b"\0" * 5, b"GET / HTTP/1.1\r\n\r\n", frames.pack(frames.REQUEST, b"{"), frames.pack(frames.TEXT, b"x")]
)
def test_what_is_no_request_ends_its_own_connection_only(daemon: Running, data: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(daemon.home / "s"))
        client.sendall(data)
        heard = b""
        while more := client.recv(1 << 16):
            heard += more
    assert heard[:1] == frames.HELLO
    until(lambda: daemon.service.queue.n_served == 0)


def test_two_daemons_do_not_share_a_socket(daemon: Running, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="listens at .* already"):
        listen(daemon.home / "s")
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(tmp_path / "stale"))
    stale.close()
    listen(tmp_path / "stale").close()
    (tmp_path / "file").write_text("kept")
    with pytest.raises(UsageError, match="Cannot listen on"):
        listen(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "kept"
