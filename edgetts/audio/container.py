"""Was a recording cut off? What the container says about its own length, before anything is decoded.

In: an open binary file and its size in bytes. Out: whether the container promises more than is there.
libsndfile hides this for some formats (it shortens a WAV to what it finds, and plays a torn Ogg as if it
ended there), so the few header fields are read here. Nothing here knows how samples are coded.

Sources: RIFF/RF64 (EBU Tech 3306), Ogg (RFC 3533), MP3 frame headers with the Xing/Info tag.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

RIFF_MAGICS = (b"RIFF", b"RF64", b"RIFX")
RIFF_HEADER_BYTES = 12
CHUNK_HEADER_BYTES = 8
# Writers that stream do not know the length and leave a huge one: 0x7FFFFFFF (sox), 0xFFFFFFFF (ffmpeg)
# or a little less. No honest chunk is this long in a file that we accept.
UNKNOWN_LENGTH = 0x7FFF0000
MAX_CHUNKS = 4096  # a damaged header must not make us walk for ever

OGG_MAGIC = b"OggS"
OGG_FLAGS_OFFSET = 5
OGG_END_OF_STREAM = 0x04
OGG_MAX_PAGE_BYTES = 27 + 255 + 255 * 255

ID3_MAGIC = b"ID3"
ID3_HEADER_BYTES = 10
XING_SEARCH_BYTES = 512  # the tag lies in the first frame
XING_MAGICS = (b"Xing", b"Info")
XING_HAS_FRAMES = 0x1
XING_HAS_BYTES = 0x2
XING_SLACK = 0.99  # taggers that rewrite the file leave the count a little off


def is_cut_off(file: BinaryIO, size: int) -> bool:
    """Whether the container says that more data should follow. Leaves `file` at an arbitrary position.

    False also when the format does not say: only a decoder can tell then. Raises nothing on damaged
    headers (the decoder reports those).
    """
    file.seek(0)
    magic = file.read(4)
    if magic in RIFF_MAGICS:
        return _riff_is_cut_off(file, size, ">" if magic == b"RIFX" else "<")
    if magic == OGG_MAGIC:
        return _ogg_is_cut_off(file, size)
    return _mp3_is_cut_off(file, size)


def _riff_is_cut_off(file: BinaryIO, size: int, endian: str) -> bool:
    position = RIFF_HEADER_BYTES
    for _ in range(MAX_CHUNKS):
        file.seek(position)
        header = file.read(CHUNK_HEADER_BYTES)
        if len(header) < CHUNK_HEADER_BYTES:
            # No data chunk at all: a file that ends inside its header, or one without sound.
            return True
        name, length = header[:4], struct.unpack(endian + "I", header[4:])[0]
        position += CHUNK_HEADER_BYTES
        if name == b"data":
            return bool(length < UNKNOWN_LENGTH and position + length > size)
        position += length + length % 2  # chunks are padded to even lengths
    return False


def _ogg_is_cut_off(file: BinaryIO, size: int) -> bool:
    file.seek(max(0, size - OGG_MAX_PAGE_BYTES))
    tail = file.read(OGG_MAX_PAGE_BYTES)
    last_page = tail.rfind(OGG_MAGIC)
    if last_page < 0 or last_page + OGG_FLAGS_OFFSET >= len(tail):
        return True
    return not tail[last_page + OGG_FLAGS_OFFSET] & OGG_END_OF_STREAM


def _mp3_is_cut_off(file: BinaryIO, size: int) -> bool:
    file.seek(0)
    head = file.read(ID3_HEADER_BYTES)
    start = 0
    if head[:3] == ID3_MAGIC and len(head) == ID3_HEADER_BYTES:
        # A "synchsafe" size: seven bits a byte.
        start = ID3_HEADER_BYTES + sum((b & 0x7F) << (7 * (3 - i)) for i, b in enumerate(head[6:10]))
    file.seek(start)
    frame = file.read(XING_SEARCH_BYTES)
    # Frame sync: eleven set bits. Anything else is no MP3, or one that starts with junk: no verdict.
    if len(frame) < 4 or frame[0] != 0xFF or frame[1] & 0xE0 != 0xE0:
        return False
    for magic in XING_MAGICS:
        at = frame.find(magic)
        if at < 0 or at + 16 > len(frame):
            continue
        flags = struct.unpack_from(">I", frame, at + 4)[0]
        if flags & XING_HAS_BYTES:
            n_bytes = struct.unpack_from(">I", frame, at + (12 if flags & XING_HAS_FRAMES else 8))[0]
            return bool(size - start < n_bytes * XING_SLACK)
    return False
