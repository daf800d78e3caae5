"""Admission: a bounded FIFO queue in front of a fixed number of slots.

In: tasks of one event loop that want a slot. Out: slots, or `Busy` with a retry time. It does not know speech.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import AsyncIterator

_FIRST_GUESS_S = 2.0  # duration of a request before one was measured
_NEWS = 0.2  # weight of the last request in the moving average
MAX_RETRY_S = 600


class Busy(Exception):
    """The queue is full. retry_s: whole seconds after which a retry may succeed."""

    def __init__(self, retry_s: int) -> None:
        super().__init__(f"busy for about {retry_s} s")
        self.retry_s = retry_s


class Closed(Exception):
    """The queue is closed: the daemon is stopping."""


class RequestQueue:
    """`async with queue.slot(): ...`. Use it from one event loop only."""

    def __init__(self, n_slots: int, n_waiting: int) -> None:
        self._n_slots = n_slots
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
        """Whether the next request would be refused."""
        return self.n_served >= self._n_slots and self.n_waiting >= self._max_waiting

    @property
    def retry_s(self) -> int:
        """Estimated seconds until another request can be accepted."""
        return min(MAX_RETRY_S, max(1, math.ceil(self._mean_s * (self.n_waiting + 1) / self._n_slots)))

    @contextlib.asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a slot and hold it inside the block. Raises Busy, Closed."""
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
        if self.n_served < self._n_slots:
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
                self._leave()  # cancelled after a slot was assigned: pass it on
            elif turn in self._line:
                self._line.remove(turn)
            raise

    def _leave(self) -> None:
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)  # the slot is handed over, so the count does not change
                return
        self.n_served -= 1

    def close(self) -> None:
        """Refuse all waiting and all future requests."""
        self._is_closed = True
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_exception(Closed())
