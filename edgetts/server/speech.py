"""`POST /v1/audio/speech`: OpenAI's speech endpoint; the response is streamed during synthesis.

The response begins with the first audio, so earlier errors have their own status. A later error cuts the connection (or
is an error event with `stream_format` sse), so that no client takes it for complete. When a client disconnects, its
stream stops within one decoding step.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import Coroutine
from typing import Any

from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from edgetts.server.api_request import ApiRequest, parse_request
from edgetts.server.body import error_response, json_body
from edgetts.server.encoder import Encoder
from edgetts.server.faults import CutShort, fault_of
from edgetts.server.service import ClientGone, LiveSpeech, Service
from edgetts.server.status import model_names
from edgetts.server.within import within


def routes(service: Service) -> list[Route]:
    async def speech(request: Request) -> SpeechResponse:
        arrived_at = time.perf_counter()
        table = await json_body(request, service.limits.body_bytes)
        return SpeechResponse(service, parse_request(table, await model_names(service)), arrived_at)

    return [Route("/v1/audio/speech", speech, methods=["POST"])]


class SpeechResponse:
    """An ASGI response that synthesizes while it is sent."""

    def __init__(self, service: Service, api_request: ApiRequest, arrived_at: float) -> None:
        self._service = service
        self._api_request = api_request
        self._arrived_at = arrived_at
        self._has_begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await unless_gone(self._speak(send), receive)
        except ClientGone:
            return
        except Exception as error:
            if self._has_begun:
                raise CutShort from error
            await error_response(error)(scope, receive, send)

    async def _speak(self, send: Send) -> None:
        try:
            await self._speak_all(send)
        except ClientGone:
            raise
        except Exception as error:
            if not (self._has_begun and self._api_request.is_sse):
                raise
            await self._send_event(send, {"type": "error", **fault_of(error).table()})
        # Last, because the server reports a disconnect once the response has ended.
        await self._put(send, b"", more=False)

    async def _speak_all(self, send: Send) -> None:
        api_request = self._api_request
        async with self._service.speak(api_request.request, "http", arrived_at=self._arrived_at) as live:
            encoder: Encoder | None = None
            async for chunk in live:
                if encoder is None:
                    encoder = Encoder(api_request.kind, chunk.sample_rate)
                    await self._begin(send, live, encoder)
                await self._send(send, encoder.feed(chunk.samples))  # type: ignore[arg-type]
            if encoder is not None:
                await self._send(send, encoder.finish())
            if api_request.is_sse:
                await self._send_event(send, {"type": "speech.audio.done", "usage": _usage(live)})

    async def _begin(self, send: Send, live: LiveSpeech, encoder: Encoder) -> None:
        headers = {
            "Content-Type": "text/event-stream; charset=utf-8"
            if self._api_request.is_sse
            else self._api_request.kind.media_type,
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
            "X-Request-Id": live.id,
            "X-Sample-Rate": str(encoder.sample_rate),
            "X-Seed": str(live.stream.seed),
        }
        pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": pairs})
        self._has_begun = True

    async def _send(self, send: Send, data: bytes) -> None:
        if not data:
            return
        if self._api_request.is_sse:
            await self._send_event(send, {"type": "speech.audio.delta", "audio": base64.b64encode(data).decode()})
        else:
            await self._put(send, data, more=True)

    async def _send_event(self, send: Send, event: dict[str, Any]) -> None:
        await self._put(send, f"data: {json.dumps(event)}\n\n".encode(), more=True)

    async def _put(self, send: Send, data: bytes, *, more: bool) -> None:
        """Raises ClientGone if the client reads too slowly."""
        message = {"type": "http.response.body", "body": data, "more_body": more}
        try:
            await within(send(message), self._service.limits.send_s)
        except (asyncio.TimeoutError, OSError):
            raise ClientGone from None


def _usage(live: LiveSpeech) -> dict[str, int]:
    """OpenAI's usage: text tokens in, codes out."""
    segments = live.stream.segments
    n_in, n_out = sum(len(s.queued.ids) for s in segments), sum(len(s.codes) for s in segments)
    return {"input_tokens": n_in, "output_tokens": n_out, "total_tokens": n_in + n_out}


async def unless_gone(work: Coroutine[Any, Any, None], receive: Receive) -> None:
    """Run `work`; if the client disconnects, cancel it and raise ClientGone."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            await working
            return
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):  # nobody to report an error to
            await working
        raise ClientGone
    finally:
        for task in (working, leaving):
            if not task.done():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        del working, task  # an error's traceback has this frame, and the frame would have the error: a cycle


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
