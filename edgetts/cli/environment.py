"""The environment variables of the command: read once, passed on as values."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SOCKET_NAME = "edgetts.sock"


@dataclass(frozen=True)
class Environment:
    """The environment variables at the start of the command; nothing else reads them."""

    home: Path | None  # EDGETTS_HOME: packs, voices and cache in one folder
    pack: str | None  # EDGETTS_PACK: pack when --pack is not given
    voice: str | None  # EDGETTS_VOICE: voice when --voice is not given
    device: str | None  # EDGETTS_DEVICE: device when --device is not given
    kernel: str | None  # EDGETTS_KERNEL: kernel for quantized weights, see `edgetts info --kernels`
    hub_cache: Path  # HF_HUB_CACHE or HF_HOME: cache of Hugging Face downloads
    hub_endpoint: str | None  # HF_ENDPOINT: the hub or mirror to download from when --mirror is not given
    modelscope_endpoint: str | None = None  # MODELSCOPE_ENDPOINT: the same for --source modelscope
    modelscope_token: str | None = field(default=None, repr=False)  # MODELSCOPE_API_TOKEN: token for ModelScope
    token: str | None = field(default=None, repr=False)  # EDGETTS_TOKEN: token that a daemon requires of its clients
    socket: str | None = None  # EDGETTS_SOCKET: socket of this user's daemon
    runtime_dir: str | None = None  # XDG_RUNTIME_DIR: folder of the default socket
    notify_socket: str | None = None  # NOTIFY_SOCKET: systemd's socket for the state of a service
    n_passed_sockets: int = 0  # LISTEN_FDS: sockets that systemd opened for this process
    watchdog_s: float | None = None  # WATCHDOG_USEC: systemd kills a service that gives no sign of life for so long
    config_home: Path = Path("~/.config")  # XDG_CONFIG_HOME: folder of this user's units
    is_root: bool = False

    @property
    def daemon_socket(self) -> Path | None:
        """Path of the daemon's socket; None if no variable gives one."""
        if self.socket is not None:
            return Path(self.socket).expanduser()
        return Path(self.runtime_dir) / SOCKET_NAME if self.runtime_dir is not None else None

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> Environment:
        """Empty variables count as not set."""
        home = variables.get("EDGETTS_HOME")
        hub_home = variables.get("HF_HOME") or "~/.cache/huggingface"
        hub_cache = variables.get("HF_HUB_CACHE") or f"{hub_home}/hub"
        return cls(
            home=Path(home).expanduser() if home else None,
            pack=variables.get("EDGETTS_PACK") or None,
            voice=variables.get("EDGETTS_VOICE") or None,
            device=variables.get("EDGETTS_DEVICE") or None,
            kernel=variables.get("EDGETTS_KERNEL") or None,
            hub_cache=Path(hub_cache).expanduser(),
            hub_endpoint=variables.get("HF_ENDPOINT") or None,
            modelscope_endpoint=variables.get("MODELSCOPE_ENDPOINT") or None,
            modelscope_token=variables.get("MODELSCOPE_API_TOKEN") or None,
            token=variables.get("EDGETTS_TOKEN") or None,
            socket=variables.get("EDGETTS_SOCKET") or None,
            runtime_dir=variables.get("XDG_RUNTIME_DIR") or None,
            notify_socket=variables.get("NOTIFY_SOCKET") or None,
            n_passed_sockets=_passed_sockets(variables),
            watchdog_s=_watchdog_seconds(variables),
            config_home=Path(variables.get("XDG_CONFIG_HOME") or "~/.config").expanduser(),
            is_root=hasattr(os, "geteuid") and os.geteuid() == 0,
        )


def _passed_sockets(variables: Mapping[str, str]) -> int:
    """Number of sockets that systemd passed to this process, not to a parent."""
    number = variables.get("LISTEN_FDS", "")
    return int(number) if number.isdecimal() and variables.get("LISTEN_PID") == str(os.getpid()) else 0


def _watchdog_seconds(variables: Mapping[str, str]) -> float | None:
    """The watchdog's time, if systemd set it for this process."""
    number = variables.get("WATCHDOG_USEC", "")
    is_ours = variables.get("WATCHDOG_PID") in (None, "", str(os.getpid()))
    return int(number) / 1e6 if is_ours and number.isdecimal() and int(number) > 0 else None
