"""The daemon as a systemd service: installs and removes its units, and calls `systemctl`.

In: units as text, a scope (user or system). Out: files in systemd's folder, and systemd's answers. Files not written by
edgetts are neither replaced nor removed.
"""

from __future__ import annotations

import getpass
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgetts.errors import GenerationError, UsageError, one_line
from edgetts.files import replace_file
from edgetts.server.units import DEVICE_NODES, GROUPS, MARK, SERVICE, SOCKET

SYSTEM_FOLDER = Path("/etc/systemd/system")
LINGER_FOLDER = Path("/var/lib/systemd/linger")
NAMES = (SERVICE, SOCKET)
_ASKED_S = 30
_STARTED_S = 660  # longer than TimeoutStartSec of the unit
_READABLE = 0o644
# Properties that `status` shows, by systemd's names.
PROPERTIES = {
    "ActiveState": "state",
    "SubState": "detail",
    "UnitFileState": "at boot",
    "Result": "result",
    "StatusText": "status",
    "MainPID": "process",
    "NRestarts": "restarts",
    "MemoryCurrent": "memory",
    "ActiveEnterTimestamp": "since",
}


@dataclass(frozen=True)
class Scope:
    """The user's service manager (folder: below the home) or the system's."""

    is_system: bool
    folder: Path

    @property
    def flag(self) -> str:
        return "--system" if self.is_system else "--user"

    def path(self, name: str) -> Path:
        return self.folder / name

    @property
    def is_installed(self) -> bool:
        """Whether there is a service unit that `edgetts service install` wrote."""
        return is_ours(self.path(SERVICE))

    def systemctl(self, *arguments: str, seconds: float = _ASKED_S) -> subprocess.CompletedProcess[str]:
        """Run systemctl; the caller checks the exit code. Raises UsageError without systemd, and GenerationError."""
        program = shutil.which("systemctl")
        if program is None:
            raise UsageError("There is no systemctl here: start `edgetts serve` by other means.")
        command = [program, self.flag, *arguments]
        try:
            return subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
        except subprocess.TimeoutExpired:
            raise GenerationError(f"`systemctl {self.flag} {' '.join(arguments)}` did not end in time.") from None

    def must(self, *arguments: str, seconds: float = _ASKED_S) -> None:
        """Run systemctl. Raises GenerationError with its message if it fails."""
        done = self.systemctl(*arguments, seconds=seconds)
        if done.returncode:
            said = one_line(done.stderr or done.stdout) or f"exit code {done.returncode}"
            raise GenerationError(f"`systemctl {self.flag} {' '.join(arguments)}` failed: {said}")

    def install(self, units: Mapping[str, str], *, starts: bool) -> None:
        """Write the units, and let systemd start them now (starts) and at boot or login.

        Raises UsageError where a unit of somebody else is in the place, or nothing can be written there.
        """
        for name in units:
            path = self.path(name)
            if os.path.lexists(path) and not is_ours(path):
                raise UsageError(f"{path} was not written by `edgetts service install`, so it stays: move it away.")
        is_there = self.is_installed
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for name, text in units.items():
                replace_file(self.path(name), text.encode(), mode=_READABLE)
        except OSError as error:
            hint = " (as root)" if self.is_system else ""
            raise UsageError(
                f"The units cannot be written to {self.folder} ({(error.strerror or str(error)).lower()}){hint}."
            ) from None
        self.must("daemon-reload")
        if is_there and starts:
            self.must("stop", *NAMES)  # a socket whose service runs cannot be started anew
        self.must("enable", *NAMES)
        if starts:
            self.must("start", *reversed(NAMES), seconds=_STARTED_S)

    def uninstall(self) -> None:
        """Stop it and remove its units. Raises UsageError when they are not there, or not ours."""
        if not self.is_installed:
            raise UsageError(f"No {SERVICE} in {self.folder} was written by `edgetts service install`.")
        self.must("disable", "--now", *NAMES, seconds=_STARTED_S)
        for name in NAMES:
            if is_ours(self.path(name)):
                self.path(name).unlink()
        self.must("daemon-reload")
        self.systemctl("reset-failed", SERVICE)  # there may be no such state

    def status(self) -> dict[str, str]:
        """The state of the service, by the names in `PROPERTIES`."""
        done = self.systemctl("show", SERVICE, f"--property={','.join(PROPERTIES)}")
        pairs = [line.partition("=") for line in done.stdout.splitlines()]
        given = {key: value for key, _, value in pairs if value not in ("", "[not set]")}
        return {name: given[key] for key, name in PROPERTIES.items() if key in given}


def is_ours(path: Path) -> bool:
    """Whether edgetts wrote this unit."""
    try:
        with path.open("rb") as file:
            return file.read(len(MARK)) == MARK.encode()
    except OSError:
        return False


def scopes(config_home: Path) -> tuple[Scope, Scope]:
    """The user's and the system's. config_home: such as ~/.config."""
    return Scope(False, config_home / "systemd" / "user"), Scope(True, SYSTEM_FOLDER)


def systemd_version() -> int:
    """The version of systemd; 0 if it is unknown."""
    program = shutil.which("systemctl")
    if program is None:
        return 0
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=_ASKED_S)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.match(r"systemd (\d+)", done.stdout)
    return int(found[1]) if found else 0


def device_nodes(dev: Path = Path("/dev")) -> tuple[str, ...]:
    """Nodes of GPUs that exist now: on Jetson their groups differ between releases, so that each is named."""
    found = {path for pattern in DEVICE_NODES for path in dev.glob(pattern) if path.is_char_device()}
    return tuple(sorted(map(str, found)))


def existing_groups() -> tuple[str, ...]:
    """Those of `GROUPS` that this machine has: with another one the service would not start."""
    import grp  # not on Windows

    known = {entry.gr_name for entry in grp.getgrall()}
    return tuple(name for name in GROUPS if name in known)


def journal_command(scope: Scope, *, n_lines: int, follows: bool) -> Sequence[str]:
    """The command that shows the service's log."""
    unit = ("--unit", SERVICE) if scope.is_system else ("--user-unit", SERVICE)
    return ("journalctl", *unit, "--lines", str(n_lines), *(("--follow",) if follows else ("--no-pager",)))


def lingers() -> bool:
    """Whether services of this user run while the user is not logged in."""
    return (LINGER_FOLDER / getpass.getuser()).exists()
