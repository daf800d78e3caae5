"""What a client is told when something is wrong: a status, a kind, one sentence that names no path of this machine.

In: exceptions. Out: `Fault`s, and their table in the shape of OpenAI's API. Knows no protocol.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from edgetts.errors import AudioError, EdgeTTSError, GenerationError, PackError, UsageError, VoiceError, one_line
from edgetts.server.desk import Busy, Closed

# Two and more parts behind a slash or a tilde; the last one is kept, which is what a sentence is about.
_PATH = re.compile(r"(?<![\w:/.])(?:~[\w.-]*)?(?:/[^\s/'\"`(),;]+)*/([^\s/'\"`(),;]+)")
_TEMPORARY = "Speech is not available for a moment; try again."


class Fault(Exception):
    """status: as in HTTP. kind and code: OpenAI's `type` and `code`. param: the field that is wrong, if it is one."""

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
        """As OpenAI's API says it."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}


class CutShort(Exception):
    """A response that had begun cannot go on: its connection is cut, so that nobody takes it for whole."""


def refused(message: str, param: str | None = None, code: str | None = None) -> Fault:
    """A request that asks for what cannot be done."""
    return Fault(400, message, code=code, param=param)


def fault_of(error: BaseException) -> Fault:
    """What a client is told about an exception; of those nobody foresaw, nothing but that there was one."""
    if isinstance(error, Fault):
        return error
    if isinstance(error, Busy):
        return Fault(
            *(429, f"All places are taken; try again in {error.retry_s} s.", "rate_limit_error", "queue_full"),
            headers={"Retry-After": str(error.retry_s)},
        )
    if isinstance(error, Closed):
        return Fault(
            *(503, "The daemon is stopping.", "server_error", "stopping"),
            headers={"Retry-After": "5", "Connection": "close"},
        )
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
        return Fault(503, "There is not enough memory for this.", "server_error", "out_of_memory")
    return Fault(500, "Something went wrong; the daemon's log says what.", "server_error", "internal_error")


def without_paths(message: str) -> str:
    """A sentence with the last part of each path alone: clients need not know how folders are called here."""
    return _PATH.sub(lambda found: found[1], one_line(message.replace(str(Path.home()), "~")))
