"""The Unix socket server for clients on this machine; it speaks `frames`. Only its user can connect
(mode 0600), or with a group its members (0660).

A client that closes its end stops its stream within one decoding step.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import socket
import stat
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetts.errors import Cancelled, EdgeTTSError, UsageError
from edgetts.pack.plain_json import shown
from edgetts.request import SpeechRequest
from edgetts.server import frames, tasks
from edgetts.server.body import json_object
from edgetts.server.faults import Fault, Stalled, fault_of
from edgetts.server.loudspeaker import play
from edgetts.server.request_queue import Busy, Closed
from edgetts.server.service import ClientGone, Service
from edgetts.server.within import within
from edgetts.speech import Speech
from edgetts.voices.names import looks_like_path

logger = logging.getLogger(__name__)

_PLAYED_S = 120.0  # longer than a client's buffer
_PIECES = 64  # queued pieces of text; backpressure beyond


def listen(path: Path) -> socket.socket:
    """A listening socket at `path`. Raises UsageError for another file there, or a running daemon."""
    try:
        if stat.S_ISSOCK(path.lstat().st_mode):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other, contextlib.suppress(OSError):
                other.settimeout(1)
                other.connect(str(path))
                raise UsageError(f"A daemon listens at {path} already: stop it, or set another socket=.")
            path.unlink()
    except FileNotFoundError:
        pass
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        sock.bind(str(path))
        sock.listen(64)
    except OSError as error:
        sock.close()
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"Cannot listen on {path} ({reason}): set another socket=.") from None
    finally:
        os.umask(before)
    return sock


@dataclass(frozen=True)
class Playing:
    """The frame OPTIONS. Raises UsageError."""

    plays: str | None = None
    device: str | None = None
    interrupts: bool = False

    @classmethod
    def from_json(cls, table: dict[str, Any]) -> Playing:
        kinds = {"plays": ("client", "server", None), "interrupts": (True, False)}
        is_known = table.keys() <= {"plays", "device", "interrupts"}
        if not is_known or any(table.get(name, allowed[-1]) not in allowed for name, allowed in kinds.items()):
            raise UsageError(f"The options {shown(table)} are not known; the client is of another version.")
        if not isinstance(table.get("device"), (str, type(None))):
            raise UsageError("device must be a part of a loudspeaker's name.")
        return cls(**table)


class LocalServer:
    """Serves the socket until `close`."""

    def __init__(self, service: Service, sock: socket.socket) -> None:
        self._service = service
        self._socket = sock
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: set[_Connection] = set()
        self._turn = asyncio.Lock()  # of speech that is played: one after the other

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, sock=self._socket)

    async def close(self) -> None:
        """Stop listening and end all connections."""
        await tasks.close([] if self._server is None else [self._server], self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._tasks) >= self._service.limits.connections:
            writer.close()
            return
        self._tasks.add(task)
        connection = _Connection(self._service, reader, writer, self._turn, self._interrupt)
        self._connections.add(connection)
        try:
            await connection.run()
        except (ClientGone, asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self._connections.discard(connection)
            self._tasks.discard(task)
            writer.close()

    def _interrupt(self, by: _Connection) -> None:
        """End all other speech that is played or waits for that."""
        for connection in self._connections - {by}:
            connection.interrupt()


class _Connection:
    """One connection. turn: held while its speech is played. interrupt_others: see `LocalServer._interrupt`."""

    def __init__(
        self,
        service: Service,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        turn: asyncio.Lock,
        interrupt_others: Callable[[_Connection], None],
    ) -> None:
        self._turn = turn
        self._interrupt_others = interrupt_others
        self._playing = Playing()
        self._speaking: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._is_interrupted = False
        self._service = service
        self._reader = reader
        self._writer = writer
        self._pieces: asyncio.Queue[str | None] = asyncio.Queue(_PIECES)

    async def run(self) -> None:
        try:
            await self._put(frames.pack_table(frames.HELLO, await self._hello()))
            try:
                request = await within(self._asked(), self._service.limits.text_s)
            except asyncio.TimeoutError:
                raise UsageError("No request arrived in time.") from None
            if self._playing.interrupts:
                self._interrupt_others(self)
            speaking = self._speaking = asyncio.create_task(self._speak_in_turn(request))
            reading = self._reading = asyncio.create_task(self._read(has_text=request.text is not None))
            try:
                await asyncio.wait({speaking, reading}, return_when=asyncio.FIRST_COMPLETED)
                if self._is_interrupted:
                    raise Cancelled("Another call with interrupt= is spoken instead.")
                if not speaking.done():
                    raise ClientGone
                await speaking
            finally:
                await tasks.cancel(speaking, reading)
        except (EdgeTTSError, Fault, Busy, Closed, Stalled, MemoryError) as error:
            if self._is_interrupted and self._writer.transport.get_write_buffer_size():
                self._writer.transport.abort()  # a client that plays does not read what was sent ahead
                return
            await self._put(frames.pack_table(frames.ERROR, _error_table(error)))

    async def _asked(self) -> SpeechRequest:
        """The request, after options of playback if there are some."""
        kind, data = await self._frame()
        if kind == frames.OPTIONS:
            self._playing = Playing.from_json(json_object(data, frames.MAX_FRAME_BYTES))
            kind, data = await self._frame()
        if kind != frames.REQUEST:
            raise UsageError("The first frame of a client must be REQUEST.")
        return _request(data)

    def interrupt(self) -> None:
        """End this speech if it is played."""
        if self._playing.plays is not None and self._speaking is not None:
            self._is_interrupted = True
            self._speaking.cancel()

    async def _hello(self) -> dict[str, Any]:
        tts = await self._service.host.tts()
        return {
            "protocol": frames.PROTOCOL,
            "pack": str(tts.pack.path.resolve()),
            "device": str(tts.device),
            "compute": tts.compute,
            "kernel": tts.kernel,
            "voices": str(tts.store.voices_dir.absolute()),
            "budget": None if tts.budget is None else tts.budget.n_bytes,
            "sample_rate": tts.sample_rate,
        }

    async def _frame(self) -> tuple[bytes, bytes]:
        kind, length = frames.head_of(await self._reader.readexactly(frames.HEAD.size))
        return kind, await self._reader.readexactly(length)

    async def _read(self, *, has_text: bool) -> None:
        """Queue text until the client disconnects."""
        is_over = has_text
        while True:
            try:
                kind, data = await self._frame()
            except (asyncio.IncompleteReadError, OSError):
                return
            if is_over or kind not in (frames.TEXT, frames.END):
                return
            is_over = kind == frames.END
            await self._pieces.put(None if is_over else data.decode("utf-8", "replace"))

    async def _texts(self) -> AsyncIterator[str]:
        while (piece := await self._pieces.get()) is not None:
            yield piece

    async def _speak_in_turn(self, request: SpeechRequest) -> None:
        if self._playing.plays is None:
            await self._speak(request)
            return
        async with self._turn:
            await self._speak(request)
            if self._playing.plays == "client" and self._reading is not None:
                await asyncio.wait({self._reading}, timeout=_PLAYED_S)  # until it has played what was sent ahead

    async def _speak(self, request: SpeechRequest) -> None:
        pieces = self._texts() if request.text is None else None
        arrived_at = time.perf_counter()
        async with self._service.speak(
            request, "local", pieces=pieces, arrived_at=arrived_at, is_bounded=False
        ) as live:
            await live.begin()
            started = {"id": live.id, "speed_notice": live.stream.speed_notice}
            await self._put(frames.pack_table(frames.STARTED, started))
            if self._playing.plays == "server":
                stats = await play(live, self._playing.device)
                played = {**dataclasses.asdict(stats), "state": stats.state.value}
                await self._put(frames.pack_table(frames.PLAYED, played))
            async for chunk in live:
                table = {
                    field.name: getattr(chunk, field.name)
                    for field in dataclasses.fields(chunk)
                    if field.name not in ("samples", "sample_rate")
                }
                table["prebuffer_s"] = live.stream.prebuffer_s
                await self._put(frames.pack_sound(table, chunk.samples.astype("<f4").tobytes()))
            speech = Speech.of(live.stream, live.n_samples)
        await self._put(frames.pack_table(frames.REPORT, dataclasses.asdict(speech)))

    async def _put(self, frame: bytes) -> None:
        """Send with backpressure: a client may read slowly while it plays."""
        self._writer.write(frame)
        await self._writer.drain()


def _request(data: bytes) -> SpeechRequest:
    """Parse a request. Raises UsageError, and Fault for invalid JSON. Voices must be names, not files."""
    request = SpeechRequest.from_json(json_object(data, frames.MAX_FRAME_BYTES))
    recording = None if request.emotion is None else request.emotion.recording
    for voice in (request.voice, recording):
        if voice is not None and looks_like_path(str(voice)):
            raise UsageError(
                "The daemon accepts voice names, not files: enroll the voice, or synthesize without the daemon."
            )
    if request.dtype != "float32":
        raise UsageError(f"dtype is {request.dtype}; the daemon sends float32 only.")
    return request


def _error_table(error: BaseException) -> dict[str, str]:
    if isinstance(error, EdgeTTSError):
        return {"kind": type(error).__name__, "message": str(error)}
    fault = fault_of(error)
    kind = "UsageError" if fault.status in (400, 413) else "GenerationError"
    hint = ", or synthesize without the daemon." if fault.status in (429, 503) else ""
    return {"kind": kind, "message": fault.message.rstrip(".") + hint if hint else fault.message}
