"""JSON over HTTP: bounded request bodies to plain values, exceptions to OpenAI-style error responses."""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from edgetts.pack.plain_json import InvalidJSON, read_json
from edgetts.server.faults import Fault, fault_of, refused

JSON_TYPES = ("application/json", "text/json")


async def json_body(request: Request, max_bytes: int) -> dict[str, Any]:
    """The JSON object in the body. Raises Fault for anything else.

    The content type is required: it protects against cross-site forms, which cannot send JSON types without a
    preflight.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in JSON_TYPES:
        raise Fault(415, "The body must be JSON: send Content-Type: application/json.", code="unsupported_media_type")
    return json_object(await request.body(), max_bytes)


def json_object(data: bytes, max_bytes: int, what: str = "request") -> dict[str, Any]:
    """Parse a JSON object. Raises Fault, which calls it `what`, for anything else."""
    try:
        value = read_json(data, max_bytes=max_bytes)
    except InvalidJSON as error:
        raise refused(f"The {what} is not valid: {error}.", code="invalid_json") from None
    if not isinstance(value, dict):
        raise refused(f"The {what} must be a JSON object.", code="invalid_json")
    return value


def error_response(error: BaseException) -> JSONResponse:
    """The response for an exception, with status and headers."""
    fault = fault_of(error)
    return JSONResponse(fault.table(), fault.status, headers=fault.headers)


async def on_error(_request: Request, error: Exception) -> Response:
    """Handler of exceptions in routes."""
    return error_response(error)


async def on_client_gone(_request: Request, _error: Exception) -> Response:
    return Response(status_code=400)  # the client is gone


async def on_http_error(_request: Request, error: Exception) -> Response:
    """Handler of the router's own errors: unknown path, wrong method."""
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code)
    message = {404: "Unknown path; /openapi.json lists the paths.", 405: "This path does not support the HTTP method."}
    fault = Fault(error.status_code, message.get(error.status_code, str(error.detail)), code=code)
    return JSONResponse(fault.table(), fault.status, headers=error.headers)
