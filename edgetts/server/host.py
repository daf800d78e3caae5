"""The networks of a daemon: loaded when needed, dropped when idle, opened anew when their pack was replaced.

In: how to open a pack, and how long to keep what nobody uses. Out: a `TTS` for the time of a block. Its methods belong
to one event loop; what takes long is done in threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from edgetts.errors import PackError

if TYPE_CHECKING:
    from edgetts.api import TTS

logger = logging.getLogger(__name__)

_WARM_TEXT = "Good morning."  # its length hardly matters
_MAX_TOKENS = 120


class Host:
    """open_pack: makes a TTS whose networks are not loaded yet. keep_alive_s: None: they stay once they are."""

    def __init__(self, open_pack: Callable[[], TTS], keep_alive_s: float | None = None) -> None:
        self._open = open_pack
        self._keep_alive_s = keep_alive_s
        self._tts: TTS | None = None
        self._opening = asyncio.Lock()
        self._idle: asyncio.TimerHandle | None = None
        self.n_users = 0

    @property
    def is_loaded(self) -> bool:
        """Whether the networks are in memory."""
        return self._tts is not None and self._tts.is_loaded

    @property
    def opened(self) -> TTS | None:
        """The pack as it was opened last, for what it says about itself."""
        return self._tts

    async def tts(self) -> TTS:
        """The open pack, opened anew where its folder holds another one by now. Raises PackError."""
        async with self._opening:
            if self._tts is not None:
                try:
                    self._tts.pack.check_unchanged()
                except PackError as error:
                    logger.warning("the pack is opened again: %s", error)
                    self._tts.close()
                    self._tts = None
            if self._tts is None:
                self._tts = await asyncio.to_thread(self._open)
            return self._tts

    async def load(self) -> None:
        """Have the networks in memory, and every stage run once: the first request waits for neither."""
        async with self.use() as tts:
            await asyncio.to_thread(_load, tts)

    async def unload(self) -> None:
        """Drop the networks; streams at work keep them until they end."""
        self._forget_idle()
        if self._tts is not None and self._tts.is_loaded:
            await asyncio.to_thread(self._tts.close)
            logger.info("the networks are dropped")

    @contextlib.asynccontextmanager
    async def use(self) -> AsyncIterator[TTS]:
        """The open pack; nothing is dropped for idleness inside the block."""
        self._forget_idle()
        self.n_users += 1
        try:
            yield await self.tts()
        finally:
            self.n_users -= 1
            if self.n_users == 0 and self._keep_alive_s is not None:
                loop = asyncio.get_running_loop()
                self._idle = loop.call_later(self._keep_alive_s, self._drop)

    def _drop(self) -> None:
        self._idle = None
        if self.n_users == 0 and self._tts is not None and self._tts.is_loaded:
            # Nobody can ask for networks in between: closing takes no longer than a garbage collection.
            self._tts.close()
            logger.info("the networks are dropped after %g idle seconds", self._keep_alive_s)

    def _forget_idle(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None


def _load(tts: TTS) -> None:
    if tts.is_loaded:
        return
    from edgetts.bench.warm import warm

    started = time.perf_counter()
    warm(tts.engine, tts.frontend().segments(_WARM_TEXT, _MAX_TOKENS).segments[0].ids)
    logger.info("loaded and warm after %.1f s", time.perf_counter() - started)
