"""Errors for clients: a status, a kind, and one sentence without paths of this machine.

In: exceptions. Out: `Fault`s, and their error object as in OpenAI's API. It does not know protocols.
"""

from __future__ import annotations

import errno
import re
from pathlib import Path
from typing import Any

from edgetts.errors import AudioError, EdgeTTSError, GenerationError, PackError, UsageError, VoiceError, one_line
from edgetts.server.request_queue import Busy, Closed

_FULL = (errno.ENOSPC, errno.EDQUOT)
# A path of two or more parts after a slash or tilde; the last part is kept.
_PATH = re.compile(r"(?<![\w:/.])(?:~[\w.-]*)?(?:/[^\s/'\"`(),;]+)*/([^\s/'\"`(),;]+)")


class Fault(Exception):
    """status: as in HTTP. kind and code: OpenAI's `type` and `code`. param: the invalid field, or None."""

    def __init__(
        self,
        status: int,
        message: str,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.code = code
        self.param = param
        self.headers = headers or {}

    def table(self) -> dict[str, Any]:
        """The error object of OpenAI's API."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}


class CutShort(Exception):
    """An error after the response began: the connection is cut, so that the client sees an incomplete response."""


class Stalled(Exception):
    """The model does not go on: a kernel or a device hangs."""


def refused(message: str, param: str | None = None, code: str | None = None) -> Fault:
    """A Fault for an invalid request."""
    return Fault(400, message, code=code, param=param)


def fault_of(error: BaseException) -> Fault:
    """The Fault for an exception. Unexpected exceptions do not reveal their message."""
    if isinstance(error, Fault):
        return error
    if isinstance(error, Busy):
        return Fault(
            *(429, f"The queue is full; try again in {error.retry_s} s.", "rate_limit_error", "queue_full"),
            headers={"Retry-After": str(error.retry_s)},
        )
    if isinstance(error, Closed):
        return Fault(
            *(503, "The daemon is stopping.", "server_error", "stopping"),
            headers={"Retry-After": "5", "Connection": "close"},
        )
    if isinstance(error, Stalled):
        message = "The model does not answer any more: the daemon has to be started again."
        return Fault(500, message, "server_error", "model_stalled")
    if _no_room(error):
        said = (isinstance(error, OSError) and error.strerror) or str(error)
        message = f"{without_paths(said).rstrip('.')}: make room on the server's disk."
        return Fault(507, message, "server_error", "disk_full")
    if isinstance(error, VoiceError):
        return refused(without_paths(str(error)), "voice", "voice_unusable")
    if isinstance(error, AudioError):
        return refused(without_paths(str(error)), "file", "audio_unusable")
    if isinstance(error, UsageError):
        return refused(without_paths(str(error)))
    if isinstance(error, PackError):
        return Fault(503, without_paths(str(error)), "server_error", "model_unusable", headers={"Retry-After": "30"})
    if isinstance(error, GenerationError):
        return Fault(500, without_paths(str(error)), "server_error", "generation_failed")
    if isinstance(error, EdgeTTSError):
        return Fault(500, without_paths(str(error)), "server_error")
    if isinstance(error, MemoryError):
        return Fault(503, "There is not enough memory for this request.", "server_error", "out_of_memory")
    return Fault(500, "Internal error; see the daemon's log.", "server_error", "internal_error")


def _no_room(error: BaseException) -> bool:
    """Whether a file could not be written because its disk is full."""
    causes = (error, error.__cause__)
    return any(isinstance(cause, OSError) and cause.errno in _FULL for cause in causes)


def without_paths(message: str) -> str:
    """A message with each path reduced to its last part: it does not reveal folders of the server."""
    return _PATH.sub(lambda found: found[1], one_line(message.replace(str(Path.home()), "~")))
