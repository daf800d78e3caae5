"""Reads the lengths in a recording's container and corrects them for the decoder where they are wrong.

In: an open binary file and its size in bytes. Out: `Layout`. A program that streams writes the header before it knows
the length, and some never correct it. libsndfile trusts the header for some formats, shortens the sound without an
error for others, and decodes only the first of several chained Ogg streams. Only header fields are read here, no
samples.

Sources: RIFF/RF64 (EBU Tech 3306), Sony Wave64, AIFF, Apple CAF, Sun AU, FLAC (RFC 9639), Ogg (RFC 3533).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

from edgetts.audio.mpeg import id3_end, mpeg_stream
from edgetts.audio.splice import Piece

RIFF_MAGICS = (b"RIFF", b"RF64", b"BW64", b"RIFX")
RIFF_HEADER_BYTES = 12
CHUNK_HEADER_BYTES = 8
MAX_U32 = 0xFFFFFFFF
MAX_LENGTH = 1 << 60  # of what a 64-bit field may claim: positions after it still fit 64 bits
# Streaming writers leave a huge placeholder length: 0xFFFFFFFF (ffmpeg), 0x7FFFFFFF (sox), a little less, or a round
# number. A length above this is taken for a placeholder: no accepted recording reaches it.
UNKNOWN_LENGTH = 0x70000000
MAX_CHUNKS = 4096  # bounds the walk through a damaged file
MAX_FORMAT_BYTES = 1 << 12  # of a "fmt " chunk; the longest in use take a few hundred

W64_MAGIC = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
W64_GUID_BYTES, W64_HEADER_BYTES, W64_CHUNK_BYTES = 16, 40, 24

CAF_MAGIC = b"caff"
CAF_HEADER_BYTES, CAF_CHUNK_BYTES = 8, 12
CAF_EDIT_COUNT_BYTES = 4  # at the start of the data chunk

AU_MAGIC = b".snd"
AIFF_MAGIC = b"FORM"

FLAC_MAGIC = b"fLaC"
FLAC_TOTAL_AT = 21  # offset from the magic: 4 bits of a byte shared with the sample size, then 32 bits
FLAC_MAX_TOTAL = (1 << 36) - 1

OGG_MAGIC = b"OggS"
OGG_FLAGS_OFFSET = 5
OGG_SEGMENTS_OFFSET = 26
OGG_HEADER_BYTES = 27
OGG_BEGIN_OF_STREAM, OGG_END_OF_STREAM = 0x02, 0x04
OGG_MAX_PAGE_BYTES = 27 + 255 + 255 * 255


@dataclass(frozen=True)
class Layout:
    """How to read a recording.

    pieces: what to give the decoder, in order.
    is_truncated: the header declares more data than the file holds.
    declared_frames: frames that the header declares, where `pieces` hide that from the decoder; 0: not declared.
    trusts_decoder: the length that the decoder reports is the one that the header declares.
    is_unfinished: the header was never completed; its length is ignored.
    """

    pieces: tuple[Piece, ...]
    is_truncated: bool = False
    declared_frames: int = 0
    trusts_decoder: bool = True
    is_unfinished: bool = False


def layout(file: BinaryIO, size: int, wanted_seconds: float) -> Layout:
    """The layout of the file, read as far as `wanted_seconds` need it. Leaves `file` at an arbitrary position.

    Raises nothing on damaged headers: an unknown file goes to the decoder unchanged, which reports it.
    """
    file.seek(0)
    magic = file.read(len(W64_MAGIC))
    if magic[:4] in RIFF_MAGICS:
        return _riff(file, size, magic[:4])
    if magic == W64_MAGIC:
        return _w64(file, size)
    if magic[:4] == CAF_MAGIC:
        return _caf(file, size)
    if magic[:4] == AU_MAGIC:
        return _au(file, size)
    if magic[:4] == AIFF_MAGIC:
        return _aiff(file, size)
    if magic[:4] == OGG_MAGIC:
        return Layout((range(size),), _ogg_is_truncated(file, size))
    start = id3_end(file)
    file.seek(start)
    if file.read(4) == FLAC_MAGIC:
        return _flac(file, size, start)
    mpeg = mpeg_stream(file, size, wanted_seconds)
    if mpeg is None:
        return Layout((range(size),))
    return Layout(mpeg.pieces, mpeg.is_truncated, trusts_decoder=False)


def next_ogg_stream(file: BinaryIO, position: int, size: int) -> int | None:
    """Position of the stream chained after the one at `position`, or None."""
    has_data = False  # multiplexed streams all begin before any data
    while position + OGG_HEADER_BYTES <= size:
        file.seek(position)
        header = file.read(OGG_HEADER_BYTES)
        if header[:4] != OGG_MAGIC:
            found = file.read(OGG_MAX_PAGE_BYTES).find(OGG_MAGIC)
            if found < 0:
                return None
            position += len(header) + found
            continue
        is_first = bool(header[OGG_FLAGS_OFFSET] & OGG_BEGIN_OF_STREAM)
        if is_first and has_data:
            return position
        has_data = has_data or not is_first
        n_segments = header[OGG_SEGMENTS_OFFSET]
        position += OGG_HEADER_BYTES + n_segments + sum(file.read(n_segments))
    return None


# --- RIFF and related formats ----------------------------------------------------------------------------


def _riff(file: BinaryIO, size: int, magic: bytes) -> Layout:
    """WAV: the data chunk at its real length, with a new header where the present one is wrong."""
    endian = ">" if magic == b"RIFX" else "<"
    position, form, long_length = RIFF_HEADER_BYTES, b"", 0
    for _ in range(MAX_CHUNKS):
        file.seek(position)
        header = file.read(CHUNK_HEADER_BYTES)
        if len(header) < CHUNK_HEADER_BYTES:
            # No data chunk: the file ends inside its header or has no sound.
            return Layout((range(size),), is_truncated=True)
        name, length = header[:4], struct.unpack(endian + "I", header[4:])[0]
        position += CHUNK_HEADER_BYTES
        if name == b"ds64":
            long_length = min(struct.unpack("<QQ", file.read(16).ljust(16, b"\0"))[1], MAX_LENGTH)
        elif name == b"fmt ":
            form = file.read(min(length, MAX_FORMAT_BYTES))
        elif name == b"data":
            claimed = long_length if length == MAX_U32 and magic in (b"RF64", b"BW64") else length
            return _data(file, size, range(position, position + claimed), form, endian, magic)
        position += length + length % 2  # chunks are padded to even lengths
    return Layout((range(size),))


def _data(file: BinaryIO, size: int, claimed: range, form: bytes, endian: str, magic: bytes = b"RIFF") -> Layout:
    """Layout of a file whose header declares its data chunk at `claimed`."""
    start, is_plain = claimed.start, magic in (b"RIFF", b"RIFX")
    is_unfinished = _length_was_never_written(file, size, claimed)
    is_there = claimed.stop <= size and not is_unfinished
    if (is_plain and not is_unfinished) or (is_there and magic == b"RF64"):
        return Layout((range(size),), is_truncated=not is_there and len(claimed) < UNKNOWN_LENGTH)
    sound = range(start, size if not is_there else claimed.stop)
    head = _riff_head(form, len(sound), endian)
    is_truncated = not is_there and not is_unfinished and len(claimed) < UNKNOWN_LENGTH
    return Layout((head, sound), is_truncated, is_unfinished=is_unfinished)


def _riff_head(form: bytes, n_bytes: int, endian: str = "<") -> bytes:
    """Header of a WAV file with `n_bytes` of data."""
    chunks = b"fmt " + struct.pack(endian + "I", len(form)) + form + bytes(len(form) % 2)
    chunks += b"data" + struct.pack(endian + "I", min(n_bytes, MAX_U32))
    magic = b"RIFX" if endian == ">" else b"RIFF"
    return magic + struct.pack(endian + "I", min(len(chunks) + 4 + n_bytes, MAX_U32)) + b"WAVE" + chunks


def _length_was_never_written(file: BinaryIO, size: int, claimed: range) -> bool:
    """Whether the length of a data chunk is a placeholder: more bytes follow it than it holds, and are no chunks."""
    n_after = size - claimed.stop
    if n_after <= max(len(claimed), CHUNK_HEADER_BYTES):
        return False
    position = claimed.stop + len(claimed) % 2
    for _ in range(MAX_CHUNKS):
        file.seek(position)
        header = file.read(CHUNK_HEADER_BYTES)
        if len(header) < CHUNK_HEADER_BYTES:
            return False
        length = struct.unpack("<I", header[4:])[0]
        if not (header[:4].isascii() and header[:4].decode("ascii").isprintable()) or position + length > size:
            return True
        position += CHUNK_HEADER_BYTES + length + length % 2
    return False


def _w64(file: BinaryIO, size: int) -> Layout:
    """Wave64: RIFF with longer names and lengths; a length includes the chunk's header."""
    position, form = W64_HEADER_BYTES, b""
    for _ in range(MAX_CHUNKS):
        file.seek(position)
        header = file.read(W64_CHUNK_BYTES)
        if len(header) < W64_CHUNK_BYTES:
            return Layout((range(size),), is_truncated=True)
        name, length = header[:4], min(struct.unpack("<Q", header[W64_GUID_BYTES:])[0], MAX_LENGTH)
        if name == b"fmt ":
            form = file.read(max(0, min(length - W64_CHUNK_BYTES, MAX_FORMAT_BYTES)))
        elif name == b"data":
            start = position + W64_CHUNK_BYTES
            stop = max(start, position + length)
            if start < stop <= size:
                return Layout((range(size),))
            return _data(file, size, range(start, stop), form, "<", b"W64")
        position += max(W64_CHUNK_BYTES, length + -length % 8)
    return Layout((range(size),))


def _caf(file: BinaryIO, size: int) -> Layout:
    position = CAF_HEADER_BYTES
    for _ in range(MAX_CHUNKS):
        file.seek(position)
        header = file.read(CAF_CHUNK_BYTES)
        if len(header) < CAF_CHUNK_BYTES:
            return Layout((range(size),), is_truncated=True)
        name, length = header[:4], min(struct.unpack(">q", header[4:])[0], MAX_LENGTH)
        start = position + CAF_CHUNK_BYTES
        if name == b"data":
            if CAF_EDIT_COUNT_BYTES < length <= size - start:
                return Layout((range(size),))
            # -1 means "to the end of the file" in this format.
            corrected = name + struct.pack(">q", size - start)
            is_truncated = size - start < length < UNKNOWN_LENGTH
            pieces = (range(position), corrected, range(start, size))
            return Layout(pieces, is_truncated, is_unfinished=0 <= length <= CAF_EDIT_COUNT_BYTES)
        if length < 0:
            break
        position = start + length
    return Layout((range(size),))


def _au(file: BinaryIO, size: int) -> Layout:
    file.seek(4)
    fields = file.read(8)
    if len(fields) < 8:
        return Layout((range(size),), is_truncated=True)
    start, length = struct.unpack(">II", fields)
    if start >= size or (0 < length <= size - start):
        return Layout((range(size),))
    corrected = struct.pack(">I", size - start)
    is_truncated = size - start < length < UNKNOWN_LENGTH
    return Layout((range(8), corrected, range(12, size)), is_truncated, is_unfinished=length == 0)


def _aiff(file: BinaryIO, size: int) -> Layout:
    position, common = RIFF_HEADER_BYTES, 0
    for _ in range(MAX_CHUNKS):
        file.seek(position)
        header = file.read(CHUNK_HEADER_BYTES)
        if len(header) < CHUNK_HEADER_BYTES:
            return Layout((range(size),), is_truncated=True)
        name, length = header[:4], struct.unpack(">I", header[4:])[0]
        start = position + CHUNK_HEADER_BYTES
        if name == b"COMM":
            common = start
        elif name == b"SSND":
            return _aiff_sound(file, size, position, length, common)
        position = start + length + length % 2
    return Layout((range(size),))


def _aiff_sound(file: BinaryIO, size: int, position: int, length: int, common: int) -> Layout:
    """Layout of an AIFF file with its sound chunk at `position` and its frame count in the chunk at `common`."""
    start = position + CHUNK_HEADER_BYTES
    offsets = 8  # two more fields before the samples
    file.seek(common)
    fields = file.read(8)
    if not 0 < common < position or len(fields) < 8:
        return Layout((range(size),))
    channels, frames, bits = struct.unpack(">HIH", fields)
    frame_bytes = channels * -(-bits // 8)
    is_there = offsets < length <= size - start
    if (is_there and frames) or not frame_bytes:
        return Layout((range(size),))
    n_bytes = length if is_there else size - start
    corrected = struct.pack(">I", max(0, n_bytes - offsets) // frame_bytes)
    sound = struct.pack(">I", n_bytes)
    pieces = (range(common + 2), corrected, range(common + 6, position + 4), sound, range(start, size))
    is_truncated = size - start < length < UNKNOWN_LENGTH
    return Layout(pieces, is_truncated, is_unfinished=not is_truncated)


# --- FLAC and Ogg ----------------------------------------------------------------------------------------


def _flac(file: BinaryIO, size: int, start: int) -> Layout:
    """FLAC: the sample count, 0 for unknown, is replaced by the maximum, so that the decoder reads to the end."""
    at = start + FLAC_TOTAL_AT
    file.seek(at)
    field = file.read(5)
    if len(field) < 5:
        return Layout((range(size),), is_truncated=True)
    total = int.from_bytes(field, "big") & FLAC_MAX_TOTAL
    shared = field[0] & 0xF0
    unlimited = bytes((shared | 0x0F,)) + b"\xff" * 4
    return Layout((range(start, at), unlimited, range(at + 5, size)), declared_frames=total, trusts_decoder=False)


def _ogg_is_truncated(file: BinaryIO, size: int) -> bool:
    file.seek(max(0, size - OGG_MAX_PAGE_BYTES))
    tail = file.read(OGG_MAX_PAGE_BYTES)
    last_page = tail.rfind(OGG_MAGIC)
    if last_page < 0 or last_page + OGG_FLAGS_OFFSET >= len(tail):
        return True
    return not tail[last_page + OGG_FLAGS_OFFSET] & OGG_END_OF_STREAM
