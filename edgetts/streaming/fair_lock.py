"""Turns at one stage of the engine: whoever waits longest goes next, and no turn lasts more than a step.

In: threads that want to use a stage. Out: one at a time, in order of arrival. The holder passes the turn
on between two steps of its work (a code, an ODE step) while others wait, so several streams advance side by
side. Knows nothing about what the stages do.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType


class Turns:
    """One stage. `with turns.take() as turn: ... turn.pass_on() ...`"""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()
        self._is_held = False

    @property
    def n_waiting(self) -> int:
        """Threads that wait for their turn."""
        return len(self._waiting)

    def take(self) -> Turn:
        """A turn, entered with `with`."""
        return Turn(self)

    def _acquire(self) -> None:
        with self._guard:
            if not self._is_held:
                self._is_held = True
                return
            gate = threading.Lock()
            gate.acquire()
            self._waiting.append(gate)
        gate.acquire()  # opened by whoever hands the stage over, which stays held meanwhile

    def _release(self) -> None:
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._is_held = False


class Turn:
    """One thread's hold of a stage. `waited_s`: seconds that it spent waiting, at the start and in between."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.waited_s = 0.0

    def __enter__(self) -> Turn:
        with self._waiting():
            self._turns._acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._turns._release()

    def pass_on(self) -> None:
        """Let those who wait go first. Costs next to nothing when nobody does."""
        if self._turns.n_waiting:
            with self.rest():
                pass

    @contextlib.contextmanager
    def rest(self) -> Iterator[None]:
        """The stage is free for others inside the block."""
        with self._waiting():
            self._turns._release()
            try:
                yield
            finally:
                self._turns._acquire()

    def clock(self) -> float:
        """Seconds of an arbitrary beginning, standing still while this turn waits for others, or rests."""
        return time.perf_counter() - self.waited_s

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.waited_s += time.perf_counter() - started


class Watch:
    """Time at work: laps by the clock of a turn."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._mark = turn.clock()

    def lap(self) -> float:
        """Seconds since the last lap."""
        now = self._turn.clock()
        lap, self._mark = now - self._mark, now
        return lap
