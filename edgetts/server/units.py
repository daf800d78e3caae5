"""The systemd units of the daemon, as text: a notify service, and the sockets that activate it.

In: an `Installation`. Out: the content of `edgetts.service` and `edgetts.socket`. The files in `packaging/systemd` are
made of it, too: `python -m edgetts.server.units FOLDER` writes them. Knows no folder and runs nothing. Sources:
systemd.service(5), systemd.exec(5), systemd.resource-control(5), systemd.socket(5).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgetts.errors import UsageError
from edgetts.server.settings import DEFAULT_HOST, DEFAULT_PORT

SERVICE, SOCKET = "edgetts.service", "edgetts.socket"
MARK = "# Written by `edgetts service install`"  # identifies our files
WATCHDOG_S = 300  # watchdog timeout; a short synthesis must finish within half of it
START_S = 600  # for loading and warm-up, also from a slow disk
STOP_S = 10  # for running streams to end
CREDENTIAL = "token"
HAS_BACK_OFF = 254  # first systemd version with increasing restart delays
GROUPS = ("audio", "video", "render")  # whose devices the service may open
# As found in /proc/devices: sound, graphics, and NVIDIA's on PCs and on Jetson. Nodes that exist when the units are
# written are named, too.
DEVICE_GROUPS = ("alsa", "drm", "nvidia*", "nvhost*", "nvmap*", "nvgpu*", "host1x*")
DEVICE_NODES = ("nv*", "nvgpu/*", "nvgpu/*/*", "host1x*", "dxg")  # below /dev
_GENERIC_PATH = {"system": "/usr/local/bin:/usr/bin:/bin", "user": "%h/.local/bin:/usr/local/bin:/usr/bin:/bin"}


@dataclass(frozen=True)
class Installation:
    """The machine-dependent settings of an installation.

    command: the program and its options. variables: of its environment. port, host: where HTTP is served. socket: the
    Unix socket's path; None: there is none.
    token_file: for the system's unit, which reads it for the service. group: who may use the Unix socket of the
    system's unit beside root. device_nodes: paths that it may open. is_local: it listens on loopback addresses
    alone. systemd: its version.
    """

    is_system: bool
    command: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)
    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    socket: str | None = "%t/edgetts.sock"
    token_file: Path | None = None
    group: str | None = None
    device_nodes: tuple[str, ...] = ()
    groups: tuple[str, ...] = GROUPS
    memory_bytes: int | None = None
    is_local: bool = True
    systemd: int = 0


def quoted(word: str) -> str:
    """A word of a command line or of Environment=, as systemd reads it. Raises UsageError for control characters."""
    if not word.isprintable():
        raise UsageError(f"{word!r} has characters that a unit cannot hold.")
    plain = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{plain}"' if not word or any(c in word for c in " \t\"'\\;") else plain


def service_unit(installation: Installation) -> str:
    """`edgetts.service`."""
    sections = {
        "Unit": _unit_section(installation),
        "Service": _service_section(installation),
        "Install": [("WantedBy", "multi-user.target" if installation.is_system else "default.target")],
    }
    return _text("A voice for programs of this machine.", sections)


def socket_unit(installation: Installation) -> str:
    """`edgetts.socket`."""
    host = f"[{installation.host}]" if ":" in installation.host else installation.host
    local = [] if installation.socket is None else [("ListenStream", installation.socket)]
    rows = [*local, ("ListenStream", f"{host}:{installation.port}")]
    if installation.group is not None:
        rows += [("SocketGroup", installation.group)]
    rows += [("RemoveOnStop", "yes"), ("SocketMode", "0660" if installation.group is not None else "0600")]
    sections = {
        "Unit": [("Description", "Sockets of the edgetts speech daemon")],
        "Socket": rows,
        "Install": [("WantedBy", "sockets.target")],
    }
    return _text("Where programs reach it; the first one that comes starts it.", sections)


def _unit_section(installation: Installation) -> list[tuple[str, str]]:
    sound = "sound.target" if installation.is_system else "pipewire.service pipewire-pulse.service pulseaudio.service"
    is_slowing = installation.systemd >= HAS_BACK_OFF
    return [
        ("Description", "edgetts speech daemon"),
        ("Requires", SOCKET),
        ("After", f"{SOCKET} {sound}"),
        # With increasing delays it never has to give up.
        *([("StartLimitIntervalSec", "0")] if is_slowing else [("StartLimitIntervalSec", "600")]),
        *([] if is_slowing else [("StartLimitBurst", "8")]),
    ]


def _service_section(installation: Installation) -> list[tuple[str, str]]:
    rows = [
        ("Type", "notify"),
        ("NotifyAccess", "main"),
        ("ExecStart", " ".join(word if word.startswith("%d/") else _argument(word) for word in installation.command)),
        ("TimeoutStartSec", str(START_S)),
        ("TimeoutStopSec", str(2 * STOP_S)),
        ("WatchdogSec", str(WATCHDOG_S)),
        ("Restart", "on-failure"),
        ("RestartSec", "5"),
    ]
    if installation.systemd >= HAS_BACK_OFF:
        rows += [("RestartSteps", "6"), ("RestartMaxDelaySec", "300")]
    rows += [("RestartPreventExitStatus", "2")]  # usage errors: a restart does not help
    if installation.memory_bytes is not None:
        rows += [("MemoryMax", f"{-(-installation.memory_bytes // (1 << 20))}M")]
    for name, value in installation.variables.items():
        rows += [("Environment", quoted(f"{name}={value}"))]
    rows += _SYSTEM_ROWS if installation.is_system else _USER_ROWS
    if installation.is_system:
        rows += [("SupplementaryGroups", " ".join(installation.groups))]
        if installation.is_local:
            rows += [("IPAddressDeny", "any"), ("IPAddressAllow", "localhost")]
        rows += [("DeviceAllow", f"char-{group} rw") for group in DEVICE_GROUPS]
        rows += [("DeviceAllow", f"{node} rw") for node in installation.device_nodes]
        if installation.token_file is not None:
            rows += [("LoadCredential", f"{CREDENTIAL}:{str(installation.token_file).replace('%', '%%')}")]
    return rows


def _argument(word: str) -> str:
    return quoted(word).replace("$", "$$")


_BOTH_ROWS = [
    ("NoNewPrivileges", "yes"),
    ("LockPersonality", "yes"),
    ("RestrictNamespaces", "yes"),
    ("RestrictRealtime", "yes"),
    ("RestrictSUIDSGID", "yes"),
    ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6 AF_NETLINK"),
    ("SystemCallArchitectures", "native"),
    ("SystemCallFilter", "@system-service"),
    ("SystemCallErrorNumber", "EPERM"),
    ("UMask", "0077"),
]
_USER_ROWS = _BOTH_ROWS
# No MemoryDenyWriteExecute: PyTorch makes code while it runs. No PrivateDevices: it would hide GPU and sound card.
_SYSTEM_ROWS = [
    ("DynamicUser", "yes"),
    ("StateDirectory", "edgetts"),
    ("StateDirectoryMode", "0700"),
    ("CacheDirectory", "edgetts"),
    ("CacheDirectoryMode", "0700"),
    # Packs and voices are in the first, what can be made again in the second, which is also where libraries that ask
    # for a home keep compiled kernels.
    ("Environment", "XDG_DATA_HOME=%S XDG_CACHE_HOME=%C HOME=%C/edgetts"),
    ("CapabilityBoundingSet", ""),
    ("AmbientCapabilities", ""),
    ("ProtectSystem", "strict"),
    ("ProtectHome", "yes"),
    ("PrivateTmp", "yes"),
    ("PrivateMounts", "yes"),
    ("ProtectClock", "yes"),
    ("ProtectControlGroups", "yes"),
    ("ProtectHostname", "yes"),
    ("ProtectKernelLogs", "yes"),
    ("ProtectKernelModules", "yes"),
    ("ProtectKernelTunables", "yes"),
    ("ProtectProc", "invisible"),
    ("RemoveIPC", "yes"),
    ("LimitCORE", "0"),
    *_BOTH_ROWS,
    ("DevicePolicy", "closed"),
]


def _text(about: str, sections: Mapping[str, list[tuple[str, str]]]) -> str:
    lines = [f"{MARK}, which may replace it. {about}"]
    for name, rows in sections.items():
        lines += ["", f"[{name}]", *(f"{key}={value}" for key, value in rows)]
    return "\n".join(lines) + "\n"


def generic(where: str) -> Installation:
    """The installation of distribution packages, without facts of one machine. where: system or user."""
    is_system = where == "system"
    command = ("/usr/bin/env", f"PATH={_GENERIC_PATH[where]}", "edgetts", "serve", "--stop-seconds", str(STOP_S))
    return Installation(is_system, command)


def units(installation: Installation) -> dict[str, str]:
    """The units' text by file name."""
    return {SERVICE: service_unit(installation), SOCKET: socket_unit(installation)}


def main() -> None:
    """Write the units for packages below a folder."""
    for where in ("system", "user"):
        for name, text in units(generic(where)).items():
            path = Path(sys.argv[1]) / where / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
