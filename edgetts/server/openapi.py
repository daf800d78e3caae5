"""The OpenAPI description, at `/openapi.json`: made of the tables that requests are checked by."""

from __future__ import annotations

import dataclasses
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from edgetts import __version__
from edgetts.options import MAX_SEED, PRESETS, SynthesisOptions
from edgetts.server.encoder import KINDS
from edgetts.server.service import Service
from edgetts.server.settings import Limits
from edgetts.server.wish import DEFAULT_FORMAT, STREAM_FORMATS
from edgetts.text.normalize import NORMALIZERS
from edgetts.voices.emotion import EMOTIONS
from edgetts.voices.store import MAX_NAME_LENGTH

_JSON = "application/json"
_ERRORS = {
    "400": "The request cannot be done; `param` names the field.",
    "401": "The token is missing or wrong.",
    "403": "This Host, Origin or voice is not allowed.",
    "404": "There is no such model or voice.",
    "408": "The request did not arrive in time.",
    "409": "There is a voice of this name already.",
    "413": "The request is too large.",
    "415": "The body is not JSON.",
    "429": "All places are taken; Retry-After says when to come again.",
    "500": "The model failed.",
    "503": "The daemon is stopping, or its model cannot be used.",
}


def routes(service: Service) -> list[Route]:
    async def description(_request: Request) -> JSONResponse:
        return JSONResponse(document(service.limits, has_token=service.settings.token is not None))

    return [Route("/openapi.json", description)]


def document(limits: Limits, *, has_token: bool) -> dict[str, Any]:
    """limits: of the daemon that is described."""
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
    voices = {"get": _operation("Voices that can speak", _answer("Voices", _VOICE_LIST))}
    return {
        "/v1/audio/speech": {
            "post": _operation(
                "Speak a text",
                {
                    "200": {
                        "description": "Sound while it is made, or server-sent events of it.",
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
                "Learn a voice from a recording",
                _answer("The new voice", _ref("Voice"), status="201"),
                errors=("400", "408", "409", "413", "429", "500", "503"),
                requestBody={"required": True, "content": {"multipart/form-data": {"schema": _UPLOAD}}},
            ),
        },
        "/v1/voices/{name}": {
            "delete": _operation(
                "Forget a voice", _answer("It is gone", _OBJECT), errors=("400", "403", "404"), parameters=[name]
            )
        },
        "/v1/audio/voices": voices,
        "/v1/models": {"get": _operation("Models", _answer("Models", _OBJECT))},
        "/v1/models/{model}": {
            "get": _operation(
                "A model",
                _answer("The model", _OBJECT),
                errors=("404",),
                parameters=[{"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}],
            )
        },
        "/v1/load": {"post": _operation("Have the model in memory", _answer("It is", _OBJECT), errors=("503",))},
        "/v1/unload": {"post": _operation("Drop the model from memory", _answer("How it is", _OBJECT))},
        "/health": {"get": _operation("Whether there is a daemon", _answer("There is", _OBJECT), errors=())},
        "/ready": {
            "get": _operation(
                "Whether a request would be taken",
                {**_answer("It would", _OBJECT), **_answer("It would not", _OBJECT, status="503")},
            )
        },
        "/metrics": {
            "get": _operation(
                "Prometheus' text format", {"200": {"description": "Numbers", "content": {"text/plain": {}}}}
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
            "speed": {"const": 1},
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
