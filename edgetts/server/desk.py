"""Who is served next: so many at once, so many in line, in order of arrival, and nobody beyond.

In: tasks of one event loop that want a place. Out: places, or `Busy` with when to come again. Knows no speech.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import AsyncIterator

_FIRST_GUESS_S = 2.0  # of a speech, before one was measured
_NEWS = 0.2  # share of the last speech in the mean
MAX_RETRY_S = 600


class Busy(Exception):
    """There is no place left in the line. retry_s: whole seconds after which there may be."""

    def __init__(self, retry_s: int) -> None:
        super().__init__(f"busy for about {retry_s} s")
        self.retry_s = retry_s


class Closed(Exception):
    """The desk serves nobody any more."""


class Desk:
    """`async with desk.place(): ...`; all of it in one event loop."""

    def __init__(self, n_places: int, n_waiting: int) -> None:
        self._n_places = n_places
        self._max_waiting = n_waiting
        self._line: deque[asyncio.Future[None]] = deque()
        self._mean_s = _FIRST_GUESS_S
        self._is_closed = False
        self.n_served = 0

    @property
    def n_waiting(self) -> int:
        return len(self._line)

    @property
    def is_full(self) -> bool:
        """Whether the next one would be sent away."""
        return self.n_served >= self._n_places and self.n_waiting >= self._max_waiting

    @property
    def retry_s(self) -> int:
        """Seconds until there is likely to be a place for one more."""
        return min(MAX_RETRY_S, max(1, math.ceil(self._mean_s * (self.n_waiting + 1) / self._n_places)))

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait in line, then be served inside the block. Raises Busy, Closed."""
        await self._enter()
        started = time.monotonic()
        try:
            yield
        finally:
            self._mean_s += _NEWS * (time.monotonic() - started - self._mean_s)
            self._leave()

    async def _enter(self) -> None:
        if self._is_closed:
            raise Closed
        if self.n_served < self._n_places:
            self.n_served += 1
            return
        if len(self._line) >= self._max_waiting:
            raise Busy(self.retry_s)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._leave()  # it was our turn already when we were told to go
            elif turn in self._line:
                self._line.remove(turn)
            raise

    def _leave(self) -> None:
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)  # the place goes over, so the count stays
                return
        self.n_served -= 1

    def close(self) -> None:
        """Send away those in line, and everybody who comes."""
        self._is_closed = True
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_exception(Closed())
