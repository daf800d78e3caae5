"""A program at a terminal: what it shows, what is typed, Ctrl-C as the key that it is."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from pathlib import Path

CTRL_C = "\x03"
_ROWS, _COLUMNS = 40, 100
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A command of this Python in a session of its own, whose terminal is ours. `before`: code that it runs first."""

    def __init__(self, folder: Path, *arguments: str, before: str = "", environment: Mapping[str, str]) -> None:
        script = folder / "at_terminal.py"
        script.write_text(
            # As the leader of its session it takes what it is connected to for its terminal.
            "import fcntl, termios\nfcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
            f"{before}\nimport sys\nsys.argv = {['edgetts', *arguments]!r}\nfrom edgetts.cli import main\nmain()\n"
        )
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "at_terminal"], cwd=folder, env=dict(environment), stdin=theirs, stdout=theirs,
            stderr=theirs, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self._shown = ""

    @property
    def shown(self) -> str:
        """Everything so far, without colors; a line that was drawn over is there each time."""
        return _ANSI.sub("", self._shown.replace("\r\n", "\n"))

    def wait_for(self, text: str, *, timeout_s: float = 120.0) -> None:
        """Reads until `text` is shown behind what was waited for or typed before."""
        until = time.monotonic() + timeout_s
        start = len(self.shown)
        while text not in self.shown[start:]:
            if not self._read(until - time.monotonic()):
                raise AssertionError(f"{text!r} did not come:\n{self.shown}")

    def type(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def ends(self, *, timeout_s: float = 120.0) -> int:
        """Its exit code."""
        until = time.monotonic() + timeout_s
        while self._read(until - time.monotonic()):
            pass
        return self._process.wait(timeout=max(1.0, until - time.monotonic()))

    def close(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        os.close(self._ours)

    def _read(self, timeout_s: float) -> bool:
        """Whether something came in this time; False at the end."""
        if not select.select([self._ours], [], [], max(0.0, timeout_s))[0]:
            return False
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # the other end is closed
            return False
        self._shown += data.decode(errors="replace")
        return bool(data)
