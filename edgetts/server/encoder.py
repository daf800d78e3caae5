"""Streaming encoder: chunks of samples to bytes of an audio format.

In: float32 samples at the model's rate. Out: bytes; concatenated, they are a file of the format, except for sizes in
the header, which only the end of the stream knows. `pcm` is 24 kHz, as clients of OpenAI's API expect.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import numpy as np

from edgetts.audio.formats import Samples, choose_format
from edgetts.audio.writer import SoundWriter
from edgetts.errors import UsageError
from edgetts.server.faults import refused

PCM_RATE = 24_000  # Hz


@dataclass(frozen=True)
class Kind:
    """An output format by its API name."""

    name: str
    media_type: str


KINDS = {
    kind.name: kind
    for kind in (
        Kind("mp3", "audio/mpeg"),
        Kind("opus", "audio/ogg; codecs=opus"),
        Kind("flac", "audio/flac"),
        Kind("wav", "audio/wav"),
        Kind("pcm", "audio/pcm"),
    )
}
NO_ENCODER = ("aac",)  # formats of OpenAI's API that libsndfile cannot write


def kind_of(name: Any) -> Kind:
    """The format with this name. Raises Fault."""
    if not isinstance(name, str) or name not in KINDS:
        if name in NO_ENCODER:
            message = f"response_format {name} is not supported; use one of {', '.join(KINDS)}."
        else:
            message = f"Unknown response_format {str(name)[:40]!r}; use one of {', '.join(KINDS)}."
        raise refused(message, "response_format", "unsupported_format")
    try:
        choose_format(None, name)
    except UsageError as error:  # an old libsndfile
        raise refused(str(error), "response_format", "unsupported_format") from None
    return KINDS[name]


class Encoder:
    """`feed` chunks, then `finish`; each returns the bytes that are ready."""

    def __init__(self, kind: Kind, sample_rate: int) -> None:
        self._outlet = _Outlet()
        self._resampler: Any = None
        self.sample_rate = sample_rate
        if kind.name == "pcm" and sample_rate != PCM_RATE:
            import soxr

            self._resampler = soxr.ResampleStream(sample_rate, PCM_RATE, 1, dtype="float32", quality="HQ")
            self.sample_rate = PCM_RATE
        format = choose_format(None, kind.name)
        self._writer = SoundWriter(cast(BinaryIO, self._outlet), self.sample_rate, format, streamed=True)
        self._writer.__enter__()

    def feed(self, samples: Samples) -> bytes:
        """Encoded bytes after the next samples (S,)."""
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(samples)
        self._writer.write(samples)
        return self._outlet.take()

    def finish(self) -> bytes:
        """The last bytes."""
        if self._resampler is not None:
            self._writer.write(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))
        self._writer.__exit__(None, None, None)
        return self._outlet.take()


class _Outlet(io.RawIOBase):
    """A write-only file whose bytes are taken while it is written.

    Encoders seek back to update lengths in the header. Such writes are dropped if those bytes were already taken.
    """

    def __init__(self) -> None:
        super().__init__()
        self._ready = bytearray()
        self._length = 0  # of everything written
        self._position = 0

    def take(self) -> bytes:
        ready = bytes(self._ready)
        self._ready.clear()
        return ready

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        n_before_end = min(len(view), self._length - self._position)
        n_unsent_from = self._length - len(self._ready)
        for offset in range(n_before_end):
            place = self._position + offset - n_unsent_from
            if place >= 0:
                self._ready[place] = view[offset]
        self._ready += view[n_before_end:]
        self._position += len(view)
        self._length = max(self._length, self._position)
        return len(view)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}[whence]
        self._position = min(max(0, start + offset), self._length)
        return self._position

    def tell(self) -> int:
        return self._position

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True
