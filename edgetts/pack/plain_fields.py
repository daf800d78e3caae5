"""Fields of settings dataclasses as plain values of the types that they declare.

In: a frozen dataclass of bool, int, float and str fields, each perhaps `| None`, as it was called. Out: its values
converted in place, or a UsageError that names the field. Imports neither torch nor numpy.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from edgetts.errors import UsageError
from edgetts.pack.plain_json import shown

MAX_WHOLE = 2**53  # integers up to here are exact as floats; upper bound of settings without another


def coerce_types(settings: Any) -> None:
    """Convert every field of a settings dataclass to its declared type; numpy scalars are accepted.

    Integers are accepted as float; bools and strings are not numbers. Raises UsageError, naming the field.
    """
    for field in fields(settings):
        kind, optional, _ = str(field.type).partition(" | None")
        value = _plain(getattr(settings, field.name))
        if value is None and optional:
            continue
        if kind == "float" and isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_WHOLE:
            value = float(value)
        if type(value) is not _KINDS.get(kind, str):
            raise UsageError(f"{field.name} is {shown(value)}; it must be of type {kind}{optional}.")
        object.__setattr__(settings, field.name, value)  # the dataclass is frozen


_KINDS: dict[str, type] = {"bool": bool, "int": int, "float": float}


def _plain(value: Any) -> Any:
    """numpy scalars and subclasses of int, float and str as plain values, without importing numpy."""
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        value = value.item()
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value
