"""A read-only file spliced from byte ranges of another one and replacement bytes.

In: an open binary file and pieces, each bytes or a range of positions. Out: an object to read and seek in. The file
is never written to. Does not know formats.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from hashlib import _Hash

Piece = bytes | range  # replacement bytes, or positions in the file


class SplicedFile:
    """The file that libsndfile reads. It has no name, from which soundfile would guess a format, and never raises:
    an exception in the decoder's callback would be printed, not passed on."""

    def __init__(self, file: BinaryIO, pieces: Sequence[Piece], digest: _Hash | None = None) -> None:
        """digest: is updated with the position and bytes of every read."""
        self._file = file
        self._digest = digest
        self._pieces = [piece for piece in pieces if len(piece)]
        self._starts = [0]
        for piece in self._pieces:
            self._starts.append(self._starts[-1] + len(piece))
        self._position = 0
        self._at = 0  # index of the piece that was read last

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read(self, size: int) -> bytes:
        found = []
        while size > 0:
            data = self._read_piece(size)
            if not data:
                break
            if self._digest is not None:
                self._digest.update(self._position.to_bytes(8, "big") + data)
            found.append(data)
            size -= len(data)
            self._position += len(data)
        return b"".join(found)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._starts[-1]}.get(whence, 0)
        if base + offset < 0:
            return -1  # before the start, because of a damaged header
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def _read_piece(self, size: int) -> bytes:
        """Up to `size` bytes from the current position, within one piece."""
        if self._position >= self._starts[-1]:
            return b""
        while self._position < self._starts[self._at]:
            self._at -= 1
        while self._position >= self._starts[self._at + 1]:
            self._at += 1
        within = self._position - self._starts[self._at]
        piece = self._pieces[self._at][within : within + size]
        if isinstance(piece, bytes):
            return piece
        try:
            self._file.seek(piece.start)
            return self._file.read(len(piece))
        except (OSError, ValueError, OverflowError):
            return b""
