"""Reads untrusted JSON within bounds.

In: bytes. Out: plain values, or an `InvalidJSON` whose text completes a sentence ("it is nested deeper than ...").
Length, depth and number of values are checked in the bytes before parsing, so a hostile or damaged file cannot exhaust
memory or stack. Knows no file format.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

MAX_DEPTH = 32
MAX_MARKS = 1 << 19  # brackets and quotation marks; real files have far fewer
MAX_DIGITS = 40  # of an integer; 64 bits need 20
MAX_LISTED = 20  # problems in one message

_MARKS = re.compile(rb'\\.|["\[\]{}]', re.DOTALL)
_OPENING, _CLOSING = frozenset(b"[{"), frozenset(b"]}")
_QUOTE = ord('"')


class InvalidJSON(ValueError):
    """The bytes are not acceptable JSON. The text completes a sentence about the file."""


def read_json(data: bytes, *, max_bytes: int, max_depth: int = MAX_DEPTH) -> Any:
    """The value of `data`. Raises InvalidJSON and nothing else.

    Stricter than the standard: no duplicate keys, infinite numbers, lone surrogates or integers of very many digits.
    """
    if len(data) > max_bytes:
        raise InvalidJSON(f"it is {len(data)} bytes long and at most {max_bytes} are allowed")
    _check_marks(data, max_depth)
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_table,
            parse_int=_integer,
            parse_float=_finite,
            parse_constant=_finite,
        )
        if b"\\u" in data:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except InvalidJSON:
        raise
    except UnicodeError as error:
        raise InvalidJSON("it is not UTF-8 text") from error
    except ValueError as error:
        raise InvalidJSON(f"it is not valid JSON ({shown(str(error))})") from error
    return value


def shown(value: Any, most: int = 80) -> str:
    """A value for a message: shortened, on one line."""
    if isinstance(value, int) and value.bit_length() > 64:
        return "a huge integer"
    if isinstance(value, (list, dict)) and len(value) > most:
        return f"a {'list' if isinstance(value, list) else 'table'} of {len(value)} entries"
    if isinstance(value, str):
        value = value[:most]
    text = ascii(value) if not repr(value).isprintable() else repr(value)
    return text if len(text) <= most else text[: most - 3] + "..."


def listed(problems: list[str]) -> str:
    """Problems joined for one message; only the first few of thousands are shown."""
    more = len(problems) - MAX_LISTED
    return "; ".join(problems[:MAX_LISTED]) + (f"; and {more} more" if more > 0 else "")


def _check_marks(data: bytes, max_depth: int) -> None:
    depth = 0
    in_text = False
    for n_before, mark in enumerate(_MARKS.finditer(data)):
        first = data[mark.start()]
        if n_before >= MAX_MARKS:
            raise InvalidJSON(f"it holds more than {MAX_MARKS} values")
        if first == _QUOTE:
            in_text = not in_text
        elif not in_text and first in _OPENING:
            depth += 1
            if depth > max_depth:
                raise InvalidJSON(f"it is nested deeper than {max_depth} levels")
        elif not in_text and first in _CLOSING:
            depth -= 1


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise InvalidJSON("a key is given twice")
    return table


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise InvalidJSON(f"a number in it has {len(text)} digits")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise InvalidJSON(f"{text[:20]} in it is not a finite number")
    return number
