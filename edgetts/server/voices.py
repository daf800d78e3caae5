"""Voices over HTTP: list, enroll from an uploaded recording, delete.

Nothing is cached: changes by other programs show at the next request. An upload is decoded from memory and never
written to disk; its file name is ignored.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from edgetts.backends.own_thread import in_own_thread
from edgetts.errors import Cancelled, UsageError, VoiceError
from edgetts.planner import spoken_language
from edgetts.server.faults import Fault, fault_of, refused, without_paths
from edgetts.server.service import ClientGone, Service
from edgetts.server.speech import unless_gone
from edgetts.voices.description import language_in
from edgetts.voices.names import check_name

if TYPE_CHECKING:
    from edgetts.api import TTS
    from edgetts.voices.voice import Voice

logger = logging.getLogger(__name__)

_FILE_FIELDS = ("file", "audio_sample")  # audio_sample: OpenAI's name
_FIELDS = (*_FILE_FIELDS, "name", "replace", "adapt_steps", "match_spectrum", "language")
_MAX_FIELD_BYTES = 1024


def routes(service: Service) -> list[Route]:
    async def voices(_request: Request) -> Response:
        tts = await service.host.tts()
        found = await asyncio.to_thread(_voices, tts)
        return JSONResponse({"object": "list", "data": found, "voices": found})

    async def add(request: Request) -> Response:
        name, data, options = await _upload(await _form(request, service.limits.upload_bytes))
        answers: list[Response] = []

        async def learn() -> None:
            answers.append(JSONResponse(await _enroll_and_store(service, name, data, options), 201))

        try:
            await unless_gone(learn(), request.receive)
        except ClientGone:
            return Response(status_code=400)  # the client is gone
        return answers[0]

    async def remove(request: Request) -> Response:
        name = _name(request.path_params["name"])
        tts = await service.host.tts()
        await asyncio.to_thread(_remove, tts, name)
        logger.info("voice name=%s outcome=removed", name.replace(" ", "_"))
        return JSONResponse({"id": name, "object": "voice", "deleted": True})

    return [
        Route("/v1/voices", voices, methods=["GET"]),
        Route("/v1/audio/voices", voices, methods=["GET"]),
        Route("/v1/voices", add, methods=["POST"]),
        Route("/v1/voices/{name}", remove, methods=["DELETE"]),
    ]


def voice_languages(tts: TTS) -> dict[str, str | None]:
    """As `_voices`: the name of each with the language that it is set to."""
    return {voice["name"]: voice["language"] for voice in _voices(tts)}


def _voices(tts: TTS) -> list[dict[str, Any]]:
    """Stored voices, then those of the pack; a stored voice hides one of the pack with the same name."""
    stored = {entry.name: entry.path for entry in tts.store.entries() if not entry.problem}
    ready = {name: path for name, path in tts.ready_voices().items() if name not in stored}
    return [
        {"id": name, "name": name, "object": "voice", "source": source, "language": _language(path)}
        for source, voices in (("stored", stored), ("model", ready))
        for name, path in voices.items()
    ]


def _language(path: Path) -> str | None:
    """The language of a voice file; None also of one that cannot be read, which a request with it will say."""
    try:
        return language_in(path)
    except VoiceError as error:
        logger.warning("%s", error)
        return None


def _name(given: Any) -> str:
    if not isinstance(given, str):
        raise refused("name must be a string: the name of the voice.", "name")
    try:
        return check_name(given)
    except UsageError as error:
        raise refused(without_paths(str(error)), "name") from None


async def _form(request: Request, most: int) -> FormData:
    """A form with one file, which stays in memory: Starlette would write more than 1 MB of it to a disk, which may be
    full, and which keeps what people said. most: bytes of the body, which the guard bounds. Raises Fault."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise Fault(415, "The body must be multipart/form-data.", code="unsupported_media_type")
    parser = MultiPartParser(
        *(request.headers, request.stream()), max_files=1, max_fields=len(_FIELDS), max_part_size=_MAX_FIELD_BYTES
    )
    parser.spool_max_size = most
    try:
        return await parser.parse()
    except MultiPartException as error:
        raise refused(f"The form is not valid: {error.message}", code="invalid_form") from None


async def _upload(form: FormData) -> tuple[str, bytes, dict[str, Any]]:
    """Name, recording and options of a form. Raises Fault."""
    for field in form:
        if field not in _FIELDS:
            raise refused(f"Unknown field {field[:40]!r}; known are {', '.join(_FIELDS)}.", field[:40], "unknown_field")
    files = [form[field] for field in _FILE_FIELDS if field in form]
    if len(files) != 1 or not isinstance(files[0], UploadFile):
        raise refused("file must be exactly one recording: WAV, FLAC, OGG or MP3.", "file")
    replace = form.get("replace", "false")
    if replace not in ("true", "false"):
        raise refused("replace must be true or false.", "replace")
    steps = form.get("adapt_steps")
    if steps is not None and not (isinstance(steps, str) and steps.isascii() and steps.isdecimal() and len(steps) < 6):
        raise refused("adapt_steps must be a whole number from 0 to 99999.", "adapt_steps")
    matched = form.get("match_spectrum")
    if matched not in (None, "true", "false"):
        raise refused("match_spectrum must be true or false.", "match_spectrum")
    name = _name(form.get("name"))
    language = form.get("language")
    if not (language is None or isinstance(language, str)):
        raise refused("language must be a string, such as es.", "language")
    options: dict[str, Any] = {"replace": replace == "true", "language": language}
    options["adapt_steps"] = None if steps is None else int(str(steps))
    options["match_spectrum"] = None if matched is None else matched == "true"
    return name, await files[0].read(), options


async def _enroll_and_store(service: Service, name: str, data: bytes, options: dict[str, Any]) -> dict[str, Any]:
    """Enroll and store a voice; the response table. Cancellation takes effect at the next stage."""
    started, left = time.perf_counter(), threading.Event()
    outcome = "failed"
    try:
        async with service.learning.slot(), service.host.use() as tts:
            try:
                voice = await in_own_thread(_enroll, tts, name, data, options, left)
            finally:
                left.set()
        outcome = "added"
    except asyncio.CancelledError:
        outcome = "cancelled"
        raise
    except Exception as error:
        outcome = "refused" if fault_of(error).status < 500 else "failed"
        raise
    finally:
        took = time.perf_counter() - started
        logger.info("voice name=%s seconds=%.1f outcome=%s", name.replace(" ", "_"), took, outcome)
    return {
        "id": name,
        "name": name,
        "object": "voice",
        "language": voice.language,
        "seconds": round(voice.seconds, 2),
        "notices": [without_paths(notice) for notice in voice.notices],
    }


def _enroll(tts: TTS, name: str, data: bytes, options: dict[str, Any], left: threading.Event) -> Voice:
    def check(_what: str, _share: float) -> None:
        if left.is_set():
            raise Cancelled("The client disconnected during enrollment.")

    _check_new(tts, name, options["replace"])
    if options["language"] is not None:
        try:
            spoken_language(tts.frontend(), options["language"])
        except UsageError as error:
            raise refused(str(error), "language") from None
    chosen = {option: options[option] for option in ("adapt_steps", "match_spectrum", "language")}
    voice = tts.enroll(data, name=name, progress=check, **chosen)
    check("", 1.0)
    tts.store.add(name, voice, replace=options["replace"])
    return voice


def _check_new(tts: TTS, name: str, replace: bool) -> None:
    try:
        tts.store.check_new(name, replace=replace)
    except UsageError as error:
        raise Fault(409, without_paths(str(error)), code="voice_exists", param="name") from None


def _remove(tts: TTS, name: str) -> None:
    if not tts.store.has(name):
        if name in tts.ready_voices():
            raise Fault(
                403,
                f"The voice {name!r} is part of the model and cannot be deleted.",
                code="voice_of_model",
                param="name",
            )
        raise Fault(
            404, f"Unknown voice {name!r}; GET /v1/voices lists the voices.", code="voice_not_found", param="name"
        )
    tts.store.remove(name)
