"""The life cycle of a daemon: listen, notify the supervisor, serve, stop gracefully.

In: a `Service` and its settings. Out: `run` returns after SIGTERM or SIGINT, when all streams have ended or were
stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from edgetts.backends.process import bound_heaps
from edgetts.errors import UsageError
from edgetts.server import tasks
from edgetts.server.app import application
from edgetts.server.faults import CutShort
from edgetts.server.local import LocalServer, listen
from edgetts.server.notify import READY, STOPPING, notify
from edgetts.server.service import Service
from edgetts.server.settings import Settings, check_address
from edgetts.server.watchdog import Watchdog

if TYPE_CHECKING:
    from edgetts.server.wyoming import WyomingServer

logger = logging.getLogger(__name__)

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_AFTER_STREAMS_S = 2  # to close connections after their streams have ended


class _PatientProtocol(H11Protocol):
    """Closes connections whose next request does not arrive in time, from the connection or its first byte on. Between
    two requests uvicorn's own, shorter time counts."""

    header_s = 20.0
    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE and (self.cycle is None or self.cycle.response_complete):
            self._wait()
        else:
            self._wait_no_more()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_more()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._patience is None:
            self._patience = asyncio.get_running_loop().call_later(self.header_s, self._close)

    def _wait_no_more(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _close(self) -> None:
        if not self.transport.is_closing() and self.transport.get_protocol() is self:
            self.transport.close()


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: `Daemon` has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def _is_unexpected(record: logging.LogRecord) -> bool:
    """Log filter: drops the traceback of a deliberate `CutShort`."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, CutShort)


class Daemon:
    """`asyncio.run(daemon.run())`; `stop` may be called from any thread."""

    def __init__(
        self,
        service: Service,
        *,
        supervisor: str | None = None,
        watchdog_s: float | None = None,
        sockets: Sequence[socket.socket] = (),
        on_ready: Callable[[Daemon], None] | None = None,
    ) -> None:
        """supervisor: NOTIFY_SOCKET. watchdog_s: how often it expects a sign of life. sockets: already listening;
        without them, it listens on the addresses of the settings. on_ready: called when the networks are loaded and
        requests are served."""
        self.service = service
        self.settings: Settings = service.settings
        self.urls: list[str] = []
        self.local: LocalServer | None = None
        self.wyoming_port = 0  # while it is served
        self._supervisor = supervisor
        self._watchdog = None if watchdog_s is None else Watchdog(service, supervisor, watchdog_s)
        self._passed = list(sockets)
        self._on_ready = on_ready
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._made: Path | None = None  # the socket file that this daemon created and removes

    async def run(self) -> None:
        """Serve until stopped. Raises UsageError if it cannot listen, and PackError."""
        bound_heaps(keeps_freed=False)  # before the first thread, which loads the networks
        self._loop = asyncio.get_running_loop()
        listening = self._sockets()
        self.local = local = self._local()
        wyoming = self._wyoming()
        server = self._server()
        serving = asyncio.create_task(server.serve(listening))
        more = contextlib.AsyncExitStack()
        try:
            with self._signals():
                await self._first(serving, self.service.host.load())
                if local is not None:
                    await local.start()
                if wyoming is not None:
                    await wyoming.start()
                    await more.enter_async_context(self._announcement())
                notify(self._supervisor, READY, f"STATUS=Listening on {', '.join(self.urls)}")
                logger.info("listening on %s", ", ".join(self.urls))
                if self._watchdog is not None:
                    self._watchdog.start()
                following = self._loop.create_task(self.service.host.keep_following())
                more.push_async_callback(tasks.cancel, following)
                if self._on_ready is not None:
                    self._on_ready(self)
                await self._first(serving, self._stopping.wait())
                notify(self._supervisor, STOPPING)
                logger.info("stopping: streams have %g s to end", self.settings.stop_s)
                await self.service.stop(self.settings.stop_s)
        finally:
            if self._watchdog is not None:
                self._watchdog.stop()
            await more.aclose()
            if wyoming is not None:
                await wyoming.close()
            if local is not None:
                await local.close()
                if self._made is not None:
                    self._made.unlink(missing_ok=True)
            server.should_exit = True
            with contextlib.suppress(asyncio.CancelledError):
                await serving
            await self.service.host.unload()
        logger.info("stopped")

    def stop(self) -> None:
        """Stop gracefully. Callable from any thread."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._stopping.set)

    async def _first(self, serving: asyncio.Task[None], work: Any) -> None:
        """Wait for `work` or for a stop. Raises the server's error if it ended."""
        doing, told = asyncio.ensure_future(work), asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait({doing, told, serving}, return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if serving.done():
            doing.cancel()
            await serving
            raise RuntimeError("the HTTP server ended by itself")
        if doing.done():
            await doing

    def _server(self) -> _Server:
        limits = self.settings.limits
        protocol = type("Protocol", (_PatientProtocol,), {"header_s": limits.header_s})
        config = uvicorn.Config(
            application(self.service),
            http=protocol,
            ws="websockets-sansio",
            ws_max_size=limits.body_bytes,
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=limits.connections,
            timeout_graceful_shutdown=_AFTER_STREAMS_S,
            lifespan="off",
            proxy_headers=False,
        )
        told = logging.getLogger("uvicorn.error")
        if _is_unexpected not in told.filters:
            told.addFilter(_is_unexpected)
        return _Server(config)

    def _sockets(self) -> list[socket.socket]:
        """The HTTP sockets. Raises UsageError."""
        listening = [s for s in self._passed if s.family != socket.AF_UNIX]
        for sock in listening:
            check_address(sock.getsockname()[0], self.settings.token)
        if not listening:
            listening = _listen(self.settings.host, self.settings.port)
        self.urls = [_url(sock) for sock in listening]
        return listening

    def _local(self) -> LocalServer | None:
        """The server of the Unix socket, or None. Raises UsageError."""
        passed = [s for s in self._passed if s.family == socket.AF_UNIX]
        if not passed and self.settings.socket is not None:
            passed = [listen(self.settings.socket)]
            self._made = self.settings.socket
        return LocalServer(self.service, passed[0]) if passed else None

    def _wyoming(self) -> WyomingServer | None:
        """The server for Home Assistant. Raises UsageError."""
        if self.settings.wyoming is None:
            return None
        from edgetts.server.wyoming import WyomingServer

        sockets = _listen(*self.settings.wyoming)
        self.wyoming_port = sockets[0].getsockname()[1]
        if self.settings.wyoming_public:
            logger.warning("every machine that reaches port %d may speak: Wyoming has no token", self.wyoming_port)
        return WyomingServer(self.service, sockets)

    def _announcement(self) -> contextlib.AbstractAsyncContextManager[None]:
        name = self.settings.wyoming_name
        if name is None or self.settings.wyoming is None:
            return contextlib.nullcontext()
        from edgetts.server.announce import announced

        return announced(name, self.settings.wyoming[0], self.wyoming_port)

    @contextlib.contextmanager
    def _signals(self) -> Generator[None, None, None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        assert self._loop is not None
        before = {number: signal.getsignal(number) for number in _STOP_SIGNALS}
        for number in _STOP_SIGNALS:
            self._loop.add_signal_handler(number, self._stopping.set)
        try:
            yield
        finally:
            for number, handler in before.items():
                self._loop.remove_signal_handler(number)
                signal.signal(number, handler)


def _listen(host: str, port: int) -> list[socket.socket]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise UsageError(f"Unknown host {host} ({error.strerror or error}).") from None
    sockets: list[socket.socket] = []
    for family, address in dict.fromkeys((f, a) for f, _, _, _, a in found):
        try:
            sockets.append(socket.create_server(address[:2], family=family, backlog=128))
        except OSError as error:
            for sock in sockets:
                sock.close()
            reason = (error.strerror or str(error)).lower()
            raise UsageError(
                f"Cannot listen on {host}, port {port} ({reason}): stop the program that uses it, or set another port=."
            ) from None
        port = sockets[0].getsockname()[1]  # with port 0: the same port for all addresses
    return sockets


def _url(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
