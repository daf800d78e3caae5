"""The reference of the Python API, from signatures and docstrings. In: nothing. Out: Markdown.

Fields of dataclasses are explained by the comments behind them in the source, methods by their docstrings.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any

import edgetts
from edgetts import api, errors, options
from edgetts.speech import SpokenSegment
from edgetts.streaming.stream import AsyncSpeechStream, SpeechStream

CLASSES: tuple[type, ...] = (
    edgetts.TTS,
    edgetts.Audio,
    SpokenSegment,
    edgetts.Voice,
    edgetts.Emotion,
    edgetts.SynthesisOptions,
    SpeechStream,
    AsyncSpeechStream,
    edgetts.AudioChunk,
    edgetts.SpeechRequest,
)
FUNCTIONS = (options.preset_options,)
ERRORS = tuple(e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, errors.EdgeTTSError))
# Public to the rest of the package, of no use to its users.
_INTERNAL = {
    *("Audio.of", "Voice.check", "Voice.check_fits", "Voice.check_adaptation", "Emotion.effective_weights"),
    *("SynthesisOptions.of", "SynthesisOptions.n_attempts", "SynthesisOptions.decode_settings"),
    *("SynthesisOptions.flow_settings", "SynthesisOptions.first_flow_settings", "SpeechRequest.schedule"),
    *("TTS.pipeline", "TTS.engine", "TTS.frontend"),
}
_WIDE = 100  # characters of a signature in one line
# The convention of the docstrings: `name: text`, `name, name: text`, `name (shape): text`, at the start of a sentence.
_ARGUMENT = re.compile(r"(?:^|(?<=[.;] ))([a-z_]+(?:, [a-z_]+)*)( \([^)]*\))?: ")

_RAISES = re.compile(r"(?<=[.;] )Raises [A-Z].*$")


def markdown() -> str:
    parts: list[str] = []
    for cls in CLASSES:
        parts += _class(cls)
    parts.append("\n## Presets\n")
    for function in FUNCTIONS:
        parts += _function(function.__name__, function, level=3)
    parts.append("\n## Errors\n\n| error | exit code | meaning |\n|---|---|---|")
    parts += [f"| `{e.__name__}` | {e.exit_code} | {_flat(e)} |" for e in ERRORS]
    return "\n".join(parts) + "\n"


def _class(cls: type) -> Iterator[str]:
    where = f"from {'edgetts' if cls.__name__ in edgetts.__all__ else _home(cls)} import {cls.__name__}"
    yield f"\n## {cls.__name__}\n\n```python\n{where}\n```\n"
    yield _doc(cls, _names(cls))
    if dataclasses.is_dataclass(cls):
        yield _fields(cls)
    for name, member in vars(cls).items():
        if f"{cls.__name__}.{name}" in _INTERNAL:
            continue
        plain = member.__func__ if isinstance(member, (classmethod, staticmethod)) else member
        if isinstance(member, property) and not name.startswith("_"):
            yield f"\n### {cls.__name__}.{name}\n\n{_doc(member.fget, set())}"
        elif inspect.isfunction(plain) and not name.startswith("_") and inspect.getdoc(plain):
            yield from _function(f"{cls.__name__}.{name}", plain, level=3)


def _home(cls: type) -> str:
    return "edgetts.api" if cls.__name__ in api.__all__ else cls.__module__


def _function(name: str, function: Any, level: int) -> Iterator[str]:
    yield f"\n{'#' * level} {name}\n\n```python\n{_signature(name.rpartition('.')[2], function)}\n```\n"
    yield _doc(function, _names(function))


def _signature(name: str, function: Any) -> str:
    """The signature as it is written, without `self`, in one line or one argument a line."""
    signature = inspect.signature(function)
    parts, is_keyword = [], False
    for parameter in signature.parameters.values():
        if parameter.name in ("self", "cls"):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not is_keyword:
            parts.append("*")
            is_keyword = True
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        parts.append(f"{stars}{parameter.name}: {_plain(str(parameter.annotation))}{default}")
    result = "" if signature.return_annotation is signature.empty else f" -> {_plain(str(signature.return_annotation))}"
    line = f"{name}({', '.join(parts)}){result}"
    prefix = "async " if inspect.iscoroutinefunction(function) else ""
    if len(line) <= _WIDE:
        return prefix + line
    return f"{prefix}{name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){result}"


def _plain(annotation: str) -> str:
    return annotation.replace("'", "").replace("Unpack[OptionKeywords]", "fields of SynthesisOptions")


def _names(thing: Any) -> set[str]:
    """What a docstring may explain: arguments of a function, fields of a dataclass, attributes set by a constructor."""
    names = {f.name for f in dataclasses.fields(thing)} if dataclasses.is_dataclass(thing) else set()
    members = set(dir(thing)) if isinstance(thing, type) else set()
    try:
        arguments = set(inspect.signature(thing.__init__ if isinstance(thing, type) else thing).parameters)
    except ValueError:  # of a class without a constructor of its own
        arguments = set()
    code = getattr(thing.__init__, "__code__", None) if isinstance(thing, type) else None
    return names | members | arguments | set(code.co_names if code is not None else ())


def _doc(thing: Any, names: set[str]) -> str:
    """The docstring; what it says of one of `names` as an item of a list."""
    paragraphs = []
    for paragraph in (inspect.getdoc(thing) or "").split("\n\n"):
        parts = _ARGUMENT.split(" ".join(paragraph.split()))
        items: list[str] = []
        lead = parts[0].strip()
        for name, shape, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
            if set(name.split(", ")) <= names:
                items.append(f"- **{name}**{shape or ''}: {text.strip()}")
            elif items:
                items[-1] += f" {name}{shape or ''}: {text.strip()}"
            else:
                lead += f" {name}{shape or ''}: {text.strip()}"
        raises = ""
        if items and (match := _RAISES.search(items[-1])):  # of the function, not of its last argument
            items[-1], raises = items[-1][: match.start()].strip(), match[0]
        paragraphs += [part for part in (lead, "\n".join(items), raises) if part]
    return "\n\n".join(paragraphs) + "\n"


def _flat(thing: Any) -> str:
    return " ".join((inspect.getdoc(thing) or "").split())


def _fields(cls: Any) -> str:
    """Fields with their types and defaults, and the comments of the source behind them."""
    source = textwrap.dedent(inspect.getsource(cls))
    comments = dict(re.findall(r"^    (\w+): [^#\n]*#\s*(.+)$", source, flags=re.MULTILINE))
    rows = []
    for each in dataclasses.fields(cls):
        default = "" if each.default is dataclasses.MISSING else f" = {each.default!r}"
        comment = re.sub(r"\s*noqa.*", "", comments.get(each.name, ""))
        shown = _plain(str(each.type)).replace("|", "&#124;")
        rows.append(f"| <code>{each.name}: {shown}{default}</code> | {comment} |")
    return "| field | meaning |\n|---|---|\n" + "\n".join(rows) + "\n"
