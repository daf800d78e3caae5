"""Settings of a daemon: addresses, token, limits. Plain values."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from edgetts.errors import UsageError

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8880
MIN_TOKEN_CHARACTERS = 16
MAX_TOKEN_BYTES = 4096
MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Limits per client and in total."""

    streams: int = 4  # concurrent syntheses
    waiting: int = 16  # queued requests; beyond: 429
    waiting_to_learn: int = 2  # queued enrollments
    text_characters: int = 100_000  # about two hours of speech
    body_bytes: int = 1 * MIB  # of a request that is not an upload
    upload_bytes: int = 32 * MIB
    connections: int = 256
    utterances: int = 8  # per WebSocket, running or queued
    header_s: float = 20.0  # until a request's headers have arrived
    body_s: float = 30.0  # until its body has arrived
    upload_s: float = 120.0
    send_s: float = 60.0  # until a client has read a piece
    text_s: float = 120.0  # until the next piece of a text
    stall_s: float = 1800.0  # without audio although there is text, loading included

    def __post_init__(self) -> None:
        for name, least in (("streams", 1), ("waiting", 0), ("text_characters", 1), ("connections", 1)):
            if getattr(self, name) < least:
                raise UsageError(f"{name} is {getattr(self, name)}; allowed is {least} or more.")


@dataclass(frozen=True)
class Settings:
    """Settings. Raises UsageError for a public address without a token."""

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT  # 0: any free port
    token: str | None = field(default=None, repr=False)
    socket: Path | None = None  # Unix socket for clients on this machine
    keep_alive_s: float | None = None  # idle seconds before the networks are unloaded; None: never
    stop_s: float = 10.0  # for running streams when the daemon stops
    tells_text: bool = False  # whether the log contains the texts
    origins: tuple[str, ...] = ()  # further allowed origins of web pages
    wyoming: tuple[str, int] | None = None  # address and port for Home Assistant; None: not served
    wyoming_public: bool = False  # whether other machines may reach it, without a token
    wyoming_name: str | None = None  # to announce it by in the local network; None: not announced
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        check_address(self.host, self.token)
        self._check_wyoming()
        if not 0 <= self.port < 1 << 16:
            raise UsageError(f"port is {self.port}; allowed is 0 to 65535.")
        for name, value in (("keep_alive", self.keep_alive_s), ("stop_seconds", self.stop_s)):
            if value is not None and not 0 <= value < float("inf"):
                raise UsageError(f"{name} is {value:g}; allowed is a number of seconds from 0.")

    def _check_wyoming(self) -> None:
        if self.wyoming is None:
            if self.wyoming_public or self.wyoming_name is not None:
                raise UsageError("wyoming_public= and wyoming_name= need wyoming=, an address.")
            return
        is_local = is_loopback(self.wyoming[0])
        if not is_local and not self.wyoming_public:
            raise UsageError(
                f"Other machines can reach the address {self.wyoming[0]}, and Wyoming has no token: set "
                "wyoming_public= if everybody in the network may speak through this daemon."
            )
        if is_local and self.wyoming_name is not None:
            raise UsageError("Nobody else can reach a loopback address: leave wyoming_name= out, or choose another.")


def wyoming_address(uri: str) -> tuple[str, int]:
    """Address and port of such as tcp://127.0.0.1:10200. Raises UsageError."""
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if host is None or port is None or parts.scheme != "tcp" or parts.path not in ("", "/"):
        raise UsageError(f"{uri!r} is not an address for Wyoming: give one such as tcp://127.0.0.1:10200.")
    return host, port


def check_address(host: str, token: str | None) -> None:
    """Raises UsageError for an address that is not loopback, unless there is a token."""
    if token is None and not is_loopback(host):
        raise UsageError(
            f"Other machines can reach the address {host}, so it needs a token: set token= to one of "
            f"{MIN_TOKEN_CHARACTERS} characters or more."
        )


def is_loopback(host: str) -> bool:
    """Whether `host` (an address or localhost) is reachable from this machine only."""
    if host.casefold() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_token(token: str, source: str) -> str:
    """The token, stripped. Raises UsageError if it is too short or has characters that headers cannot carry."""
    token = token.strip()
    if len(token) < MIN_TOKEN_CHARACTERS:
        raise UsageError(
            f"The token in {source} has {len(token)} characters; it needs {MIN_TOKEN_CHARACTERS} or more: "
            "generate one with `openssl rand -hex 32`."
        )
    if not token.isascii() or any(character.isspace() or not character.isprintable() for character in token):
        raise UsageError(
            f"The token in {source} has characters that an HTTP header cannot carry: use letters and digits."
        )
    return token


def read_token(path: Path) -> str:
    """The token in a file. Raises UsageError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TOKEN_BYTES)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"The token file {path} cannot be read ({reason}).") from None
    return check_token(data.decode("utf-8", "replace"), str(path))
