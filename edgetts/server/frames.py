"""The framing protocol between daemon and clients on the Unix socket.

A frame: one byte for its kind, four bytes for the payload length (little-endian), then the payload. A connection
carries one request: the daemon sends HELLO, the client OPTIONS if it has some and REQUEST, then TEXT and END if the
request has no text; the daemon answers with STARTED, SOUND (length of a JSON table, the table, float32 samples), or
PLAYED if it plays the speech itself, and REPORT, or with ERROR. Either side ends it by closing. Only needs the
standard library.

STARTED: `id`; `speed_notice`, a sentence if playback starts late, else null.
OPTIONS: `plays`, "client" or "server": the speech is played, so it waits until no other speech is; `device`: of the
server's loudspeaker; `interrupts`: ends other speech that is played or waits for that.
"""

from __future__ import annotations

import json
import struct
from typing import Any

from edgetts.errors import GenerationError

HELLO, OPTIONS, REQUEST, TEXT, END = b"h", b"o", b"r", b"t", b"e"
STARTED, SOUND, PLAYED, REPORT, ERROR = b"s", b"a", b"p", b"z", b"x"
PROTOCOL = 2
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
    """Kind and payload length from a frame's first bytes. Raises GenerationError for an invalid length."""
    kind, length = HEAD.unpack(data)
    if length > MAX_FRAME_BYTES:
        raise GenerationError("The server at the socket is not an edgetts daemon.")
    return kind, length
