"""State of the daemon: `/health`, `/ready`, `/metrics`, `/v1/models`, `/v1/load`, `/v1/unload`."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from edgetts import __version__
from edgetts.errors import PackError
from edgetts.server.faults import Fault
from edgetts.server.service import Service

# Default model names of OpenAI clients.
ALIASES = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")


def routes(service: Service) -> list[Route]:
    async def health(_request: Request) -> Response:
        return JSONResponse({"status": "ok", "version": __version__})

    async def ready(_request: Request) -> Response:
        """Status 200, or 503 while a request would be refused."""
        state = "loaded" if service.host.is_loaded else "unloaded"
        is_ready = not (service.is_stopping or service.is_stalled or service.queue.is_full)
        is_ready = is_ready and service.host.opened is not None
        if service.is_stopping or service.is_stalled:
            state = "stopping" if service.is_stopping else "stalled"
        table = {
            "ready": is_ready,
            "state": state,
            "streams": service.queue.n_served,
            "waiting": service.queue.n_waiting,
        }
        return JSONResponse(table, 200 if is_ready else 503)

    async def metrics(_request: Request) -> Response:
        return Response(service.metrics.page(), media_type=service.metrics.content_type)

    async def models(_request: Request) -> Response:
        found = [_model(name) for name in await model_names(service)]
        return JSONResponse({"object": "list", "data": found, "models": found})

    async def model(request: Request) -> Response:
        name = request.path_params["model"]
        if name not in await model_names(service):
            raise no_model(name)
        return JSONResponse(_model(name))

    async def load(_request: Request) -> Response:
        await service.host.load()
        return JSONResponse({"state": "loaded"})

    async def unload(_request: Request) -> Response:
        await service.host.unload()
        return JSONResponse({"state": "loaded" if service.host.is_loaded else "unloaded"})

    return [
        Route("/health", health),
        Route("/ready", ready),
        Route("/metrics", metrics),
        Route("/v1/models", models),
        Route("/v1/audio/models", models),
        Route("/v1/models/{model}", model),
        Route("/v1/load", load, methods=["POST"]),
        Route("/v1/unload", unload, methods=["POST"]),
    ]


async def model_names(service: Service) -> list[str]:
    """Valid values of `model`: the name of the pack, then the aliases."""
    try:
        tts = await service.host.tts()  # another pack may have taken over
    except PackError:
        if service.host.opened is None:
            raise
        tts = service.host.opened  # its name stays while its folder is gone
    name = tts.pack.manifest.name
    return [name, *(alias for alias in ALIASES if alias != name)]


def no_model(name: str) -> Fault:
    message = f"Unknown model {name[:60]!r}; GET /v1/models lists the models."
    return Fault(404, message, code="model_not_found", param="model")


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "edgetts"}
