"""Sound into a file piece by piece, so that an hour of speech takes no more memory than a second of it.

In: pieces of mono float32 samples in [-1, 1]. Out: the bytes of `encode.encode` of all of them, in an open file or in
one that appears whole or not at all. It does not know where the samples come from.
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

from edgetts.audio import encode
from edgetts.audio.encode import Format, Samples
from edgetts.audio.overwrite import check_kind
from edgetts.errors import AudioError
from edgetts.files import atomic_file


class _Outlet:
    """A file as libsndfile calls it, which cannot be told what went wrong: it is kept to be raised afterwards."""

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
        raise io.UnsupportedOperation("read")  # nobody reads what is written

    def _try(self, work: Callable[[], int]) -> int:
        try:
            return work()
        except OSError as error:
            self.error = self.error or error
            return 0


class SoundWriter:
    """`with SoundWriter(file, rate, format) as writer: writer.write(samples)`; the end of the block completes the file.

    file: open for writing, and seekable unless `streamed`, which leaves the sizes out of a WAV header. Raises
    AudioError when a sample is not finite, the encoder fails, or a WAV file would be too long, OSError of the file.
    """

    def __init__(self, file: BinaryIO, sample_rate: int, format: Format, *, streamed: bool = False) -> None:
        self._file = file
        self._format = format
        self._sample_rate = sample_rate
        self._streamed = streamed
        self._start = 0
        self._outlet = _Outlet(file)
        self._encoder: Any = None
        self._resampler: Any = None
        self.n_samples = 0  # of those that were given

    def __enter__(self) -> SoundWriter:
        if self._format.container is None:
            if self._format.name == "wav":
                self._start = 0 if self._streamed else self._file.tell()
                self._file.write(encode.wav_header(self._sample_rate, None))
            return self
        import soundfile

        rate = self._sample_rate
        if self._format.rates and rate not in self._format.rates:
            import soxr

            rate = encode.codec_rate(rate, self._format.rates)
            self._resampler = soxr.ResampleStream(self._sample_rate, rate, 1, dtype="float32", quality="HQ")
        with self._told():
            self._encoder = soundfile.SoundFile(
                *(self._outlet, "w", rate, 1), format=self._format.container, subtype=self._format.subtype
            )
        return self

    def write(self, samples: Samples) -> None:
        """The next samples (S,)."""
        for start in range(0, len(samples), encode.ENCODE_BLOCK_SAMPLES):
            self._write(samples[start : start + encode.ENCODE_BLOCK_SAMPLES])

    def _write(self, samples: Samples) -> None:
        pcm = encode.to_pcm16(samples)
        self.n_samples += len(samples)
        if self._encoder is None:
            if self._format.name == "wav" and not self._streamed:
                encode.wav_header(self._sample_rate, self.n_samples)  # raises where it is too long
            self._file.write(pcm)
        elif self._format.subtype == "PCM_16":  # whole numbers for lossless formats, the same as in WAV
            self._encode(np.frombuffer(pcm, "<i2").astype(np.int16))
        elif self._resampler is not None:
            self._encode(np.clip(self._resampler.resample_chunk(samples), -1.0, 1.0))
        else:
            self._encode(np.clip(samples, -1.0, 1.0))

    def _encode(self, values: Any) -> None:
        with self._told():
            self._encoder.write(values)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        import soundfile

        try:
            yield
        except (soundfile.LibsndfileError, RuntimeError) as error:
            if self._outlet.error is None:
                name = self._format.name
                raise AudioError(f"The speech could not be written as {name} ({error}); try wav.") from error
        if self._outlet.error is not None:
            raise self._outlet.error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._encoder is not None:
            if kind is None and self._resampler is not None:
                last = self._resampler.resample_chunk(np.zeros(0, np.float32), last=True)
                self._encode(np.clip(last, -1.0, 1.0))
            with self._told():
                self._encoder.close()
        elif kind is None and self._format.name == "wav" and not self._streamed:
            end = self._file.tell()
            self._file.seek(self._start)
            self._file.write(encode.wav_header(self._sample_rate, self.n_samples))
            self._file.seek(end)


class _ToldWriter(SoundWriter):
    """Errors of the system are sentences about the file."""

    path: str | os.PathLike[str] = ""

    def write(self, samples: Samples) -> None:
        with encode.told_os_errors(self.path):
            super().write(samples)


@contextlib.contextmanager
def sound_file(path: str | os.PathLike[str], sample_rate: int, format: Format) -> Iterator[SoundWriter]:
    """A writer for the file at `path`, which is there, whole, when the block has ended well, and else is what it was.

    Raises UsageError where it cannot be written; errors of the block itself stay what they are.
    """
    encode.check_target(path)
    check_kind(path, encode.SOUND)
    stack = contextlib.ExitStack()
    with encode.told_os_errors(path):
        file = stack.enter_context(atomic_file(path))
        if not file.seekable():  # a device or a pipe: the header comes first and says how long it is
            file = stack.enter_context(_copied(file))
        writer = stack.enter_context(_ToldWriter(file, sample_rate, format))
    assert isinstance(writer, _ToldWriter)
    writer.path = path
    try:
        yield writer
    except BaseException:
        with encode.told_os_errors(path):  # closing may fail, too
            stack.__exit__(*sys.exc_info())
        raise
    with encode.told_os_errors(path):
        stack.close()


@contextlib.contextmanager
def copied_sound(file: BinaryIO, sample_rate: int, format: Format, *, streamed: bool = False) -> Iterator[SoundWriter]:
    """A writer whose bytes go to `file` when the block has ended well, all at once: it need not be seekable."""
    with _copied(file) as kept, SoundWriter(kept, sample_rate, format, streamed=streamed) as writer:
        yield writer


@contextlib.contextmanager
def _copied(file: BinaryIO) -> Iterator[BinaryIO]:
    with tempfile.TemporaryFile() as kept:
        yield kept
        kept.seek(0)
        shutil.copyfileobj(kept, file)
        file.flush()
