"""Checks the header of a safetensors file before the safetensors library reads it.

In: a path. Out: the table of its tensors, or a `PackError`. A header that is too long, too deeply nested or points
beyond the end of the file is refused before anything is allocated for it.
"""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path
from typing import Any

from edgetts.errors import PackError
from edgetts.pack.plain_json import InvalidJSON, read_json

METADATA = "__metadata__"
MAX_HEADER_BYTES = 4 << 20  # real ones have some 100 bytes a tensor
_MAX_DIMENSIONS = 8
_LENGTH_BYTES = 8  # of the header, little-endian, before the JSON
_BYTES = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}


def tensor_header(path: Path) -> dict[str, Any]:
    """Name to dtype, shape and offsets of every tensor, and the metadata. Raises PackError, naming the file."""
    try:
        return read_header(path)
    except FileNotFoundError:
        raise PackError(f"The pack is incomplete: {path} is missing; copy or convert it again.") from None
    except OSError as error:
        raise PackError(f"{path} cannot be read ({error.strerror or error}); check who may read it.") from None
    except InvalidJSON as error:
        raise PackError(f"{path} is not a valid tensor file ({error}); copy or convert the pack again.") from None


def read_header(path: Path) -> dict[str, Any]:
    """The same for any file. Raises OSError, and InvalidJSON, whose text completes a sentence."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = file.read(_LENGTH_BYTES)
        n_bytes = struct.unpack("<Q", length)[0] if len(length) == _LENGTH_BYTES else size
        if n_bytes > min(MAX_HEADER_BYTES, size - _LENGTH_BYTES):
            raise InvalidJSON(f"its header would be {n_bytes} bytes long")
        header: dict[str, Any] = read_json(file.read(n_bytes), max_bytes=MAX_HEADER_BYTES)
    if not isinstance(header, dict):
        raise InvalidJSON("its header is not a table")
    problem = _problem(header, size - _LENGTH_BYTES - n_bytes)
    if problem is not None:
        raise InvalidJSON(problem)
    return header


def _problem(header: dict[str, Any], n_data: int) -> str | None:
    """What is wrong with the table, or None. Compares every shape with the number of bytes stored for it."""
    for name, entry in header.items():
        if name == METADATA:
            if not isinstance(entry, dict) or not all(isinstance(value, str) for value in entry.values()):
                return "its metadata is not a table of strings"
            continue
        where = f"tensor {name[:80]!r}"
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            return f"{where} lacks dtype, shape or offsets"
        shape, offsets = entry["shape"], entry["data_offsets"]
        if not _sizes(shape) or not _sizes(offsets) or len(offsets) != 2 or not offsets[0] <= offsets[1] <= n_data:
            return f"{where} lies outside the file"
        width = _BYTES.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
        if width is not None and width * math.prod(shape) != offsets[1] - offsets[0]:
            return f"{where} has a size that does not match its shape"
    return None


def _sizes(values: Any) -> bool:
    return (
        isinstance(values, list)
        and len(values) <= _MAX_DIMENSIONS
        and all(isinstance(v, int) and not isinstance(v, bool) and v >= 0 for v in values)
    )
