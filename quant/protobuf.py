"""Just enough of the protobuf wire format to read a SentencePiece model.

In: bytes. Out: (field number, value) pairs, in file order. It does not know schemas: integers are `int`, everything
else is `bytes`. Every length is checked against the remaining bytes, so a damaged file raises `WireError` and never
causes a huge allocation or an endless loop.
Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_VARINT, _FIXED64, _LENGTH_DELIMITED, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {_FIXED64: 8, _FIXED32: 4}
_MAX_VARINT_BYTES = 10  # 64 bits, 7 to a byte


class WireError(ValueError):
    """The bytes are not a protobuf message; `str(error)` says where and why."""


def read_fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yields (field number, value) for each field. Raises `WireError` on anything malformed."""
    position = 0
    while position < len(message):
        key, position = _read_varint(message, position)
        field, wire_type = key >> 3, key & 7
        if field == 0:
            raise WireError(f"field number 0 at byte {position}")
        if wire_type == _VARINT:
            value, position = _read_varint(message, position)
            yield field, value
            continue
        if wire_type == _LENGTH_DELIMITED:
            size, position = _read_varint(message, position)
        elif wire_type in _FIXED_SIZES:
            size = _FIXED_SIZES[wire_type]
        else:
            raise WireError(f"unknown wire type {wire_type} at byte {position}")
        end = position + size
        if end > len(message):
            raise WireError(f"a field at byte {position} claims {size} bytes and {len(message) - position} are left")
        yield field, message[position:end]
        position = end


def read_float(value: int | bytes) -> float:
    """A 32-bit float field. Raises `WireError` if `value` is not four bytes."""
    if not isinstance(value, bytes) or len(value) != _FIXED_SIZES[_FIXED32]:
        raise WireError("a float field does not hold four bytes")
    number: float = struct.unpack("<f", value)[0]
    return number


def read_text(value: int | bytes) -> str:
    """A string field. Raises `WireError` if `value` is not UTF-8."""
    if not isinstance(value, bytes):
        raise WireError("a text field holds a number")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise WireError("a text field is not UTF-8") from error


def read_int(value: int | bytes) -> int:
    """An integer, enum or bool field. Raises `WireError` if `value` is not a number."""
    if not isinstance(value, int):
        raise WireError("a number field holds bytes")
    return value


def read_bytes(value: int | bytes) -> bytes:
    """A bytes or sub-message field. Raises `WireError` if `value` is a number."""
    if not isinstance(value, bytes):
        raise WireError("a bytes field holds a number")
    return value


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    """The value and the position after it."""
    value = 0
    for index in range(_MAX_VARINT_BYTES):
        if position + index >= len(message):
            raise WireError("it ends in the middle of a number")
        byte = message[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    raise WireError(f"a number at byte {position} is longer than 64 bits")
