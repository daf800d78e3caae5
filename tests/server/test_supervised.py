"""`edgetts serve` under a supervisor: it says when it is ready and that it lives, serves sockets that were opened for
it, and ends what it speaks when it is told to stop."""

from __future__ import annotations

import os
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

from edgetts.server import frames
from edgetts.server.notify import notify

# Starts a program as systemd does: with sockets as descriptors 3 and 4, and variables that say whose they are.
AS_SYSTEMD = """
import fcntl, os, sys
given = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
for number, descriptor in enumerate(given, 3):
    os.dup2(descriptor, number)
    os.close(descriptor)
os.environ["LISTEN_PID"] = os.environ["WATCHDOG_PID"] = str(os.getpid())
os.execv(sys.argv[3], sys.argv[3:])
"""
WATCHDOG_S = 12


def test_ready_then_stopping_within_the_deadline(mini_pack: Path, tmp_path: Path) -> None:
    home = home_of(tmp_path / "home", mini_pack)
    supervisor = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    supervisor.bind(str(tmp_path / "notify"))
    supervisor.settimeout(120)
    http = socket.create_server(("127.0.0.1", 0))
    local = socket.socket(socket.AF_UNIX)
    local.bind(str(tmp_path / "passed"))
    local.listen()
    variables = {
        **os.environ,
        "NOTIFY_SOCKET": str(tmp_path / "notify"),
        "LISTEN_FDS": "2",
        "WATCHDOG_USEC": str(WATCHDOG_S * 1_000_000),
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
            [sys.executable, "-c", AS_SYSTEMD, str(http.fileno()), str(local.fileno()), *serve],
            cwd=TESTS.parent,
            env=variables,
            pass_fds=[http.fileno(), local.fileno()],
            stderr=log,
        )
    try:
        assert supervisor.recv(1024).startswith(b"READY=1\n")
        assert not (tmp_path / "edgetts.sock").exists()  # it was given one
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(30)
            client.connect(str(tmp_path / "passed"))
            assert client.recv(1) == frames.HELLO
        assert supervisor.recv(1024) == b"WATCHDOG=1"
        url = f"http://127.0.0.1:{http.getsockname()[1]}"
        options = {**QUICK, "max_codes": 100}
        body = {"input": LONG, "voice": VOICE, "options": options, "response_format": "pcm"}
        with httpx.stream("POST", f"{url}/v1/audio/speech", json=body, timeout=60) as response:
            chunks = response.iter_bytes()
            next(chunks)
            process.send_signal(signal.SIGTERM)
            while (told := supervisor.recv(1024)) != b"STOPPING=1":
                assert told == b"WATCHDOG=1"
            told_at = time.monotonic()
            with pytest.raises(httpx.RemoteProtocolError):  # cut, so that nobody takes it for whole
                while True:
                    next(chunks)
        assert process.wait(20) == 0
        assert time.monotonic() - told_at < 15
        log_text = (tmp_path / "log").read_text()
        assert "outcome=stopped" in log_text and "Traceback" not in log_text
    finally:
        process.kill()
        process.wait()
        supervisor.close()
        http.close()
        local.close()


def test_a_supervisor_in_the_abstract_namespace_or_none() -> None:
    name = f"edgetts-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind("\0" + name)
        notify(f"@{name}", "READY=1", "STATUS=Here")
        assert supervisor.recv(100) == b"READY=1\nSTATUS=Here"
    notify(None, "READY=1")
    notify("/nonexistent/socket", "READY=1")
