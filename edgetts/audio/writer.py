"""Writes sound files incrementally, in constant memory.

In: chunks of mono float32 samples in [-1, 1]. Out: the bytes that `encode` gives for all of them, in an open
file or in a file that is replaced atomically. Does not know where the samples come from.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np

from edgetts.audio import formats
from edgetts.audio.formats import SOUND, Format, Samples, check_target
from edgetts.audio.overwrite import check_kind
from edgetts.errors import AudioError
from edgetts.files import atomic_file


class _ErrorKeeper:
    """A file for libsndfile's callbacks, which cannot raise: the first error is kept and raised after the call."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        return self._try(lambda: self._file.write(data))

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._try(lambda: self._file.seek(offset, whence))

    def tell(self) -> int:
        return self._try(self._file.tell)

    def read(self, _size: int) -> bytes:
        raise io.UnsupportedOperation("read")

    def _try(self, work: Callable[[], int]) -> int:
        try:
            return work()
        except OSError as error:
            self.error = self.error or error
            return 0


class SoundWriter:
    """`with SoundWriter(file, rate, format) as writer: writer.write(samples)`; the end of the block completes the file.

    file: open for writing, and seekable unless `streamed`. streamed: write a WAV header of unknown length.
    Raises AudioError if a sample is not finite, the encoder fails or a WAV file gets too long, and OSError of the file.
    """

    def __init__(self, file: BinaryIO, sample_rate: int, format: Format, *, streamed: bool = False) -> None:
        self._file = file
        self._format = format
        self._sample_rate = sample_rate
        self._streamed = streamed
        self._start = 0
        self._kept = _ErrorKeeper(file)
        self._encoder: Any = None
        self._resampler: Any = None
        self.n_samples = 0  # written, at `sample_rate`

    def __enter__(self) -> SoundWriter:
        if self._format.container is None:
            if self._format.name == "wav":
                self._start = 0 if self._streamed else self._file.tell()
                self._file.write(formats.wav_header(self._sample_rate, None))
            return self
        import soundfile

        rate = self._sample_rate
        if self._format.rates and rate not in self._format.rates:
            import soxr

            rate = formats.codec_rate(rate, self._format.rates)
            self._resampler = soxr.ResampleStream(self._sample_rate, rate, 1, dtype="float32", quality="HQ")
        with self._encoder_errors():
            self._encoder = soundfile.SoundFile(
                *(self._kept, "w", rate, 1), format=self._format.container, subtype=self._format.subtype
            )
        return self

    def write(self, samples: Samples) -> None:
        """The next samples (S,)."""
        for start in range(0, len(samples), formats.ENCODE_BLOCK_SAMPLES):
            self._write(samples[start : start + formats.ENCODE_BLOCK_SAMPLES])

    def _write(self, samples: Samples) -> None:
        pcm = formats.to_pcm16(samples)
        self.n_samples += len(samples)
        if self._encoder is None:
            if self._format.name == "wav" and not self._streamed:
                formats.wav_header(self._sample_rate, self.n_samples)  # raises if the file gets too long
            self._file.write(pcm)
        elif self._format.subtype == "PCM_16":  # lossless formats get the integers of WAV
            self._encode(np.frombuffer(pcm, "<i2").astype(np.int16))
        elif self._resampler is not None:
            self._encode(np.clip(self._resampler.resample_chunk(samples), -1.0, 1.0))
        else:
            self._encode(np.clip(samples, -1.0, 1.0))

    def _encode(self, values: Any) -> None:
        with self._encoder_errors():
            self._encoder.write(values)

    @contextlib.contextmanager
    def _encoder_errors(self) -> Iterator[None]:
        import soundfile

        try:
            yield
        except (soundfile.LibsndfileError, RuntimeError) as error:
            if self._kept.error is None:
                name = self._format.name
                raise AudioError(f"The speech could not be written as {name} ({error}); try wav.") from error
        if self._kept.error is not None:
            raise self._kept.error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._encoder is not None:
            if kind is None and self._resampler is not None:
                last = self._resampler.resample_chunk(np.zeros(0, np.float32), last=True)
                self._encode(np.clip(last, -1.0, 1.0))
            with self._encoder_errors():
                self._encoder.close()
        elif kind is None and self._format.name == "wav" and not self._streamed:
            end = self._file.tell()
            self._file.seek(self._start)
            self._file.write(formats.wav_header(self._sample_rate, self.n_samples))
            self._file.seek(end)


class _PathWriter(SoundWriter):
    """A writer whose OSErrors are UsageErrors that name the file."""

    path: str | os.PathLike[str] = ""

    def write(self, samples: Samples) -> None:
        with formats.os_errors_as_usage(self.path):
            super().write(samples)


@contextlib.contextmanager
def sound_file(path: str | os.PathLike[str], sample_rate: int, format: Format) -> Iterator[SoundWriter]:
    """A writer for the file at `path`, which is replaced when the block ends without an error and else unchanged.

    Raises UsageError if it cannot be written; errors of the block pass unchanged.
    """
    check_target(path)
    check_kind(path, SOUND)
    stack = contextlib.ExitStack()
    with formats.os_errors_as_usage(path):
        file = stack.enter_context(atomic_file(path))
        if not file.seekable():  # a device or a pipe: spooled, because the header needs the length
            file = stack.enter_context(_spooled(file))
        writer = stack.enter_context(_PathWriter(file, sample_rate, format))
    assert isinstance(writer, _PathWriter)
    writer.path = path
    try:
        yield writer
    except BaseException:
        with formats.os_errors_as_usage(path):  # closing may fail, too
            stack.__exit__(*sys.exc_info())
        raise
    with formats.os_errors_as_usage(path):
        stack.close()


@contextlib.contextmanager
def spooled_sound(file: BinaryIO, sample_rate: int, format: Format, *, streamed: bool = False) -> Iterator[SoundWriter]:
    """A writer whose bytes are copied to `file` when the block ends without an error. `file` need not be seekable."""
    with _spooled(file) as kept, SoundWriter(kept, sample_rate, format, streamed=streamed) as writer:
        yield writer


@contextlib.contextmanager
def _spooled(file: BinaryIO) -> Iterator[BinaryIO]:
    with tempfile.TemporaryFile() as kept:
        yield kept
        kept.seek(0)
        shutil.copyfileobj(kept, file)
        file.flush()


def encode(samples: Samples, sample_rate: int, format: Format, *, streamed: bool = False) -> bytes:
    """A whole file in memory. streamed: write a WAV header of unknown length, as for a pipe.

    Raises AudioError if a sample is not finite or the encoder fails.
    """
    buffer = io.BytesIO()
    with SoundWriter(buffer, sample_rate, format, streamed=streamed) as writer:
        writer.write(samples)
    return buffer.getvalue()
