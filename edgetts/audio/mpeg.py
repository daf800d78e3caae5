"""Finds and counts the frames of MPEG audio (MP3).

In: an open binary file. Out: `MpegStream`: the byte ranges that are frames, after a tag frame with their correct
number. Without this, a decoder guesses the length from the first frames, which is wrong for variable bit rates, or
trusts a tag that counts only the first of several concatenated files; and it fails at other data between frames.

Sources: ISO 11172-3 and 13818-3 (frame headers), the Xing/Info tag as LAME writes it, ID3v2.4.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from edgetts.audio.splice import Piece

ID3_MAGIC = b"ID3"
ID3_HEADER_BYTES = 10
MAX_TAGS = 64  # in a row; files have one or two
SEARCH_BYTES = 1 << 16  # of other data that is skipped before or between frames
HEADER_BYTES = 4
MPEG_1, MPEG_2, MPEG_25 = 3, 2, 0  # version field of the header
LAYER_3, LAYER_2, LAYER_1 = 1, 2, 3  # layer field
_SAMPLE_RATES = {MPEG_1: (44_100, 48_000, 32_000), MPEG_2: (22_050, 24_000, 16_000), MPEG_25: (11_025, 12_000, 8_000)}
_KILOBITS_MPEG_1 = {
    LAYER_1: (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    LAYER_2: (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    LAYER_3: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
}
_KILOBITS_MPEG_2 = {
    LAYER_1: (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    LAYER_2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    LAYER_3: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
TAG_MAGICS = (b"Xing", b"Info")
TAG_HAS_FRAMES, TAG_HAS_BYTES = 0x1, 0x2
TAG_BITRATE_INDEX = 9  # a frame of this bit rate has room for the tag in every version
TAG_SLACK, FEW_FRAMES = 0.01, 2  # tolerance: programs that edit a file leave the count slightly wrong
MANY_FRAMES = 1 << 26  # written if not all frames were counted: more than any accepted file has


@dataclass(frozen=True)
class _Header:
    version: int
    layer: int
    sample_rate: int  # Hz
    is_mono: bool
    n_bytes: int
    n_samples: int

    def continues(self, other: _Header) -> bool:
        return (self.version, self.layer, self.sample_rate) == (other.version, other.layer, other.sample_rate)


@dataclass(frozen=True)
class MpegStream:
    """pieces: for the decoder, in order. is_truncated: the file has fewer frames than its tag declares."""

    pieces: tuple[Piece, ...]
    is_truncated: bool = False


def id3_end(file: BinaryIO, position: int = 0) -> int:
    """End of the ID3v2 tags (pictures, titles) at `position`, of the first MAX_TAGS."""
    for _ in range(MAX_TAGS):
        file.seek(position)
        head = file.read(ID3_HEADER_BYTES)
        if len(head) < ID3_HEADER_BYTES or head[:3] != ID3_MAGIC:
            return position
        # A "synchsafe" size: seven bits a byte.
        position += ID3_HEADER_BYTES + sum((b & 0x7F) << (7 * (3 - i)) for i, b in enumerate(head[6:10]))
    return position


def mpeg_stream(file: BinaryIO, size: int, wanted_seconds: float) -> MpegStream | None:
    """The frames of the file, counted up to `wanted_seconds`; None if there are no frames of known length."""
    first = _next_frame(file, id3_end(file))
    if first is None:
        return None
    start, header = first
    tag = _tag(file, start, header)
    runs: list[list[int]] = []
    n_frames = 0
    wanted_frames = wanted_seconds * header.sample_rate / header.n_samples
    end = start
    for n_frames, (at, frame) in enumerate(_frames(file, first), 1):
        if not runs or runs[-1][1] != at:
            runs.append([at, at])
        end = runs[-1][1] = min(at + frame.n_bytes, size)
        if n_frames > wanted_frames:
            runs[-1][1] = size
            break
    counted_all = end == runs[-1][1]
    if not counted_all:
        n_frames = MANY_FRAMES
    sound = [range(*run) for run in runs]
    if tag is None:
        added = (_tag_frame(file, start, header, n_frames),) if header.layer == LAYER_3 else ()
        return MpegStream((*added, *sound))
    after_tag = (range(start + header.n_bytes, runs[0][1]), *sound[1:])
    if not tag.n_frames:
        return MpegStream((_tag_frame(file, start, header, n_frames), *after_tag))
    n_missing = tag.n_frames - (n_frames - 1)
    is_truncated = counted_all and n_missing > max(FEW_FRAMES, TAG_SLACK * tag.n_frames)
    is_correct = not counted_all or n_frames - 1 == tag.n_frames  # the tag's own frame is not counted
    if is_correct and len(runs) == 1:
        return MpegStream(tuple(sound))
    n_bytes = sum(map(len, sound))
    corrected = tag.corrected(max(tag.n_frames, n_frames - 1), n_bytes)
    return MpegStream((corrected, *after_tag), is_truncated)


def _frames(file: BinaryIO, first: tuple[int, _Header]) -> Iterator[tuple[int, _Header]]:
    found: tuple[int, _Header] | None = first
    while found is not None:
        at, header = found
        yield at, header
        file.seek(at + header.n_bytes)
        follower = _header(file.read(HEADER_BYTES))
        if follower is not None and header.continues(follower):
            found = at + header.n_bytes, follower
        else:
            found = _next_frame(file, id3_end(file, at + header.n_bytes), like=header)


def _next_frame(file: BinaryIO, position: int, like: _Header | None = None) -> tuple[int, _Header] | None:
    """The first frame from `position` on that is followed by another one."""
    file.seek(position)
    data = file.read(SEARCH_BYTES + HEADER_BYTES)
    at = data.find(0xFF)
    while 0 <= at < SEARCH_BYTES:
        header = _header(data[at : at + HEADER_BYTES])
        if header is not None and (like is None or like.continues(header)):
            file.seek(position + at + header.n_bytes)
            follower = _header(file.read(HEADER_BYTES))
            if follower is not None and header.continues(follower):
                return position + at, header
        at = data.find(0xFF, at + 1)
    return None


def _header(data: bytes) -> _Header | None:
    """A frame header; None for anything else and for the free format, which declares no length."""
    if len(data) < HEADER_BYTES or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
        return None
    version, layer = data[1] >> 3 & 3, data[1] >> 1 & 3
    bitrate_index, rate_index, padding = data[2] >> 4, data[2] >> 2 & 3, data[2] >> 1 & 1
    if version not in _SAMPLE_RATES or layer == 0 or bitrate_index in (0, 15) or rate_index == 3:
        return None
    sample_rate = _SAMPLE_RATES[version][rate_index]
    kilobits = (_KILOBITS_MPEG_1 if version == MPEG_1 else _KILOBITS_MPEG_2)[layer][bitrate_index - 1]
    n_samples = 384 if layer == LAYER_1 else 576 if layer == LAYER_3 and version != MPEG_1 else 1152
    slot = 4 if layer == LAYER_1 else 1  # bytes, the unit of lengths
    n_bytes = (n_samples // 8 // slot * kilobits * 1000 // sample_rate + padding) * slot
    return _Header(version, layer, sample_rate, data[3] >> 6 == 3, n_bytes, n_samples)


@dataclass(frozen=True)
class _Tag:
    """The frame that holds the Xing or Info tag."""

    frame: bytes
    at: int  # offset of the tag in the frame
    flags: int
    n_frames: int  # 0: not declared

    def corrected(self, n_frames: int, n_bytes: int) -> bytes:
        """The same frame with these counts."""
        frame, at = bytearray(self.frame), self.at + 8
        for flag, value in ((TAG_HAS_FRAMES, n_frames), (TAG_HAS_BYTES, n_bytes)):
            if self.flags & flag:
                struct.pack_into(">I", frame, at, value)
                at += 4
        return bytes(frame)


def _tag_at(header: _Header) -> int:
    """Offset of a tag in its frame: after the side information, which is zero."""
    if header.version == MPEG_1:
        return HEADER_BYTES + (17 if header.is_mono else 32)
    return HEADER_BYTES + (9 if header.is_mono else 17)


def _tag(file: BinaryIO, start: int, header: _Header) -> _Tag | None:
    file.seek(start)
    frame = file.read(header.n_bytes)
    at = _tag_at(header)
    if header.layer != LAYER_3 or frame[at : at + 4] not in TAG_MAGICS or len(frame) < at + 16:
        return None
    flags, n_frames = struct.unpack_from(">II", frame, at + 4)
    return _Tag(frame, at, flags, n_frames if flags & TAG_HAS_FRAMES else 0)


def _tag_frame(file: BinaryIO, start: int, header: _Header, n_frames: int) -> bytes:
    """A silent frame whose tag declares `n_frames` frames after it."""
    file.seek(start)
    sync, protection, rates, mode = file.read(HEADER_BYTES)
    rates = TAG_BITRATE_INDEX << 4 | rates & 0x0C
    head = bytes((sync, protection | 1, rates, mode))
    own = _header(head)
    assert own is not None
    tag = TAG_MAGICS[1] + struct.pack(">II", TAG_HAS_FRAMES, n_frames)
    return (head + bytes(_tag_at(header) - HEADER_BYTES) + tag).ljust(own.n_bytes, b"\0")
