"""The networks of a daemon: loaded on demand, unloaded when idle, exchanged when another pack is to speak.

In: a function that opens a pack, one that says which, and the idle time. Out: a `TTS` for the duration of a block. Use
it from one event loop; slow work runs in threads.

Another pack takes over when nobody speaks: a while after `edgetts packs use` or after its folder was replaced, or with
the next request, whichever comes first.

What requests freed is returned to the system a few seconds after the last one: how much an idle daemon holds does not
depend on how many spoke at once, nor on voices that were learned.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edgetts.backends.own_thread import in_own_thread
from edgetts.errors import PackError
from edgetts.pack.page_release import give_back_freed

if TYPE_CHECKING:
    from edgetts.api import TTS

logger = logging.getLogger(__name__)

_WARM_TEXT = "Good morning."  # warm-up text
_MAX_TOKENS = 120
FOLLOW_S = 5.0  # between two looks at which pack is to speak
SETTLED_S = 5.0  # after the last request; the next sentence of a conversation comes sooner


class Host:
    """open_pack: makes a TTS without loading networks. keep_alive_s: idle time before unloading; None: never unload.

    locate: the folder of the pack that is to speak; raises PackError. None: always the same."""

    def __init__(
        self,
        open_pack: Callable[[], TTS],
        keep_alive_s: float | None = None,
        locate: Callable[[], Path] | None = None,
    ) -> None:
        self._open = open_pack
        self._keep_alive_s = keep_alive_s
        self._locate = locate
        self._warned = ""  # of a pack that cannot take over: said once
        self._tts: TTS | None = None
        self._opening = asyncio.Lock()
        self._idle: asyncio.TimerHandle | None = None
        self._settled: asyncio.TimerHandle | None = None
        self.n_users = 0

    @property
    def is_loaded(self) -> bool:
        """Whether the networks are in memory."""
        return self._tts is not None and self._tts.is_loaded

    @property
    def opened(self) -> TTS | None:
        """The TTS that was opened last, or None."""
        return self._tts

    async def tts(self) -> TTS:
        """The open TTS. It is reopened if its pack's folder has changed, or another pack is to speak: at once if a file
        was overwritten, else after all running streams. Raises PackError."""
        return await self._current(n_own=0)

    async def _current(self, n_own: int) -> TTS:
        """n_own: how many of the users are the caller."""
        async with self._opening:
            if self._tts is not None:
                try:
                    self._tts.pack.check_unchanged()
                except PackError as error:
                    logger.warning("reopening the pack: %s", error)
                    self._tts.close()
                    self._tts = None
            if self._tts is None:
                self._tts = await asyncio.to_thread(self._open)
            elif self.n_users <= n_own and self._is_outdated(self._tts):
                await self._replace(self._tts)
            return self._tts

    def _is_outdated(self, tts: TTS) -> bool:
        """Whether another pack is to speak: one was chosen, the files were replaced, or none is found any more."""
        try:
            is_other = self._locate is not None and self._locate() != tts.pack.path
        except PackError:
            return True
        return is_other or not tts.pack.is_current()

    async def _replace(self, old: TTS) -> None:
        """Open the pack that is to speak now. Without a sound one the old one, whose files are in memory, goes on."""
        try:
            self._tts = await asyncio.to_thread(self._open)
        except PackError as error:
            if not old.is_loaded:
                raise
            if str(error) != self._warned:
                logger.warning("the pack was taken away; what is loaded goes on: %s", error)
            self._warned = str(error)
            return
        self._warned = ""
        new = self._tts.pack
        if new.path == old.pack.path:
            logger.info("the pack was replaced")
        else:
            logger.info("another pack speaks from now on: %s instead of %s", new.manifest.name, old.pack.manifest.name)
        old.close()

    async def follow(self) -> None:
        """If nobody speaks and another pack is to speak, open it, and load it if the one before was loaded."""
        if self._tts is None or self.n_users or not self._is_outdated(self._tts):
            return
        was_loaded = self._tts.is_loaded
        with contextlib.suppress(PackError):  # the next request says so
            async with self.use() as tts:
                if was_loaded:
                    await in_own_thread(_load, tts)

    async def keep_following(self) -> None:
        """`follow`, again and again."""
        while True:
            await asyncio.sleep(FOLLOW_S)
            await self.follow()

    async def load(self) -> None:
        """Load the networks and run every stage once, so that the first request is fast."""
        async with self.use() as tts:
            await in_own_thread(_load, tts)

    async def unload(self) -> None:
        """Unload the networks; running streams keep them until they end."""
        self._cancel_idle_timer()
        if self._tts is not None and self._tts.is_loaded:
            await asyncio.to_thread(self._tts.close)
            logger.info("unloaded the networks")

    @contextlib.asynccontextmanager
    async def use(self) -> AsyncIterator[TTS]:
        """The open TTS; it is not unloaded for idleness inside the block."""
        self._cancel_idle_timer()
        if self._settled is not None:
            self._settled.cancel()
        self.n_users += 1
        try:
            yield await self._current(n_own=1)
        finally:
            self.n_users -= 1
            if self.n_users == 0:
                loop = asyncio.get_running_loop()
                self._settled = loop.call_later(SETTLED_S, loop.run_in_executor, None, give_back_freed)
                if self._keep_alive_s is not None:
                    self._idle = loop.call_later(self._keep_alive_s, self._drop)

    def _drop(self) -> None:
        self._idle = None
        if self.n_users == 0 and self._tts is not None and self._tts.is_loaded:
            # In the event loop, so that no request comes in between; closing is as quick as a garbage collection.
            self._tts.close()
            logger.info("unloaded the networks after %g idle seconds", self._keep_alive_s)

    def _cancel_idle_timer(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None


def _load(tts: TTS) -> None:
    if tts.is_loaded:
        return
    from edgetts.bench.warm import warm

    started = time.perf_counter()
    warm(tts.engine, tts.frontend().segments(_WARM_TEXT, _MAX_TOKENS).segments[0].ids)
    logger.info("loaded and warmed up in %.1f s", time.perf_counter() - started)
