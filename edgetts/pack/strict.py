"""Reading plain values into frozen dataclasses, strictly, and back.

In: a dataclass and plain JSON values. Out: an instance, or one `PackError` that lists every unknown key, missing key
and value of the wrong type. The ranges of a model's numbers are checked on the way. Knows no file.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, TypeVar

from edgetts.errors import PackError
from edgetts.pack.config import KIND, UNNAMED_KIND, VOCODER_KINDS, IstftVocoderConfig, ModelConfig
from edgetts.pack.plain_json import listed
from edgetts.pack.plain_json import shown as _shown
from edgetts.pack.ranges import out_of_range

ConfigT = TypeVar("ConfigT")


def to_dict(config: Any) -> dict[str, Any]:
    """Plain JSON values of a config dataclass; tuples become lists."""

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
            kind = next((kind for kind, cls in VOCODER_KINDS.items() if type(value) is cls), UNNAMED_KIND)
            return fields if kind == UNNAMED_KIND else {KIND: kind} | fields
        if isinstance(value, (tuple, list)):
            return [plain(v) for v in value]
        return value

    result: dict[str, Any] = plain(config)
    return result


def from_dict(cls: type[ConfigT], values: Any, *, what: str) -> ConfigT:
    """Build the dataclass `cls` from plain JSON values, strictly.

    `what` names the source in the error. Raises PackError listing every unknown key, missing key and
    value of the wrong type at once. Fields with a default were added in later versions and may be missing.
    """
    problems: list[str] = []
    result = _build(cls, values, "", problems)
    if problems:
        raise PackError(f"{what} is not usable: " + listed(problems) + ".")
    return typing.cast(ConfigT, result)


def _build(kind: Any, value: Any, path: str, problems: list[str]) -> Any:
    here = path or "the table"
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, dict):
            problems.append(f"{here} must be a table, not {_shown(value)}")
            return None
        every_hint = typing.get_type_hints(kind)  # those of class variables, too
        hints = {field.name: every_hint[field.name] for field in dataclasses.fields(kind)}
        prefix = f"{path}." if path else ""
        problems += [f"unknown key {prefix}{printable(k)}" for k in sorted(map(str, value)) if k not in hints]
        needed = [f.name for f in dataclasses.fields(kind) if f.default is dataclasses.MISSING]
        problems += [f"missing key {prefix}{k}" for k in needed if k not in value]
        fields = {k: _build(h, value[k], prefix + k, problems) for k, h in hints.items() if k in value}
        if issubclass(kind, ModelConfig) and not problems:
            problems += out_of_range(value, kind.ranges)
        if problems:
            return None
        made = kind(**fields)
        if isinstance(made, (ModelConfig, IstftVocoderConfig)):
            problems += [f"{prefix}{problem}" for problem in made.problems()]
        return made
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        if not isinstance(value, list) or not value:
            problems.append(f"{here} must be a list with at least one entry, not {_shown(value)}")
            return None
        return tuple(_build(args[0], v, f"{path}[{i}]", problems) for i, v in enumerate(value))
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        choices = [a for a in args if a is not type(None)]
        if len(choices) == 1:
            return _build(choices[0], value, path, problems)
        return _build_vocoder(value, path, problems)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        problems.append(f"{here} must be {kind.__name__}, not {_shown(value)}")
        return None
    return value


def _build_vocoder(value: Any, path: str, problems: list[str]) -> Any:
    """The dataclass that the table's kind names."""
    if not isinstance(value, dict):
        problems.append(f"{path} must be a table, not {_shown(value)}")
        return None
    kind = value.get(KIND, UNNAMED_KIND)
    if not isinstance(kind, str) or kind not in VOCODER_KINDS:
        problems.append(f"{path}.{KIND} must be one of {', '.join(VOCODER_KINDS)}, not {_shown(kind)}")
        return None
    rest = {k: v for k, v in value.items() if k != KIND}
    return _build(VOCODER_KINDS[kind], rest, path, problems)


def printable(key: str) -> str:
    """A key made safe for a one-line message."""
    return key if key.isprintable() else _shown(key)
