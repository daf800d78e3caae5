"""Parses the JSON of a speech request (OpenAI's fields and our own) into a `SpeechRequest`.

In: the object, and the valid model names. Out: an `ApiRequest`. Raises Fault with the field for unknown fields and
invalid values; no field is silently ignored. Voices are names, never files: no path of a client reaches the file
system.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from edgetts.errors import UsageError
from edgetts.options import MAX_DURATION_FACTOR, MIN_DURATION_FACTOR, SynthesisOptions, preset_options
from edgetts.request import SpeechRequest
from edgetts.server.encoder import Kind, kind_of
from edgetts.server.faults import Fault, refused, without_paths
from edgetts.voices.emotion import Emotion, parse_weights
from edgetts.voices.names import check_name

DEFAULT_FORMAT = "mp3"
STREAM_FORMATS = ("audio", "sse")
# Our own fields, and the options they set.
_OPTION_FIELDS = {"seed": "seed", "steps": "n_steps", "language": "language"}
_PLAIN_FIELDS = ("markup", "markdown", "normalizer", "chunks", "glossary")  # of `SpeechRequest`
_OTHER_FIELDS = ("model", "input", "voice", "instructions", "response_format", "speed", "stream_format")
FIELDS = (*_OTHER_FIELDS, "emotion", "preset", "options", *_OPTION_FIELDS, *_PLAIN_FIELDS)
_EMOTION_FIELDS = ("weights", "voice", "alpha", "cap")
# OpenAI's speed is the other way round.
MIN_SPEED, MAX_SPEED = 1 / MAX_DURATION_FACTOR, 1 / MIN_DURATION_FACTOR


@dataclass(frozen=True)
class ApiRequest:
    """A request and the format of its response."""

    request: SpeechRequest
    kind: Kind
    is_sse: bool


def parse_request(
    table: Mapping[str, Any], models: Collection[str], *, default_format: str = DEFAULT_FORMAT, needs_text: bool = True
) -> ApiRequest:
    """Parse a request. models: valid values of `model`. needs_text: False if the text may come later."""
    for name in table:
        if name not in FIELDS:
            raise refused(f"Unknown field {name[:40]!r}; known are {', '.join(FIELDS)}.", name[:40], "unknown_field")
    _check_openai_fields(table, models)
    text = table.get("input")
    if not isinstance(text, str) and (needs_text or text is not None):
        raise refused("input must be a string: the text to speak.", "input")
    stream_format = table.get("stream_format") or STREAM_FORMATS[0]
    if stream_format not in STREAM_FORMATS:
        raise refused(f"stream_format must be {' or '.join(STREAM_FORMATS)}.", "stream_format")
    fields = {name: table[name] for name in _PLAIN_FIELDS if table.get(name) is not None}
    try:
        request = SpeechRequest.from_json(
            {"text": text, "voice": voice_name_of(table.get("voice"), "voice"), "options": _options(table), **fields}
        )
    except UsageError as error:
        raise refused(without_paths(str(error)), _named(str(error))) from None
    emotion = _emotion(table.get("emotion"))
    if emotion is not None:
        request = dataclasses.replace(request, emotion=emotion)
    return ApiRequest(request, kind_of(table.get("response_format") or default_format), stream_format == "sse")


def _check_openai_fields(table: Mapping[str, Any], models: Collection[str]) -> None:
    model = table.get("model")
    if model is not None and (not isinstance(model, str) or model not in models):
        message = f"Unknown model {str(model)[:60]!r}; known are {', '.join(models)}."
        raise Fault(404, message, code="model_not_found", param="model")
    if table.get("instructions"):
        raise refused(
            'instructions is not supported: this model has no emotion from text. Use emotion, such as {"happy": 0.4}.',
            "instructions",
            "unsupported_parameter",
        )
    speed = table.get("speed")
    is_number = isinstance(speed, (int, float)) and not isinstance(speed, bool)
    if speed is not None and not (is_number and MIN_SPEED <= speed <= MAX_SPEED):
        raise refused(f"speed is {str(speed)[:20]}; allowed is {MIN_SPEED:g} to {MAX_SPEED:g}.", "speed")


def voice_name_of(given: Any, field: str = "voice") -> str | None:
    """A voice's name: a string, or an object with its id."""
    name = given.get("id") if isinstance(given, dict) and given.keys() <= {"id"} else given
    if name is None and given is None:
        return None
    if not isinstance(name, str):
        raise refused(f'{field} must be a name or {{"id": "name"}}; GET /v1/voices lists the voices.', field)
    try:
        return check_name(name)
    except UsageError as error:
        raise refused(without_paths(str(error)), field) from None


def _options(table: Mapping[str, Any]) -> dict[str, Any]:
    given = table.get("options") or {}
    if not isinstance(given, dict):
        raise refused("options must be an object of synthesis options.", "options")
    preset = table.get("preset")
    if preset is not None and not isinstance(preset, str):
        raise refused("preset must be the name of a preset.", "preset")
    try:
        options = {**preset_options(preset), **given}
    except (UsageError, TypeError) as error:
        raise refused(str(error), "preset") from None
    for name, option in _OPTION_FIELDS.items():
        if table.get(name) is not None:
            if option in given:
                raise refused(f"{name} is given twice: also as {option} in options.", name)
            options[option] = table[name]
    if table.get("speed") is not None:
        if "duration_factor" in given:
            raise refused("speed is given twice: also as duration_factor in options.", "speed")
        options["duration_factor"] = 1 / table["speed"]
    try:
        SynthesisOptions.of({}, options)
    except UsageError as error:
        raise refused(str(error), _named(str(error)) or "options") from None
    return options


def _emotion(given: Any) -> Emotion | None:
    """Weights as an object or as text "happy=0.4", or an object with weights or voice, alpha and cap."""
    if given is None:
        return None
    try:
        if isinstance(given, str):
            return Emotion(weights=parse_weights(given))
        if not isinstance(given, dict):
            raise UsageError('emotion must be an object such as {"happy": 0.4}.')
        if not given.keys() & set(_EMOTION_FIELDS):
            return Emotion(weights=given)
        unknown = sorted(given.keys() - set(_EMOTION_FIELDS))
        if unknown:
            raise UsageError(f"Unknown field {unknown[0][:40]!r} in emotion; known are {', '.join(_EMOTION_FIELDS)}.")
        return Emotion(
            weights=given.get("weights") or {},
            recording=voice_name_of(given.get("voice"), "emotion"),
            alpha=given.get("alpha", 1.0),
            cap=given.get("cap", False),
        )
    except UsageError as error:
        raise refused(str(error), "emotion") from None


def _named(message: str) -> str | None:
    """The request field that an error message begins with, or None."""
    first = message.split(" ", 1)[0]
    ours = {option: name for name, option in _OPTION_FIELDS.items()}
    return ours.get(first, first) if first in ours or first in _PLAIN_FIELDS or first in FIELDS else None
