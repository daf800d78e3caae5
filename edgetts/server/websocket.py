"""The WebSocket `/v1/audio/stream`: text in, also incrementally, audio out; several utterances in sequence.

The client sends JSON: `{"type": "speak", "id": "1", "input": "..."}` with the fields of `/v1/audio/speech`; without
`input` the text follows as `{"type": "text", "id": "1", "text": "..."}` and ends with `{"type": "end", "id": "1"}`.
`{"type": "cancel", "id": "1"}` stops one, without `id` all. The daemon sends `started`, binary messages with audio,
`segment` with its times, and `done`, `cancelled` or `error`. The default format is `pcm`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from edgetts.server.api_request import ApiRequest, parse_request
from edgetts.server.body import json_object
from edgetts.server.encoder import Encoder
from edgetts.server.faults import Fault, fault_of, refused
from edgetts.server.service import ClientGone, LiveSpeech, Service
from edgetts.server.status import model_names
from edgetts.server.within import within
from edgetts.streaming.chunk import AudioChunk

DEFAULT_FORMAT = "pcm"
MAX_ID_CHARACTERS = 64
MAX_PIECES = 256  # queued pieces of a text; backpressure beyond
_GOING_AWAY = 1001  # RFC 6455
_FIELDS = {"text": {"type", "id", "text"}, "end": {"type", "id"}, "cancel": {"type", "id"}}


def routes(service: Service) -> list[WebSocketRoute]:
    async def stream(socket: WebSocket) -> None:
        await socket.accept()
        await Conversation(service, socket).run()

    return [WebSocketRoute("/v1/audio/stream", stream)]


class Utterance:
    """One text to speak. pieces: queue of incremental text, ended by None."""

    def __init__(self, id: str, api_request: ApiRequest) -> None:
        self.id = id
        self.api_request = api_request
        self.arrived_at = time.perf_counter()
        self.pieces: asyncio.Queue[str | None] | None = None
        if api_request.request.text is None:
            self.pieces = asyncio.Queue(MAX_PIECES)
        self.is_text_over = self.pieces is None
        self.task: asyncio.Task[None] | None = None  # while it is synthesized
        self.is_cancelled = False

    async def texts(self) -> AsyncIterator[str]:
        assert self.pieces is not None
        while (piece := await self.pieces.get()) is not None:
            yield piece


class Conversation:
    """One connection."""

    def __init__(self, service: Service, socket: WebSocket) -> None:
        self._service = service
        self._socket = socket
        self._utterances: dict[str, Utterance] = {}  # in order; the first one is being synthesized
        self._changed = asyncio.Event()
        self._n_named = 0
        self._sending = asyncio.Lock()

    async def run(self) -> None:
        speaking = asyncio.create_task(self._speak_all())
        try:
            await self._receive_all()
        except (WebSocketDisconnect, ClientGone):
            pass
        finally:
            for task in (speaking, *(u.task for u in self._utterances.values())):
                if task is not None:
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError, Exception):
                        await task

    # --- messages from the client --------------------------------------------------------------------

    async def _receive_all(self) -> None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            try:
                await self._handle(message.get("text"))
            except Fault as fault:
                await self._send_json({"type": "error", **fault.table()})

    async def _handle(self, text: str | None) -> None:
        if text is None:
            raise refused("Client messages must be JSON text messages, not bytes.")
        table = json_object(text.encode("utf-8", "replace"), self._service.limits.body_bytes)
        kind = table.get("type")
        if kind == "speak":
            await self._add({name: value for name, value in table.items() if name != "type"})
            return
        if not isinstance(kind, str) or kind not in _FIELDS:
            raise refused(f"type must be speak, {', '.join(_FIELDS)}.", "type")
        unknown = sorted(table.keys() - _FIELDS[kind])
        if unknown:
            raise refused(f"Unknown field {unknown[0][:40]!r} in {kind}.", unknown[0][:40], "unknown_field")
        if kind == "cancel" and "id" not in table:
            for utterance in list(self._utterances.values()):
                self._cancel(utterance)
            return
        known = self._utterances.get(str(table.get("id")))
        if kind == "cancel":
            if known is not None:  # else it has already ended
                self._cancel(known)
            return
        if known is None or known.is_text_over or known.pieces is None:
            raise refused("No utterance with this id is waiting for text.", "id", "unknown_id")
        if kind == "end":
            known.is_text_over = True
            await known.pieces.put(None)
            return
        piece = table.get("text")
        if not isinstance(piece, str):
            raise refused("text must be a string.", "text")
        await known.pieces.put(piece)

    async def _add(self, fields: dict[str, Any]) -> None:
        self._n_named += 1
        id = fields.pop("id", str(self._n_named))
        if not isinstance(id, str) or not 0 < len(id) <= MAX_ID_CHARACTERS:
            raise refused(f"id must be a string of 1 to {MAX_ID_CHARACTERS} characters.", "id")
        if id in self._utterances:
            raise refused("An utterance with this id exists already.", "id", "id_in_use")
        if len(self._utterances) >= self._service.limits.utterances:
            raise Fault(
                *(429, f"{len(self._utterances)} utterances are queued already; wait until one has ended."),
                kind="rate_limit_error",
                code="queue_full",
                param="id",
            )
        models = await model_names(self._service)
        try:
            api_request = parse_request(fields, models, default_format=DEFAULT_FORMAT, needs_text=False)
        except Fault as fault:
            await self._send_json({"type": "error", "id": id, **fault.table()})
            return
        if api_request.is_sse:
            raise refused("stream_format is not supported on WebSockets: leave it out.", "stream_format")
        self._utterances[id] = Utterance(id, api_request)
        self._changed.set()

    def _cancel(self, utterance: Utterance) -> None:
        utterance.is_cancelled = True
        if utterance.task is not None:
            utterance.task.cancel()

    # --- messages to the client ----------------------------------------------------------------------

    async def _speak_all(self) -> None:
        while True:
            while not self._utterances:
                self._changed.clear()
                await self._changed.wait()
            utterance = next(iter(self._utterances.values()))
            try:
                ending = await self._ending(utterance)
            finally:
                self._utterances.pop(utterance.id, None)
                self._make_room(utterance)
            await self._send_json(ending)

    async def _ending(self, utterance: Utterance) -> dict[str, Any]:
        """Synthesize an utterance and return its final message."""
        ended: dict[str, Any] = {"type": "cancelled", "id": utterance.id}
        if utterance.is_cancelled:
            return ended
        utterance.task = asyncio.create_task(self._speak(utterance, ended))
        try:
            await utterance.task
        except asyncio.CancelledError:
            if not utterance.is_cancelled:  # the connection is ending
                raise
        except (ClientGone, WebSocketDisconnect):
            raise
        except Exception as error:
            ended = {"type": "error", "id": utterance.id, **fault_of(error).table()}
            if self._service.is_stopping:
                await self._send_json(ended)
                await self._socket.close(_GOING_AWAY, "the daemon is stopping")
                raise ClientGone from None
        return ended

    async def _speak(self, utterance: Utterance, ended: dict[str, Any]) -> None:
        api_request = utterance.api_request
        pieces = None if utterance.pieces is None else utterance.texts()
        speaking = self._service.speak(api_request.request, "websocket", pieces=pieces, arrived_at=utterance.arrived_at)
        async with speaking as live:
            encoder: Encoder | None = None
            async for chunk in live:
                if encoder is None:
                    encoder = Encoder(api_request.kind, chunk.sample_rate)
                    await self._send_json(_started(utterance, live, encoder))
                await self._send(encoder.feed(chunk.samples))  # type: ignore[arg-type]
                if chunk.ends_segment:
                    await self._send_json(_segment(utterance, live, chunk))
            if encoder is not None:
                await self._send(encoder.finish())
        ended |= {"type": "done", "seconds": round(live.seconds, 4), "characters": live.n_characters}

    def _make_room(self, utterance: Utterance) -> None:
        """Empty the queue of an ended utterance, which unblocks a pending put."""
        utterance.is_text_over = True
        while utterance.pieces is not None and not utterance.pieces.empty():
            utterance.pieces.get_nowait()

    async def _send(self, data: bytes) -> None:
        if data:
            await self._put(self._socket.send_bytes(data))

    async def _send_json(self, table: dict[str, Any]) -> None:
        await self._put(self._socket.send_text(json.dumps(table)))

    async def _put(self, sending: Any) -> None:
        """Raises ClientGone if the client reads too slowly or has disconnected."""
        try:
            async with self._sending:
                await within(sending, self._service.limits.send_s)
        except (asyncio.TimeoutError, OSError, RuntimeError, WebSocketDisconnect):
            raise ClientGone from None


def _started(utterance: Utterance, live: LiveSpeech, encoder: Encoder) -> dict[str, Any]:
    return {
        "type": "started",
        "id": utterance.id,
        "request_id": live.id,
        "format": utterance.api_request.kind.name,
        "sample_rate": encoder.sample_rate,
        "seed": live.stream.seed,
    }


def _segment(utterance: Utterance, live: LiveSpeech, chunk: AudioChunk) -> dict[str, Any]:
    """start, end: seconds from the start of the utterance. characters: range in the text that was sent."""
    state = live.stream.segments[chunk.segment]
    return {
        "type": "segment",
        "id": utterance.id,
        "index": chunk.segment,
        "text": state.queued.written or state.queued.text,
        "spoken": state.queued.text,
        "characters": [chunk.start, chunk.end],
        "start": round(state.start / chunk.sample_rate, 4),
        "end": round((chunk.offset + len(chunk.samples)) / chunk.sample_rate, 4),
    }
