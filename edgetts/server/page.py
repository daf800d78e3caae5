"""The web page at `/` and its files: static and without secrets, so they need no token. The requests of the page do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_FOLDER = files("edgetts.server") / "static"
_FILES = {
    "/": ("index.html", "text/html"),
    "/page/page.css": ("page.css", "text/css"),
    "/page/emotions.js": ("emotions.js", "text/javascript"),
    "/page/page.js": ("page.js", "text/javascript"),
    "/page/sound.js": ("sound.js", "text/javascript"),
    "/page/wave.js": ("wave.js", "text/javascript"),
    "/page/icon.svg": ("icon.svg", "image/svg+xml"),
}
PATHS = frozenset(_FILES)
_HEADERS = {
    # Everything comes from this server, and nothing is inline.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def routes() -> list[Route]:
    return [Route(path, _sender(*_FILES[path])) for path in _FILES]


def _sender(name: str, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    content = (_FOLDER / name).read_bytes()

    async def send(_request: Request) -> Response:
        return Response(content, media_type=media_type, headers=_HEADERS)

    return send
