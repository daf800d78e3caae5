"""Streamed output: speech is played or written to standard output while it is synthesized.

In: a stream of chunks. Out: sound, bytes, a file, a status line on a terminal. Keeps no samples. Ctrl-C stops playback
at once and restores the terminal.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, cast

from edgetts.cli.say.finish import speech_file
from edgetts.cli.say.output import Output
from edgetts.cli.text_input import recode_hint
from edgetts.errors import Cancelled, UsageError, one_line

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from edgetts.api import SpeechStream
    from edgetts.audio.playback.sink import Sink
    from edgetts.audio.writer import SoundWriter
    from edgetts.server.client import RemoteStream

READ_BYTES = 1 << 16
STATUS_EVERY_S = 0.1
STATUS_TEXT = 48  # characters of the current text


def read_stdin() -> Iterator[str]:
    """Standard input in pieces of any length, as it arrives. Raises UsageError if it is closed or not UTF-8."""
    if sys.stdin is None:
        raise UsageError("Standard input is closed: give the text as an argument or with -f FILE.")
    decoder: codecs.IncrementalDecoder | None = None
    n_read = 0
    while True:
        data = _read_some()
        if decoder is None:
            is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # as Windows shells write it
            decoder = codecs.getincrementaldecoder("utf-16" if is_utf16 else "utf-8-sig")()
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            n_pending = len(error.object) - len(data)  # bytes of an incomplete character from earlier reads
            raise UsageError(
                f"The text in standard input is not UTF-8 (byte 0x{error.object[error.start]:02x} at position "
                f"{n_read - n_pending + error.start}): {recode_hint(error.object[error.start :])}."
            ) from None
        n_read += len(data)
        if text:
            yield text
        if not data:
            return


def _read_some() -> bytes:
    """The available bytes, at least one; none at the end."""
    try:
        descriptor = sys.stdin.fileno()
    except (OSError, ValueError):  # not a real file
        return bytes(sys.stdin.buffer.read(READ_BYTES))
    # Not through Python's buffer: a daemon thread that blocks in it would block the exit of the process.
    return os.read(descriptor, READ_BYTES)


def open_sink(device: str | None) -> Sink:
    """A sink for the device whose name contains `device`, or for the system's default."""
    from edgetts.audio.playback.portaudio import PortAudioSink

    return PortAudioSink(device)


def print_devices() -> None:
    """Print the output devices, one a line."""
    from edgetts.audio.playback.devices import list_devices

    for device in list_devices():
        default = "  (default)" if device.is_default else ""
        print(f"{device.name}  [{device.host_api}, {device.channels} ch, {device.default_rate} Hz]{default}")


def speak(stream: SpeechStream | RemoteStream, sink: Sink | None, output: Output, *, quiet: bool) -> int:
    """Play and write a stream to its end. Returns its number of samples.

    Raises errors of stream, device, pipe and file.
    """
    from edgetts.audio.formats import wav_header

    pipe: BinaryIO | None = None
    header = b""
    if output.to_stdout and output.format is not None:
        pipe = sys.stdout.buffer
        header = b"" if output.format.name == "pcm" else wav_header(stream.sample_rate, None)
    start = pipe.tell() if pipe is not None and output.is_redirected else None
    with contextlib.ExitStack() as stack:
        stack.enter_context(stream)
        file = None
        if output.target is not None and not output.to_stdout:
            file = stack.enter_context(speech_file(output, stream.sample_rate))
        status = stack.enter_context(StatusLine(enabled=not quiet))
        n_samples = output_chunks(stream, sink, pipe, header, status, file)
    if pipe is not None and start is not None and header and not _is_appending(pipe):
        end = pipe.tell()
        pipe.seek(start)
        pipe.write(wav_header(stream.sample_rate, n_samples))  # with the final length
        pipe.seek(end)
        pipe.flush()
    return n_samples


def _is_appending(file: BinaryIO) -> bool:
    """Whether the file is open in append mode (`>>` of a shell), where seeking has no effect on writes."""
    try:
        import fcntl
    except ImportError:  # Windows
        return False
    return bool(fcntl.fcntl(file.fileno(), fcntl.F_GETFL) & os.O_APPEND)


class StatusLine:
    """A status line with the current text on stderr, if that is a terminal; erased at the end."""

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled and sys.stderr is not None and sys.stderr.isatty()
        self._shown_at = 0.0

    def __enter__(self) -> StatusLine:
        return self

    def __exit__(self, *_: object) -> None:
        if self._enabled and self._shown_at:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def __call__(self, text: str, rtf: float, buffered_s: float | None) -> None:
        now = time.monotonic()
        if not self._enabled or now - self._shown_at < STATUS_EVERY_S:
            return
        self._shown_at = now
        line = one_line(text)
        line = line if len(line) <= STATUS_TEXT else line[: STATUS_TEXT - 1] + "…"
        buffered = "" if buffered_s is None else f"  buffer {buffered_s:4.1f} s"
        print(f"\r\x1b[K{line:{STATUS_TEXT}}  RTF {rtf:4.2f}{buffered}", end="", file=sys.stderr, flush=True)


def output_chunks(
    stream: SpeechStream | RemoteStream,
    sink: Sink | None,
    pipe: BinaryIO | None,
    header: bytes,
    status: StatusLine,
    file: SoundWriter | None = None,
) -> int:
    """Play and write all chunks as they arrive. Returns their number of samples.

    pipe: gets `header`, then 16-bit samples. Raises errors of stream, device, pipe and file.
    """
    from edgetts.audio.formats import to_pcm16
    from edgetts.server.client import RemoteStream

    remote = stream if isinstance(stream, RemoteStream) else None
    n_samples = 0
    try:
        if remote is not None and sink is not None:
            remote.on_end(sink.abort)
        if pipe is not None:
            pipe.write(header)
            pipe.flush()
        for chunk in stream:
            samples = cast("npt.NDArray[np.float32]", chunk.samples)
            n_samples += len(samples)
            if pipe is not None and len(samples):
                pipe.write(to_pcm16(samples))
                pipe.flush()
            if file is not None:
                file.write(samples)
            if sink is not None:
                sink.prebuffer_s = stream.prebuffer_s
                sink.write(samples)
                if chunk.awaits_text:
                    sink.end()  # no underrun: the next text has not arrived yet
            rtf = stream.compute_seconds * stream.sample_rate / max(n_samples, 1)
            status(chunk.text, rtf, sink.stats.buffered_s if sink is not None else None)
        if sink is not None:
            sink.drain()
    except BaseException as error:  # Ctrl-C, too: stop playback first
        if sink is not None:
            sink.abort()
        ended = remote.why_ended() if remote is not None and isinstance(error, Cancelled) else None
        stream.close()
        if ended is not None:
            raise ended from None
        raise
    return n_samples
