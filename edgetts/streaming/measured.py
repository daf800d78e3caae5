"""Measurements for the latency model, of work that may still be queued on a device when it is noted.

In: a timer, marks, sizes of work. Out: each measurement is added when its work is done. Knows no stages and no device.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from edgetts.backends.lanes import Mark, Timer
from edgetts.streaming.latency import Stage

logger = logging.getLogger(__name__)

Measure = Callable[[Stage, float, float], None]  # stage, size of the work, seconds


class Measurements:
    """Notes work between two marks of one thread's timer."""

    def __init__(self, timer: Timer, add: Measure | None) -> None:
        self._timer = timer
        self._add = add
        self._noted: deque[tuple[Stage, float, int, Mark, Mark]] = deque()

    def mark(self) -> Mark:
        """A mark at the current point of the thread's work."""
        return self._timer.mark()

    def note(self, stage: Stage, size: float, start: Mark, n_times: int = 1) -> Mark:
        """Note that work of this size was done `n_times` since `start`. Returns the mark of its end."""
        end = self._timer.mark()
        self._noted.append((stage, size, n_times, start, end))
        self.settle()
        return end

    def settle(self, *, wait: bool = False) -> None:
        """Add the noted work that is done. wait: wait for all of it."""
        while self._noted and (wait or self._timer.is_passed(self._noted[0][-1])):
            stage, size, n_times, start, end = self._noted.popleft()
            seconds = self._timer.seconds(start, end)
            if seconds is None:
                continue
            logger.debug("%s: %g units in %.0f ms", stage, size * n_times, 1e3 * seconds)
            if self._add is not None:
                self._add(stage, size, seconds / n_times)
