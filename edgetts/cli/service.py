"""`edgetts service`: the daemon as a service of systemd, for one user or for the machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import edgetts
from edgetts.cli.common import (
    JsonOption,
    compute_name,
    environment,
    importing,
    memory_bytes,
    print_json,
    print_line,
    print_notice,
)
from edgetts.cli.environment import Environment
from edgetts.cli.serve import serve
from edgetts.errors import UsageError
from edgetts.server.settings import Limits, check_address, is_loopback, read_token
from edgetts.server.systemd import (
    Scope,
    device_nodes,
    existing_groups,
    journal_command,
    lingers,
    scopes,
    systemd_version,
)
from edgetts.server.units import CREDENTIAL, STOP_S, Installation, units

app = typer.Typer(help="Let systemd start the daemon, watch it and keep its log.", no_args_is_help=True)

EXIT_NOT_RUNNING = 3  # as `systemctl status`
SYSTEM_HOME = Path("/var/lib/edgetts")
HIDDEN = tuple(map(Path, ("/home", "/root", "/run/user")))  # from a unit with ProtectHome=yes
_PATHS = ("--pack", "-p", "--token-file", "--socket")

UserFlag = Annotated[bool, typer.Option("--user", help="Of this user: runs while the user is logged in, or lingers.")]
SystemFlag = Annotated[
    bool, typer.Option("--system", help="Of the machine: starts with it, as a user of its own. [where root asks]")
]


@app.command("install")
def install(
    context: typer.Context,
    options: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- OPTIONS]", help="Options of `edgetts serve`, after two hyphens."),
    ] = None,
    user: UserFlag = False,
    system: SystemFlag = False,
    group: Annotated[
        str | None,
        typer.Option("--group", metavar="GROUP", help="Let this group use the Unix socket of the machine's daemon."),
    ] = None,
    only_print: Annotated[bool, typer.Option("--print", help="Show the units, and change nothing.")] = False,
    no_start: Annotated[bool, typer.Option("--no-start", help="From the next boot or login on, not now.")] = False,
) -> None:
    """Write the systemd units of the daemon, and start it now and at every boot or login.

    Examples:

        edgetts service install

        edgetts service install --print -- --keep-alive 600

        sudo edgetts service install --system -- --pack /opt/indextts2.pack --wyoming tcp://127.0.0.1:10200
    """
    known = environment(context)
    scope = _scope(known, user=user, system=system)
    if group is not None and not scope.is_system:
        raise UsageError("--group is for the machine's daemon: add --system, or leave it out.")
    written = units(_installation(scope, known, list(options or ()), group))
    problem = _unreachable(_program_paths()) if scope.is_system else None
    if only_print:
        for name, text in written.items():
            print(f"# {scope.path(name)}\n{text}")
        if problem is not None:
            print_notice(problem)
        return
    if problem is not None:
        raise UsageError(problem)
    scope.install(written, starts=not no_start)
    print_line(f"Installed in {scope.folder}, {'to be started later' if no_start else 'started'}.")
    for line in _advice(scope):
        print_line(line)


@app.command("uninstall")
def uninstall(context: typer.Context, user: UserFlag = False, system: SystemFlag = False) -> None:
    """Stop the daemon and remove its units; packs and voices stay."""
    scope = _scope(environment(context), user=user, system=system)
    scope.uninstall()
    print_line(f"Stopped, and removed from {scope.folder}. Packs and voices are still there.")


@app.command("status")
def status(
    context: typer.Context, user: UserFlag = False, system: SystemFlag = False, as_json: JsonOption = False
) -> None:
    """Show the daemon's state in systemd; exit code 3 if it is not running."""
    scope = _scope(environment(context), user=user, system=system)
    about = {"scope": scope.flag[2:], "installed": scope.is_installed, **scope.status()}
    if as_json:
        print_json(about)
    else:
        for name, value in about.items():
            print_line(f"{name:<12}{_shown(name, value)}")
    if about.get("state") != "active":
        raise typer.Exit(EXIT_NOT_RUNNING)


@app.command("logs")
def logs(
    context: typer.Context,
    user: UserFlag = False,
    system: SystemFlag = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last lines.")] = 50,
) -> None:
    """Show the daemon's log."""
    scope = _scope(environment(context), user=user, system=system)
    try:
        done = subprocess.run(journal_command(scope, n_lines=lines, follows=follow), check=False)
    except FileNotFoundError:
        raise UsageError("There is no journalctl here, so no log of a service.") from None
    raise typer.Exit(done.returncode)


def _scope(known: Environment, *, user: bool, system: bool) -> Scope:
    """What was asked for; else where it is installed; else the system's for root, the user's for others."""
    if user and system:
        raise UsageError("--user and --system contradict each other: drop one of them.")
    of_user, of_system = scopes(known.config_home)
    if user or system:
        return of_system if system else of_user
    installed = [scope for scope in (of_user, of_system) if scope.is_installed]
    if len(installed) == 1:
        return installed[0]
    return of_system if known.is_root else of_user


def _installation(scope: Scope, known: Environment, options: list[str], group: str | None) -> Installation:
    """Raises UsageError for options that the daemon would refuse."""
    asked = _parsed(options)
    token = None if asked["token_file"] is None else read_token(asked["token_file"])
    check_address(asked["host"], token)
    options = _absolute(options)
    variables: dict[str, str] = {}
    if scope.is_system:
        options = _with_credential(options)
    else:
        named = ("EDGETTS_HOME", known.home), ("EDGETTS_PACK", known.pack), ("EDGETTS_VOICE", known.voice)
        more = ("EDGETTS_DEVICE", known.device), ("EDGETTS_KERNEL", known.kernel)
        variables = {name: _as_path(str(value)) for name, value in (*named, *more) if value is not None}
    stop = [] if "--stop-seconds" in options else ["--stop-seconds", str(STOP_S)]
    given, token_file = asked["socket"], asked["token_file"]
    socket = "%t/edgetts.sock" if given is None else str(given.expanduser().absolute()).replace("%", "%%")
    return Installation(
        is_system=scope.is_system,
        command=(*_program(), "serve", *stop, *options),
        variables=variables,
        host="127.0.0.1" if asked["host"] == "localhost" else asked["host"],
        port=asked["port"],
        socket=None if asked["no_socket"] else socket,
        token_file=token_file.expanduser().absolute() if scope.is_system and token_file is not None else None,
        group=group,
        groups=existing_groups(),
        device_nodes=device_nodes() if scope.is_system else (),
        memory_bytes=_memory(scope, known, asked),
        is_local=is_loopback(asked["host"]) and not asked["wyoming_public"],
        systemd=systemd_version(),
    )


def _parsed(options: list[str]) -> dict[str, Any]:
    """What `edgetts serve` makes of them. Raises what it raises."""
    parser = typer.Typer()
    parser.command("serve")(serve)
    parsed: dict[str, Any] = typer.main.get_command(parser).make_context("edgetts serve", list(options)).params
    return parsed


def _absolute(options: list[str]) -> list[str]:
    """The options with paths that do not depend on the current folder."""
    found: list[str] = []
    for word in options:
        name, is_joined, value = word.partition("=")
        if is_joined and name in _PATHS:
            found.append(f"{name}={_as_path(value)}")
        elif found and found[-1] in _PATHS:
            found.append(_as_path(word))
        else:
            found.append(word)
    return found


def _as_path(value: str) -> str:
    """A path to something that exists, absolute; a name as it is."""
    path = Path(value).expanduser()
    return str(path.absolute()) if path.exists() else value


def _with_credential(options: list[str]) -> list[str]:
    """The options with the token file in the place where systemd puts it for the service."""
    found: list[str] = []
    for word in options:
        is_value = bool(found) and found[-1] == "--token-file"
        found.append(f"%d/{CREDENTIAL}" if is_value else word)
        if word.startswith("--token-file="):
            found[-1:] = ["--token-file", f"%d/{CREDENTIAL}"]
    return found


def _memory(scope: Scope, known: Environment, asked: dict[str, Any]) -> int:
    """MemoryMax of the unit. Raises PackError, and UsageError for a pack that the service could not reach."""
    from edgetts.pack.locate import locate_pack

    home = SYSTEM_HOME if scope.is_system else known.home
    located = locate_pack(asked["pack"] or (None if scope.is_system else known.pack), home)
    problem = _unreachable([located.path]) if scope.is_system and not located.is_builtin else None
    if problem is not None:
        raise UsageError(problem)
    with importing():
        from edgetts.pack.load import open_pack
        from edgetts.server.memory_limit import memory_limit

    budget = memory_bytes(asked["memory_budget"])
    streams = asked["streams"] or (1 if budget is not None else Limits().streams)
    compute = compute_name(asked["compute"]) or "exact"
    return memory_limit(open_pack(located.path, home=known.home), compute, streams=streams, budget=budget)


def _program() -> tuple[str, ...]:
    script = Path(sys.executable).with_name("edgetts")
    return (str(script),) if script.is_file() else (sys.executable, "-m", "edgetts")


def _program_paths() -> list[Path]:
    return [Path(sys.executable), Path(sys.executable).resolve(), Path(edgetts.__file__).resolve()]


def _unreachable(paths: list[Path]) -> str | None:
    """Why a unit of the system could not read these, if it could not."""
    for path in paths:
        for folder in HIDDEN:
            if path.absolute().is_relative_to(folder):
                return (
                    f"The machine's daemon sees nothing below {folder}, and {path} is there: put it elsewhere, such as "
                    "/opt, or use --user."
                )
    return None


def _advice(scope: Scope) -> list[str]:
    """What to know about this kind of service."""
    if scope.is_system:
        return [
            f"It keeps packs in {SYSTEM_HOME}/packs; voices come by `POST /v1/voices`.",
            "It cannot reach a user's sound server (PipeWire, PulseAudio) and plays through ALSA alone; for such a "
            "server, install with --user.",
        ]
    lines = ["It reaches this user's sound server, and takes this user's packs and voices."]
    if not lingers():
        lines.append(
            "It ends at logout and starts at login: `loginctl enable-linger` lets it run, sound server included, from "
            "boot on."
        )
    return lines


def _shown(name: str, value: Any) -> str:
    if name == "memory" and str(value).isdecimal():
        return f"{int(value) / 2**20:.0f} MiB"
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
