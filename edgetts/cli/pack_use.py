"""Finds the programs that have a pack open: processes of this machine, and the daemon.

In: a pack's folder, and the daemon's socket. Out: phrases such as "process 1234 (edgetts)". Processes of other users
are not seen, nor is anything where there is no /proc. Imports no torch.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from edgetts.errors import printable

_PROC = Path("/proc")
_FIELDS_BEFORE_PATH = 5  # of a line of /proc/PID/maps


def users_of(pack: Path, socket: Path | None, proc: Path = _PROC) -> list[str]:
    """Processes that have files of the pack mapped, and the daemon at the socket if it uses the pack."""
    folder = pack.resolve()
    found = [f"process {number} ({name})" for number, name in _mapping(folder, proc)]
    daemon = _daemon(folder, socket)
    return [*found, *([daemon] if daemon is not None and not found else [])]


def _mapping(folder: Path, proc: Path) -> list[tuple[int, str]]:
    inside = f"{folder}/"
    found = []
    with contextlib.suppress(OSError):
        for entry in sorted(proc.iterdir()):
            if not entry.name.isdecimal() or int(entry.name) == os.getpid():
                continue
            with contextlib.suppress(OSError):  # of another user, or ended
                maps = (entry / "maps").read_text(errors="replace").splitlines()
                if any(_path_of(line).startswith(inside) for line in maps):
                    found.append((int(entry.name), printable((entry / "comm").read_text().strip())))
    return found


def _path_of(line: str) -> str:
    fields = line.split(maxsplit=_FIELDS_BEFORE_PATH)
    return fields[-1] if len(fields) > _FIELDS_BEFORE_PATH else ""


def _daemon(folder: Path, socket: Path | None) -> str | None:
    """The daemon, which uses its pack even while the networks are unloaded."""
    if socket is None or not socket.exists():
        return None
    from edgetts.server.client import Connection, NoDaemon

    try:
        connection = Connection(socket)
    except NoDaemon:
        return None
    connection.close()
    return f"the daemon at {socket}" if connection.hello.get("pack") == str(folder) else None
