"""The Unix socket server for clients on this machine; it speaks `frames`. Only its user can connect (mode 0600).

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
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from edgetts.errors import EdgeTTSError, UsageError
from edgetts.request import SpeechRequest
from edgetts.server import frames
from edgetts.server.body import json_object
from edgetts.server.faults import Fault, fault_of
from edgetts.server.request_queue import Busy, Closed
from edgetts.server.service import ClientGone, Service
from edgetts.speech import Speech
from edgetts.voices.store import looks_like_path

logger = logging.getLogger(__name__)

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


class LocalServer:
    """Serves the socket until `close`."""

    def __init__(self, service: Service, sock: socket.socket) -> None:
        self._service = service
        self._socket = sock
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, sock=self._socket)

    async def close(self) -> None:
        """Stop listening and end all connections."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await _Connection(self._service, reader, writer).run()
        except (ClientGone, asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()


class _Connection:
    """One connection."""

    def __init__(self, service: Service, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._service = service
        self._reader = reader
        self._writer = writer
        self._pieces: asyncio.Queue[str | None] = asyncio.Queue(_PIECES)

    async def run(self) -> None:
        try:
            await self._put(frames.pack_table(frames.HELLO, await self._hello()))
            kind, data = await self._frame()
            if kind != frames.REQUEST:
                raise UsageError("The first frame of a client must be REQUEST.")
            request = _request(data)
            speaking = asyncio.create_task(self._speak(request))
            reading = asyncio.create_task(self._read(has_text=request.text is not None))
            try:
                await asyncio.wait({speaking, reading}, return_when=asyncio.FIRST_COMPLETED)
                if not speaking.done():
                    raise ClientGone
                await speaking
            finally:
                for task in (speaking, reading):
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError, Exception):
                        await task
        except (EdgeTTSError, Fault, Busy, Closed, MemoryError) as error:
            await self._put(frames.pack_table(frames.ERROR, _error_table(error)))

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

    async def _speak(self, request: SpeechRequest) -> None:
        pieces = self._texts() if request.text is None else None
        arrived_at = time.perf_counter()
        async with self._service.speak(
            request, "local", pieces=pieces, arrived_at=arrived_at, is_bounded=False
        ) as live:
            await live.begin()
            await self._put(frames.pack_table(frames.STARTED, {"id": live.id}))
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
