"""What daemon and clients say to each other over the Unix socket: frames of a kind and bytes.

A frame is one byte for its kind, four for the length of what follows (little-endian), then that. A connection carries
one request: the daemon says HELLO, the client REQUEST, then TEXT and END where the request has no text; the daemon
answers STARTED, SOUND (the length of a JSON table, the table, float32 samples) and REPORT, or ERROR. Either side ends
it by closing. Needs nothing but the standard library.
"""

from __future__ import annotations

import json
import struct
from typing import Any

from edgetts.errors import GenerationError

HELLO, REQUEST, TEXT, END = b"h", b"r", b"t", b"e"
STARTED, SOUND, REPORT, ERROR = b"s", b"a", b"z", b"x"
PROTOCOL = 1
MAX_FRAME_BYTES = 64 << 20

HEAD = struct.Struct("<cI")
_LENGTH = struct.Struct("<I")


def pack(kind: bytes, data: bytes = b"") -> bytes:
    return HEAD.pack(kind, len(data)) + data


def pack_table(kind: bytes, table: dict[str, Any]) -> bytes:
    return pack(kind, json.dumps(table).encode())


def pack_sound(table: dict[str, Any], samples: bytes) -> bytes:
    head = json.dumps(table).encode()
    return pack(SOUND, _LENGTH.pack(len(head)) + head + samples)


def sound_of(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The table and the samples of a SOUND frame."""
    (length,) = _LENGTH.unpack_from(data)
    start = _LENGTH.size + length
    return json.loads(data[_LENGTH.size : start]), data[start:]


def head_of(data: bytes) -> tuple[bytes, int]:
    """Kind and length of the frame that begins so. Raises GenerationError for what is no frame of ours."""
    kind, length = HEAD.unpack(data)
    if length > MAX_FRAME_BYTES:
        raise GenerationError("What answers at the socket is no daemon of edgetts.")
    return kind, length
