"""The HTTP application: all HTTP and WebSocket routes, behind the guard."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

from edgetts.errors import EdgeTTSError
from edgetts.server import openapi, page, speech, status, voices, websocket
from edgetts.server.body import on_client_gone, on_error, on_http_error
from edgetts.server.faults import Fault
from edgetts.server.guard import Guard
from edgetts.server.request_queue import Busy, Closed
from edgetts.server.service import Service


def application(service: Service) -> ASGIApp:
    """The ASGI application of a daemon."""
    handlers = dict.fromkeys((Fault, Busy, Closed, EdgeTTSError, Exception), on_error)
    app = Starlette(
        routes=[
            *websocket.routes(service),
            *speech.routes(service),
            *voices.routes(service),
            *status.routes(service),
            *openapi.routes(service),
            *page.routes(),
        ],
        exception_handlers={**handlers, ClientDisconnect: on_client_gone, HTTPException: on_http_error},
    )
    app.router.redirect_slashes = False  # an address is right or unknown
    return Guard(app, service.settings)
