"""Checks of the daemon: does it answer, its systemd units, lingering, its token."""

from __future__ import annotations

from pathlib import Path

from edgetts.cli.doctor.finding import Finding, broken, note, ok
from edgetts.errors import EdgeTTSError, UsageError
from edgetts.server.client import Connection, NoDaemon
from edgetts.server.settings import check_token
from edgetts.server.systemd import Scope


def check_daemon(path: Path | None, pack: Path | None) -> Finding:
    """Whether a daemon answers at the socket, and whether it has the pack that `edgetts say` would use."""
    if path is None:
        return note("daemon", "no place for its socket", "set XDG_RUNTIME_DIR or EDGETTS_SOCKET")
    if not path.exists():
        return note("daemon", f"none at {path}", "`edgetts serve`, or `edgetts service install`, keeps a model ready")
    try:
        connection = Connection(path)
    except NoDaemon as reason:
        return broken("daemon", str(reason), "start it again, or remove the socket")
    connection.close()
    hello = connection.hello
    text = f"answers at {path} with the pack {hello.get('pack')} on {hello.get('device')}"
    if pack is not None and hello.get("pack") != str(pack.resolve()):
        return note("daemon", text, f"`edgetts say` uses {pack}, so it speaks without the daemon")
    return ok("daemon", text)


def check_units(scopes: tuple[Scope, ...]) -> list[Finding]:
    """The units that `edgetts service install` wrote, and whether systemd runs them."""
    installed = [scope for scope in scopes if scope.is_installed]
    if not installed:
        return [note("unit", "no service of systemd", "`edgetts service install` starts the daemon with the machine")]
    return [_check_unit(scope) for scope in installed]


def _check_unit(scope: Scope) -> Finding:
    try:
        status = scope.status()
    except EdgeTTSError as error:
        return broken("unit", str(error).rstrip("."))
    state = status.get("state", "unknown")
    text = f"{scope.flag[2:]}: {state}, {status.get('at boot', 'not enabled')}"
    if state == "failed":
        reason = status.get("result", "")
        return broken("unit", f"{text} ({reason})", f"`edgetts service logs {scope.flag}` says why")
    if state != "active":
        # With its socket, the first client starts it.
        return note("unit", text, f"`systemctl {scope.flag} start edgetts.socket edgetts.service`")
    return ok("unit", text)


def check_lingering(user: Scope, *, lingers: bool) -> Finding | None:
    """Whether services outlive the user's login; checked only where the user's unit is installed."""
    if not user.is_installed:
        return None
    if lingers:
        return ok("lingering", "the user's service and sound server run from boot on")
    return note("lingering", "the user's service and sound server end at logout", "`loginctl enable-linger` keeps them")


def check_token_variable(token: str | None) -> Finding:
    """EDGETTS_TOKEN; a file is checked by `edgetts serve`."""
    if token is None:
        return note("token", "EDGETTS_TOKEN is not set", "only a daemon that other machines reach needs one")
    try:
        check_token(token, "EDGETTS_TOKEN")
    except UsageError as error:
        return broken("token", str(error).rstrip("."))
    return ok("token", "EDGETTS_TOKEN can be used")
