"""The OpenAPI description at `/openapi.json`, generated from the tables that validate requests."""

from __future__ import annotations

import dataclasses
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from edgetts import __version__
from edgetts.options import AUTO_LANGUAGE, MAX_SEED, PRESETS, SynthesisOptions
from edgetts.server.api_request import DEFAULT_FORMAT, MAX_SPEED, MIN_SPEED, STREAM_FORMATS
from edgetts.server.encoder import KINDS
from edgetts.server.service import Service
from edgetts.server.settings import Limits
from edgetts.text.config import ALL_LANGUAGES
from edgetts.text.normalizers import NORMALIZERS
from edgetts.voices.emotion import EMOTIONS
from edgetts.voices.names import MAX_NAME_LENGTH

_JSON = "application/json"
_ERRORS = {
    "400": "Invalid request; `param` names the field.",
    "401": "The token is missing or wrong.",
    "403": "This Host, Origin or voice is not allowed.",
    "404": "Unknown model or voice.",
    "408": "The request did not arrive in time.",
    "409": "A voice with this name exists already.",
    "413": "The request is too large.",
    "415": "The body has another type.",
    "429": "The queue is full; see Retry-After.",
    "500": "Synthesis failed.",
    "503": "The daemon is stopping, or its model is unusable.",
    "507": "The server's disk is full.",
}


def routes(service: Service) -> list[Route]:
    async def description(_request: Request) -> JSONResponse:
        return JSONResponse(document(service.limits, has_token=service.settings.token is not None))

    return [Route("/openapi.json", description)]


def document(limits: Limits, *, has_token: bool) -> dict[str, Any]:
    """limits: of the daemon."""
    table: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "edgetts", "version": __version__},
        "paths": _paths(),
        "components": {"schemas": {"Speech": _speech(limits), "Voice": _VOICE, "Error": _ERROR}},
    }
    if has_token:
        table["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        table["security"] = [{"token": []}]
        table["paths"]["/health"]["get"]["security"] = []
    return table


def _paths() -> dict[str, Any]:
    name = {"name": "name", "in": "path", "required": True, "schema": _NAME}
    voices = {"get": _operation("List voices", _answer("Voices", _VOICE_LIST))}
    models = {"get": _operation("List models", _answer("Models", _OBJECT))}
    return {
        "/v1/audio/speech": {
            "post": _operation(
                "Synthesize speech",
                {
                    "200": {
                        "description": "Audio, streamed while it is synthesized, or server-sent events with it.",
                        "content": {
                            **{kind.media_type: {} for kind in KINDS.values()},
                            "text/event-stream": {"schema": {"type": "string"}},
                        },
                    }
                },
                errors=("400", "404", "408", "413", "415", "429", "500", "503"),
                requestBody={"required": True, "content": {_JSON: {"schema": _ref("Speech")}}},
            )
        },
        "/v1/voices": {
            **voices,
            "post": _operation(
                "Enroll a voice from a recording",
                _answer("The new voice", _ref("Voice"), status="201"),
                errors=("400", "408", "409", "413", "415", "429", "500", "503", "507"),
                requestBody={"required": True, "content": {"multipart/form-data": {"schema": _UPLOAD}}},
            ),
        },
        "/v1/voices/{name}": {
            "delete": _operation(
                "Delete a voice", _answer("Deleted", _OBJECT), errors=("400", "403", "404"), parameters=[name]
            )
        },
        "/v1/audio/voices": voices,
        "/v1/models": models,
        "/v1/audio/models": models,
        "/v1/models/{model}": {
            "get": _operation(
                "Describe a model",
                _answer("The model", _OBJECT),
                errors=("404",),
                parameters=[{"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}],
            )
        },
        "/v1/load": {"post": _operation("Load the model", _answer("Loaded", _OBJECT), errors=("503",))},
        "/v1/unload": {"post": _operation("Unload the model", _answer("State", _OBJECT))},
        "/health": {"get": _operation("Liveness", _answer("The daemon runs", _OBJECT), errors=())},
        "/ready": {
            "get": _operation(
                "Readiness",
                {**_answer("Ready", _OBJECT), **_answer("Not ready", _OBJECT, status="503")},
            )
        },
        "/metrics": {
            "get": _operation(
                "Metrics in Prometheus' text format", {"200": {"description": "Metrics", "content": {"text/plain": {}}}}
            )
        },
    }


def _operation(summary: str, answers: dict[str, Any], errors: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    told = {
        status: {"description": _ERRORS[status], "content": {_JSON: {"schema": _ref("Error")}}}
        for status in sorted({*errors, "401", "403"})
        if status not in answers
    }
    return {"summary": summary, "responses": {**answers, **told}, **more}


def _answer(description: str, schema: dict[str, Any], status: str = "200") -> dict[str, Any]:
    return {status: {"description": description, "content": {_JSON: {"schema": schema}}}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _speech(limits: Limits) -> dict[str, Any]:
    weights = {
        "type": "object",
        "properties": {name: {"type": "number", "minimum": 0, "maximum": 2} for name in EMOTIONS},
        "additionalProperties": False,
        "minProperties": 1,
    }
    options: dict[str, Any] = {field.name: {} for field in dataclasses.fields(SynthesisOptions)}
    return {
        "type": "object",
        "required": ["input"],
        "additionalProperties": False,
        "properties": {
            "model": {"type": "string"},
            "input": {"type": "string", "maxLength": limits.text_characters},
            "voice": {
                "oneOf": [
                    _NAME,
                    {"type": "object", "required": ["id"], "properties": {"id": _NAME}, "additionalProperties": False},
                ]
            },
            "response_format": {"enum": list(KINDS), "default": DEFAULT_FORMAT},
            "stream_format": {"enum": list(STREAM_FORMATS), "default": STREAM_FORMATS[0]},
            "speed": {"type": "number", "minimum": MIN_SPEED, "maximum": MAX_SPEED, "default": 1},
            "language": {"enum": [*ALL_LANGUAGES, AUTO_LANGUAGE]},
            "emotion": {
                "oneOf": [
                    {"type": "string"},
                    weights,
                    {
                        "type": "object",
                        "properties": {
                            "weights": weights,
                            "voice": _NAME,
                            "alpha": {"type": "number", "minimum": 0, "maximum": 2},
                            "cap": {"type": "boolean"},
                        },
                        "additionalProperties": False,
                    },
                ]
            },
            "seed": {"type": "integer", "minimum": 0, "maximum": MAX_SEED},
            "steps": {"type": "integer", "minimum": 1, "maximum": 1000},
            "preset": {"enum": list(PRESETS)},
            "options": {"type": "object", "properties": options, "additionalProperties": False},
            "markup": {"type": "boolean"},
            "markdown": {"type": "boolean"},
            "normalizer": {"enum": list(NORMALIZERS)},
            "chunks": {"oneOf": [{"const": "whole"}, {"type": "array", "items": {"type": "integer", "minimum": 1}}]},
            "glossary": {"type": "object"},
        },
    }


_OBJECT: dict[str, Any] = {"type": "object"}
_NAME: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": MAX_NAME_LENGTH}
_VOICE: dict[str, Any] = {
    "type": "object",
    "required": ["id", "name", "object"],
    "properties": {
        "id": _NAME,
        "name": _NAME,
        "object": {"const": "voice"},
        "source": {"enum": ["stored", "model"]},
        "language": {"enum": [*ALL_LANGUAGES, None]},
        "seconds": {"type": "number"},
        "notices": {"type": "array", "items": {"type": "string"}},
    },
}
_VOICE_LIST: dict[str, Any] = {
    "type": "object",
    "properties": {
        name: {"type": "array", "items": {"$ref": "#/components/schemas/Voice"}} for name in ("data", "voices")
    },
}
_UPLOAD: dict[str, Any] = {
    "type": "object",
    "required": ["name", "file"],
    "additionalProperties": False,
    "properties": {
        "name": _NAME,
        "file": {"type": "string", "format": "binary"},
        "replace": {"enum": ["true", "false"]},
        "adapt_steps": {"type": "string", "pattern": "^[0-9]{1,5}$"},
        "match_spectrum": {"enum": ["true", "false"]},
        "language": {"enum": [*ALL_LANGUAGES]},
    },
}
_ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
