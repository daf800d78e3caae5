"""`edgetts serve`: starts the daemon with settings from flags. The rest is in `edgetts.server`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgetts.cli.common import (
    ComputeOption,
    DeviceOption,
    MemoryBudgetOption,
    PackOption,
    compute_name,
    environment,
    importing,
    memory_bytes,
)
from edgetts.cli.environment import Environment
from edgetts.cli.logs import show_logs
from edgetts.distribution import install
from edgetts.errors import UsageError
from edgetts.server.settings import (
    DEFAULT_HOST,
    DEFAULT_PORT,
    Limits,
    Settings,
    check_token,
    read_token,
    wyoming_address,
)

if TYPE_CHECKING:
    from edgetts.api import TTS

_NEEDED = ("starlette", "uvicorn", "websockets", "multipart", "prometheus_client")  # of the extra `serve`
_DEFAULTS = Limits()
LISTEN, LOAD = "Network", "Limits"


def _option(*names: str, panel: str, help: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, help=help, metavar=metavar, rich_help_panel=panel, show_default=False)


def serve(
    context: typer.Context,
    host: Annotated[
        str, _option("--host", panel=LISTEN, help=f"Address to listen on. [{DEFAULT_HOST}: this machine only]")
    ] = DEFAULT_HOST,
    port: Annotated[
        int, _option("--port", panel=LISTEN, help=f"Port to listen on; 0: any free one. [{DEFAULT_PORT}]")
    ] = DEFAULT_PORT,
    socket: Annotated[
        Path | None,
        _option(
            "--socket",
            panel=LISTEN,
            metavar="FILE",
            help="Unix socket for `edgetts say`. [$EDGETTS_SOCKET, or edgetts.sock in $XDG_RUNTIME_DIR]",
        ),
    ] = None,
    no_socket: Annotated[bool, typer.Option("--no-socket", help="Serve HTTP only.", rich_help_panel=LISTEN)] = False,
    token_file: Annotated[
        Path | None,
        _option(
            "--token-file",
            panel=LISTEN,
            metavar="FILE",
            help="Require the token in this file from clients; needed if other machines can reach the address. "
            "[$EDGETTS_TOKEN]",
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        _option(
            "--allow-origin",
            panel=LISTEN,
            metavar="ORIGIN",
            help="Allow requests from web pages of this origin, such as http://localhost:3000; may be repeated.",
        ),
    ] = None,
    wyoming: Annotated[
        str | None,
        _option(
            "--wyoming",
            panel=LISTEN,
            metavar="tcp://HOST:PORT",
            help="Also speak Wyoming, for Home Assistant; such as tcp://127.0.0.1:10200.",
        ),
    ] = None,
    wyoming_public: Annotated[
        bool,
        typer.Option(
            "--wyoming-public",
            help="Let other machines reach the address of --wyoming, which has no token.",
            rich_help_panel=LISTEN,
        ),
    ] = False,
    wyoming_name: Annotated[
        str | None,
        _option(
            "--wyoming-name",
            panel=LISTEN,
            metavar="NAME",
            help="Announce it in the local network under this name (zeroconf). [not announced]",
        ),
    ] = None,
    keep_alive: Annotated[
        float | None,
        _option(
            "--keep-alive",
            panel=LOAD,
            metavar="SECONDS",
            help="Unload the model after this time without requests; the next request loads it. [never]",
        ),
    ] = None,
    streams: Annotated[
        int | None,
        _option("--streams", panel=LOAD, help=f"Concurrent requests. [{_DEFAULTS.streams}; with --memory-budget 1]"),
    ] = None,
    queue: Annotated[
        int,
        _option("--queue", panel=LOAD, help=f"Queued requests; more get status 429. [{_DEFAULTS.waiting}]"),
    ] = _DEFAULTS.waiting,
    max_characters: Annotated[
        int,
        _option("--max-characters", panel=LOAD, help=f"Longest text of a request. [{_DEFAULTS.text_characters}]"),
    ] = _DEFAULTS.text_characters,
    stop_seconds: Annotated[
        float,
        _option("--stop-seconds", panel=LOAD, help="Time for running requests to end after SIGTERM. [10]"),
    ] = 10.0,
    log_text: Annotated[
        bool, typer.Option("--log-text", help="Log the texts of requests, too.", rich_help_panel=LOAD)
    ] = False,
    pack: PackOption = None,
    device: DeviceOption = None,
    compute: ComputeOption = None,
    memory_budget: MemoryBudgetOption = None,
) -> None:
    """Keep a model loaded and speak for other programs, over an HTTP API compatible with OpenAI's.

    Examples:

        edgetts serve

        curl http://127.0.0.1:8880/v1/audio/speech -H 'Content-Type: application/json' -d '{"input": "Hello."}' -o a.mp3
    """
    if no_socket and socket is not None:
        raise UsageError("--socket and --no-socket contradict each other: drop one of them.")
    import importlib.util

    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"`edgetts serve` needs {', '.join(missing)}: install them with `{install('serve')}`.")
    needed = (("wyoming", wyoming), ("zeroconf", wyoming_name))
    missing = [name for name, wanted in needed if wanted is not None and importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"Wyoming needs {', '.join(missing)}: install them with `{install('wyoming')}`.")
    known = environment(context)
    budget = memory_bytes(memory_budget)
    if budget is not None and (streams or 1) > 1:
        raise UsageError("--memory-budget allows one request at a time: leave out --streams or --memory-budget.")
    if budget is not None:
        streams = 1
    settings = Settings(
        host=host,
        port=port,
        token=read_token(token_file) if token_file is not None else _token(known),
        socket=None if no_socket else socket or known.daemon_socket,
        keep_alive_s=keep_alive,
        stop_s=stop_seconds,
        tells_text=log_text,
        origins=tuple(allow_origin or ()),
        wyoming=None if wyoming is None else wyoming_address(wyoming),
        wyoming_public=wyoming_public,
        wyoming_name=wyoming_name,
        limits=Limits(
            streams=_DEFAULTS.streams if streams is None else streams, waiting=queue, text_characters=max_characters
        ),
    )
    open_pack, locate = _opener(known, pack, device=device, compute=compute, budget=budget)
    verbosity = context.parent.params.get("verbose", 0) if context.parent is not None else 0
    show_logs(max(1, verbosity), with_date=True)

    with importing():
        import asyncio

        from edgetts.server.host import Host
        from edgetts.server.notify import passed_sockets
        from edgetts.server.run import Daemon
        from edgetts.server.service import Service

    async def run() -> None:
        service = Service(Host(open_pack, settings.keep_alive_s, locate), settings)
        sockets = passed_sockets(known.n_passed_sockets)
        daemon = Daemon(service, supervisor=known.notify_socket, watchdog_s=known.watchdog_s, sockets=sockets)
        await daemon.run()

    asyncio.run(run())


def _token(known: Environment) -> str | None:
    return None if known.token is None else check_token(known.token, "$EDGETTS_TOKEN")


def _opener(
    known: Environment, pack: str | None, *, device: str | None, compute: str | None, budget: int | None
) -> tuple[Callable[[], TTS], Callable[[], Path]]:
    """Functions that open the pack of the flags, or else the default of that moment, and that find its folder."""
    from edgetts.pack.locate import LocatedPack, locate_pack

    compute_mode = compute_name(compute)

    def locate() -> LocatedPack:
        return locate_pack(pack or known.pack, known.home)

    locate()  # misuse is reported before torch is imported

    def load() -> TTS:
        from edgetts.api import TTS

        return TTS.load(
            locate(),
            device=device or known.device or "auto",
            home=known.home,
            kernel=known.kernel or "auto",
            compute=compute_mode,
            memory_budget=budget,
        )

    return load, lambda: locate().path
