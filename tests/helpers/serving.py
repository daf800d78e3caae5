"""`edgetts serve` as a process of its own, for long measurements and for tests that kill it.

In: a pack, a home, more options. Out: its address and its process, ready to speak; it is ended with the block.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from helpers.paths import TESTS

START_S = 600.0
STOP_S = 120.0


@dataclass
class Served:
    """A daemon that runs. socket: its Unix socket."""

    url: str
    process: subprocess.Popen[bytes]
    socket: Path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def start(
    home: Path,
    pack: Path | str | None,
    *options: str,
    port: int | None = None,
    before: Sequence[str] = (),
    log: Path | None = None,
    variables: Mapping[str, str] | None = None,
) -> Served:
    """Start it, without waiting. home: also has its Unix socket. pack: None: the default of home. before: a command that
    runs it, such as faketime."""
    port = port or free_port()
    path = home / "daemon.sock"
    serve = [sys.executable, "-m", "edgetts", "serve", "--device", "cpu"]
    serve += [] if pack is None else ["--pack", str(pack)]
    with contextlib.ExitStack() as stack:
        out = subprocess.DEVNULL if log is None else stack.enter_context(log.open("ab"))
        process = subprocess.Popen(
            [*before, *serve, "--port", str(port), "--socket", str(path), *options],
            cwd=TESTS.parent,
            env={**os.environ, "EDGETTS_HOME": str(home), **(variables or {})},
            stderr=out,
        )
    return Served(f"http://127.0.0.1:{port}", process, path)


def wait(served: Served, seconds: float = START_S) -> None:
    """Wait until it speaks. Raises AssertionError if it ends or takes too long."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{served.url}/ready").json()["state"] == "loaded" and served.socket.exists():
                return
        assert served.process.poll() is None, f"the daemon ended with exit code {served.process.returncode}"
        assert time.monotonic() < deadline, "the daemon did not start"
        time.sleep(0.05)


@contextlib.contextmanager
def serving(home: Path, pack: Path | str | None, *options: str, **more: object) -> Iterator[Served]:
    """As `start` and `wait`."""
    served = start(home, pack, *options, **more)  # type: ignore[arg-type]
    try:
        wait(served)
        yield served
    finally:
        served.process.terminate()
        try:
            served.process.wait(STOP_S)
        finally:
            served.process.kill()
