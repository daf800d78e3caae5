"""Access checks and body limits: the outermost layer of the HTTP application.

In: ASGI scopes. Out: the same for the application behind it, or a refusal: a foreign Host (DNS rebinding) or Origin
(pages of other sites), a missing token, a body that is too long or too slow. Pages of the origins in the settings may
ask and read the answers (CORS).
"""

from __future__ import annotations

import asyncio
import hmac
import time
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgetts.server import page
from edgetts.server.faults import Fault
from edgetts.server.settings import Settings, is_loopback
from edgetts.server.within import within

# Bounds for draining a refused body. Closing a connection while data arrives resets it, and the client would not see
# the error response.
DRAINED_BYTES = 128 << 20
DRAINED_S = 10.0
OPEN_TO_ALL = page.PATHS | {"/health"}  # reveal only that a daemon runs
UPLOADS = frozenset({"/v1/voices"})
_POLICY_VIOLATION = 1008  # WebSocket close code, RFC 6455
_SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
_METHODS = "GET, POST, DELETE"
_ASKED_HEADERS = "authorization, content-type"
_TOLD_HEADERS = "Retry-After, X-Request-Id, X-Sample-Rate, X-Seed"
_PREFLIGHT_S = 600


class Guard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._token = None if settings.token is None else f"Bearer {settings.token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        fault = self._refusal(headers, scope)
        if scope["type"] == "websocket":
            await (self._app(scope, receive, send) if fault is None else _refuse_socket(fault, receive, send))
            return
        body = _Body(receive, headers, *self._bounds(scope["path"]))
        answer = self._app if fault is None else JSONResponse(fault.table(), fault.status, headers=fault.headers)
        more: tuple[tuple[bytes, bytes], ...] = _SECURITY_HEADERS
        if headers.get("origin") in self._settings.origins:
            more = (*more, *_for_page(headers["origin"]))
            if self._is_preflight(headers, scope):
                answer = _preflight(headers)
        await answer(scope, body.receive, body.answering(_with_headers(send, more)))

    def _bounds(self, path: str) -> tuple[int, float]:
        """Limits of a request body: bytes, seconds."""
        limits = self._settings.limits
        is_upload = path in UPLOADS
        return (limits.upload_bytes, limits.upload_s) if is_upload else (limits.body_bytes, limits.body_s)

    def _refusal(self, headers: Headers, scope: Scope) -> Fault | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_own_host(hosts[0]):
            return Fault(403, "The Host header does not name this machine.", code="host_not_allowed")
        origin = headers.get("origin")
        if origin is not None and not self._is_allowed_origin(origin, hosts[0]):
            message = "Requests from pages of this Origin are not allowed."
            return Fault(403, message, code="origin_not_allowed")
        if self._token is not None and scope["path"] not in OPEN_TO_ALL:
            given = headers.get("authorization", "").encode("latin-1", "replace")
            if not hmac.compare_digest(given, self._token):
                return Fault(
                    *(401, "The token is missing or wrong: send Authorization: Bearer TOKEN."),
                    kind="authentication_error",
                    code="invalid_api_key",
                    headers={"WWW-Authenticate": "Bearer"},
                )
        if scope["type"] == "http":
            length, most = headers.get("content-length"), self._bounds(scope["path"])[0]
            if length is not None and length.isdecimal() and int(length[:20]) > most:
                return _too_large(most)
        return None

    def _is_preflight(self, headers: Headers, scope: Scope) -> bool:
        """Whether a browser asks on behalf of a page that is let in; it sends no token with that."""
        hosts = headers.getlist("host")
        is_here = len(hosts) == 1 and self._is_own_host(hosts[0])
        return is_here and scope["method"] == "OPTIONS" and "access-control-request-method" in headers

    def _is_own_host(self, host: str) -> bool:
        """On loopback the Host must be loopback (DNS rebinding); elsewhere the token protects."""
        return not is_loopback(self._settings.host) or is_loopback(_host_name(host))

    def _is_allowed_origin(self, origin: str, host: str) -> bool:
        if origin in self._settings.origins:
            return True
        asking = urlsplit(origin)
        return asking.scheme in ("http", "https") and asking.netloc.casefold() == host.casefold()


def _host_name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


class _Body:
    """A request's `receive`, with limits on bytes and seconds of the body; afterwards it reports disconnects."""

    def __init__(self, receive: Receive, headers: Headers, most: int, seconds: float) -> None:
        self._receive = receive
        self._most = most
        self._left = most
        self._deadline = time.monotonic() + seconds
        self._is_read = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
        # A client with Expect: 100-continue, or one that is too slow, sends nothing more.
        self._can_drain = "expect" not in headers

    async def receive(self) -> Message:
        """The next message of the client. Raises Fault if the body exceeds a limit."""
        if self._is_read:
            return await self._receive()
        try:
            message = await within(self._receive(), max(0.0, self._deadline - time.monotonic()))
        except asyncio.TimeoutError:
            self._can_drain = False
            raise Fault(
                *(408, "The request body did not arrive in time."),
                code="request_timeout",
                headers={"Connection": "close"},
            ) from None
        if message["type"] == "http.request":
            self._is_read = not message.get("more_body", False)
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                raise _too_large(self._most)
        return message

    def answering(self, send: Send) -> Send:
        """`send` that drains the body, within bounds, before it ends the response."""

        async def sending(message: Message) -> None:
            is_end = message["type"] == "http.response.body" and not message.get("more_body", False)
            if is_end and self._can_drain and not self._is_read:
                await send({**message, "more_body": True})
                await self._drain()
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        return sending

    async def _drain(self) -> None:
        deadline, n_bytes = time.monotonic() + DRAINED_S, 0
        while not self._is_read and n_bytes <= DRAINED_BYTES:
            try:
                message = await within(self._receive(), max(0.0, deadline - time.monotonic()))
            except asyncio.TimeoutError:
                return
            if message["type"] != "http.request":
                return
            n_bytes += len(message.get("body", b""))
            self._is_read = not message.get("more_body", False)


def _too_large(most: int) -> Fault:
    message = f"The request body has more than {most} bytes."
    return Fault(413, message, code="request_too_large", headers={"Connection": "close"})


async def _refuse_socket(fault: Fault, receive: Receive, send: Send) -> None:
    await receive()  # websocket.connect
    await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": fault.message})


def _for_page(origin: str) -> tuple[tuple[bytes, bytes], ...]:
    """Headers by which a browser lets a page of this origin read the answer."""
    return (
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", _TOLD_HEADERS.encode()),
        (b"vary", b"Origin"),
    )


def _preflight(headers: Headers) -> Response:
    """The answer to a browser that asks whether a page may ask."""
    told = {
        "Access-Control-Allow-Methods": _METHODS,
        "Access-Control-Allow-Headers": _ASKED_HEADERS,
        "Access-Control-Max-Age": str(_PREFLIGHT_S),
    }
    if headers.get("access-control-request-private-network") == "true":  # from a public page to this network
        told["Access-Control-Allow-Private-Network"] = "true"
    return Response(status_code=204, headers=told)


def _with_headers(send: Send, headers: tuple[tuple[bytes, bytes], ...]) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = {name.lower() for name, _ in message.get("headers", [])}
            more = [pair for pair in headers if pair[0] not in given]
            message = {**message, "headers": [*message.get("headers", []), *more]}
        await send(message)

    return sending
