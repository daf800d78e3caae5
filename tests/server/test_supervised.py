"""`edgetts serve` under a supervisor: it says when it is ready, serves sockets that were opened for it, and ends what
it speaks when it is told to stop. And the unit files, where systemd can judge them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from helpers.daemon import LONG, QUICK, VOICE, home_of
from helpers.paths import TESTS

from edgetts.server.notify import notify

# Starts a program as systemd does: with a socket as descriptor 3, and a variable that says whose it is.
AS_SYSTEMD = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""
UNITS = sorted((TESTS.parent / "packaging" / "systemd").rglob("edgetts.*"))


def test_ready_then_stopping_within_the_deadline(mini_pack: Path, tmp_path: Path) -> None:
    home = home_of(tmp_path / "home", mini_pack)
    supervisor = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    supervisor.bind(str(tmp_path / "notify"))
    supervisor.settimeout(120)
    http = socket.create_server(("127.0.0.1", 0))
    variables = {
        **os.environ,
        "NOTIFY_SOCKET": str(tmp_path / "notify"),
        "LISTEN_FDS": "1",
        "EDGETTS_HOME": str(home),
        "XDG_RUNTIME_DIR": str(tmp_path),
    }
    serve = [
        sys.executable,
        "-m",
        "edgetts",
        "serve",
        "--pack",
        str(mini_pack),
        "--device",
        "cpu",
        "--stop-seconds",
        "1",
    ]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", AS_SYSTEMD, str(http.fileno()), *serve],
            cwd=TESTS.parent,
            env=variables,
            pass_fds=[http.fileno()],
            stderr=log,
        )
    try:
        assert supervisor.recv(1024).startswith(b"READY=1\n")
        assert (tmp_path / "edgetts.sock").is_socket()
        url = f"http://127.0.0.1:{http.getsockname()[1]}"
        options = {**QUICK, "max_codes": 100}
        body = {"input": LONG, "voice": VOICE, "options": options, "response_format": "pcm"}
        with httpx.stream("POST", f"{url}/v1/audio/speech", json=body, timeout=60) as response:
            chunks = response.iter_bytes()
            next(chunks)
            process.send_signal(signal.SIGTERM)
            assert supervisor.recv(1024) == b"STOPPING=1"
            told_at = time.monotonic()
            with pytest.raises(httpx.RemoteProtocolError):  # cut, so that nobody takes it for whole
                while True:
                    next(chunks)
        assert process.wait(20) == 0
        assert time.monotonic() - told_at < 15
        assert not (tmp_path / "edgetts.sock").exists()
        log_text = (tmp_path / "log").read_text()
        assert "outcome=stopped" in log_text and "Traceback" not in log_text
    finally:
        process.kill()
        process.wait()
        supervisor.close()
        http.close()


def test_a_supervisor_in_the_abstract_namespace_or_none() -> None:
    name = f"edgetts-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind("\0" + name)
        notify(f"@{name}", "READY=1", "STATUS=Here")
        assert supervisor.recv(100) == b"READY=1\nSTATUS=Here"
    notify(None, "READY=1")
    notify("/nonexistent/socket", "READY=1")


def test_there_are_units_for_users_and_for_the_machine() -> None:
    assert {(unit.parent.name, unit.name) for unit in UNITS} == {
        (where, f"edgetts.{kind}") for where in ("user", "system") for kind in ("service", "socket")
    }


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here to judge them")
@pytest.mark.parametrize("where", ["user", "system"])
def test_systemd_finds_nothing_wrong_with_the_units(where: str, tmp_path: Path) -> None:
    units = [str(unit) for unit in UNITS if unit.parent.name == where]
    analyze = ["systemd-analyze", f"--{where}", "verify", "--man=no", *units]
    variables = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}  # which user units name
    run = subprocess.run(analyze, env=variables, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "edgetts" not in run.stderr, run.stderr
