"""Client of a daemon on this machine, over its Unix socket. `edgetts say` uses it. Imports no torch.

In: a Unix socket and a `SpeechRequest`. Out: a stream with the interface of `SpeechStream`. Errors of the daemon are
raised as the exceptions that local synthesis would raise.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from edgetts import errors
from edgetts.audio.playback.player import State
from edgetts.audio.playback.sink import PlaybackStats
from edgetts.errors import Cancelled, EdgeTTSError, GenerationError, UsageError
from edgetts.request import SpeechRequest
from edgetts.server import frames
from edgetts.speech import Speech, SpokenSegment
from edgetts.streaming.chunk import AudioChunk

_CONNECT_S = 2.0
_HELLO_S = 10.0  # a daemon that was just started opens its pack first


class NoDaemon(Exception):
    """No usable daemon at the socket; the message says why."""


class Connection:
    """A connection to a daemon, for one request. hello: the daemon's description of itself."""

    def __init__(self, path: Path) -> None:
        """Raises NoDaemon."""
        try:
            found = path.stat()
            if not stat.S_ISSOCK(found.st_mode):
                raise NoDaemon(f"{path} is not a socket")
            if found.st_uid not in (os.getuid(), 0):
                raise NoDaemon(f"{path} belongs to another user")
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.settimeout(_CONNECT_S)
            self._socket.connect(str(path))
            self._socket.settimeout(_HELLO_S)
            self._file = self._socket.makefile("rb")
            kind, data = self.receive()
        except (OSError, ValueError, GenerationError) as error:
            raise NoDaemon(f"no answer from {path} ({error})") from None
        if kind == frames.ERROR:
            raise NoDaemon(str(_error(json.loads(data))))
        self.hello: Mapping[str, Any] = json.loads(data)
        if kind != frames.HELLO or self.hello.get("protocol") != frames.PROTOCOL:
            self.close()
            raise NoDaemon(f"the daemon at {path} is another version of edgetts")
        self._socket.settimeout(None)

    @property
    def sample_rate(self) -> int:
        return int(self.hello["sample_rate"])

    def receive(self) -> tuple[bytes, bytes]:
        """The next frame. Raises GenerationError if the daemon closed the connection."""
        head = self._file.read(frames.HEAD.size)
        if len(head) == frames.HEAD.size:
            kind, length = frames.head_of(head)
            data = self._file.read(length)
            if len(data) == length:
                return kind, data
        raise GenerationError(
            "The daemon closed the connection before the speech was complete: "
            "try again, or synthesize without the daemon."
        )

    def send(self, frame: bytes) -> None:
        self._socket.sendall(frame)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # also wakes a thread that is sending
        self._socket.close()

    @property
    def is_ended(self) -> bool:
        """Whether the daemon has closed the connection, whatever there is still to read. Waits for that."""
        poller = select.poll()
        poller.register(self._socket, 0)
        return bool(poller.poll())

    def start(
        self, request: SpeechRequest, pieces: Iterable[str] | None = None, options: Mapping[str, Any] | None = None
    ) -> RemoteStream:
        """Start synthesis, as `TTS.start`. options: of playback, as `frames` describes them."""
        if options:
            self.send(frames.pack_table(frames.OPTIONS, dict(options)))
        return RemoteStream(self, request, pieces)


class RemoteStream:
    """A stream of speech from the daemon, as `SpeechStream`."""

    def __init__(self, connection: Connection, request: SpeechRequest, pieces: Iterable[str] | None) -> None:
        self._connection = connection
        self.sample_rate = connection.sample_rate
        self.prebuffer_s = 0.0
        self._started_at = time.perf_counter()
        self._speech: Speech | None = None
        self._input_error: BaseException | None = None
        self._end: EdgeTTSError | None = None  # why the daemon closed the connection before the client did
        self.playback: PlaybackStats | None = None  # by the daemon
        self._is_closed = False
        connection.send(frames.pack_table(frames.REQUEST, request.to_json()))
        try:
            started = self._table(frames.STARTED)
        except BaseException:
            self.close()
            raise
        self.speed_notice: str | None = started.get("speed_notice")  # a daemon of an older version sends none
        if pieces is not None:
            threading.Thread(target=self._pump, args=(pieces,), name="edgetts-text", daemon=True).start()

    @property
    def compute_seconds(self) -> float:
        return time.perf_counter() - self._started_at if self._speech is None else self._speech.compute_seconds

    def speech(self, n_samples: int) -> Speech:
        """The report of the speech. Call it after the last chunk."""
        assert self._speech is not None and (self.playback is not None or self._speech.n_samples == n_samples)
        return self._speech

    def _pump(self, pieces: Iterable[str]) -> None:
        """Send the text as it arrives. An error in the text source ends the speech and is raised to the reader."""
        try:
            for piece in pieces:
                self._connection.send(frames.pack(frames.TEXT, piece.encode()))
            self._connection.send(frames.pack(frames.END))
        except BaseException as error:  # also a closed connection, which the reader reports
            self._input_error = error if isinstance(error, EdgeTTSError) else None
            self._connection.close()

    def __iter__(self) -> RemoteStream:
        return self

    def __next__(self) -> AudioChunk:
        if self._speech is not None or self._is_closed:
            raise StopIteration
        try:
            kind, data = self._receive()
            if kind == frames.PLAYED:
                self.playback = _stats_of(json.loads(data))
                kind, data = self._receive()
            if kind == frames.REPORT:
                # The connection stays open: the daemon lets other calls wait until this client has played.
                self._speech = _speech_of(json.loads(data))
                raise StopIteration
            table, samples = frames.sound_of(data)
        except StopIteration:
            raise
        except BaseException:
            self.close()
            if self._input_error is not None:
                raise self._input_error from None
            raise
        self.prebuffer_s = table.pop("prebuffer_s")
        return AudioChunk(samples=np.frombuffer(samples, "<f4"), sample_rate=self.sample_rate, **table)

    def _table(self, expected: bytes) -> dict[str, Any]:
        kind, data = self._receive()
        if kind != expected:
            raise GenerationError("The daemon sent an unexpected frame: try again, or synthesize without the daemon.")
        table: dict[str, Any] = json.loads(data)
        return table

    def _receive(self) -> tuple[bytes, bytes]:
        kind, data = self._connection.receive()
        if kind == frames.ERROR:
            self._end = _error(json.loads(data))
            raise self._end
        return kind, data

    def on_end(self, tell: Callable[[], None]) -> None:
        """Call `tell`, in a thread, when the daemon ends the speech; its sound may still be playing here."""
        threading.Thread(target=self._watch, args=(tell,), name="edgetts-watch", daemon=True).start()

    def _watch(self, tell: Callable[[], None]) -> None:
        if not self._connection.is_ended or self._is_closed:
            return
        if self._speech is not None:  # all was received; only an interruption is followed by an error
            try:
                self._receive()
            except EdgeTTSError:
                if self._end is None:
                    return
        tell()

    def why_ended(self) -> EdgeTTSError:
        """After `on_end`: the daemon's reason. Reads what is left of the stream."""
        while self._end is None:
            try:
                self._receive()
            except EdgeTTSError:
                return self._end or Cancelled("The daemon ended this speech: an interruption, or it stopped.")
        return self._end

    def close(self) -> None:
        """Stop: the daemon notices within one decoding step."""
        self._is_closed = True
        self._connection.close()

    def __enter__(self) -> RemoteStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def connect(path: Path | None, *, is_chosen: bool, wants: Mapping[str, Any]) -> Connection | str:
    """A connection to the daemon at `path` if it matches this call; else the reason as text.

    is_chosen: the user named the socket, so a mismatch raises UsageError. wants: required values of HELLO; None: any.
    """
    try:
        if path is None:
            raise NoDaemon("this user has no daemon socket")
        connection = Connection(path)
        for name, value in wants.items():
            if value is not None and connection.hello.get(name) != value:
                connection.close()
                raise NoDaemon(f"the daemon at {path} has {name} {connection.hello.get(name)}, not {value}")
    except NoDaemon as reason:
        if is_chosen:
            raise UsageError(
                f"The daemon cannot serve this request: {reason}. "
                "Start one with `edgetts serve`, or do not set socket=."
            ) from None
        return str(reason)
    return connection


def _error(table: Mapping[str, Any]) -> EdgeTTSError:
    kind = getattr(errors, str(table.get("kind")), GenerationError)
    is_ours = isinstance(kind, type) and issubclass(kind, EdgeTTSError)
    return (kind if is_ours else GenerationError)(str(table.get("message")))


def _stats_of(table: dict[str, Any]) -> PlaybackStats:
    return PlaybackStats(**{**table, "state": State(table["state"])})


def _speech_of(table: dict[str, Any]) -> Speech:
    segments = tuple(SpokenSegment(**{**s, "codes": tuple(s["codes"])}) for s in table.pop("segments"))
    return Speech(segments=segments, notices=tuple(table.pop("notices")), **table)
