"""The watchdog: notifies the supervisor while synthesis works, and stops when it does not.

In: a service, and the supervisor's interval (WatchdogSec). Out: `WATCHDOG=1`. Before each, a stream has made audio, or
a short test synthesis has run through every stage in time. Unloaded networks are not loaded for this.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from edgetts.errors import EdgeTTSError, GenerationError
from edgetts.server.health import speak_briefly
from edgetts.server.notify import WATCHDOG, notify
from edgetts.server.service import Service

if TYPE_CHECKING:
    from edgetts.api import TTS

logger = logging.getLogger(__name__)

_PAUSE, _CHECK = 0.25, 0.5  # fractions of the interval: between checks, and for a check


class Watchdog:
    """`start` and `stop` in the event loop of the service. check: speaks; it is called in a thread."""

    def __init__(
        self, service: Service, supervisor: str | None, seconds: float, check: Callable[[TTS], None] | None = None
    ) -> None:
        self._service = service
        self._supervisor = supervisor
        self._pause_s, self._check_s = _PAUSE * seconds, _CHECK * seconds
        self._check = check or speak_briefly
        self._seen: object = None
        self._thread: threading.Thread | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._pause_s)
            problem = await self.problem()
            if problem is None:
                notify(self._supervisor, WATCHDOG)
            else:
                logger.error("no sign of life is given: %s", problem)
                notify(self._supervisor, f"STATUS={problem}")

    async def problem(self) -> str | None:
        """The problem, if a restart would fix it, or None."""
        service = self._service
        if service.is_stalled:
            return "a stream hangs"
        progress, self._seen = self._seen, service.progress
        if progress is not None and progress != self._seen:
            return None
        tts = service.host.opened
        if tts is None or not tts.is_loaded:
            return None
        if self._thread is not None and self._thread.is_alive():
            return "a short synthesis hangs"
        # Not in asyncio's thread pool: the exit of the process would wait for a hung thread.
        ended, failed = asyncio.Event(), list[BaseException]()
        loop = asyncio.get_running_loop()

        def run() -> None:
            try:
                self._check(tts)
            except BaseException as error:
                failed.append(error)
            if not loop.is_closed():
                loop.call_soon_threadsafe(ended.set)

        self._thread = threading.Thread(target=run, name="edgetts-watchdog", daemon=True)
        self._thread.start()
        try:
            await asyncio.wait_for(ended.wait(), self._check_s)
        except asyncio.TimeoutError:
            return f"a short synthesis has not ended after {self._check_s:g} s"
        if failed and isinstance(failed[0], EdgeTTSError) and not isinstance(failed[0], GenerationError):
            logger.warning("the health check cannot speak: %s", failed[0])  # such as a removed pack
            return None
        return f"a short synthesis failed: {failed[0]}" if failed else None
