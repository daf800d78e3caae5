"""A fair FIFO lock that can be yielded between steps, for the stages that several streams share.

In: threads that want to use a stage. Out: one at a time, in order of arrival. The holder yields between two steps of
its work (a code, an ODE step) while others wait, so several streams advance together. Knows no stages.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType


class FairLock:
    """The lock of one stage. `with lock.hold() as hold: ... hold.yield_to_others() ...`"""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()
        self._is_held = False

    @property
    def n_waiting(self) -> int:
        """Number of threads waiting for the lock."""
        return len(self._waiting)

    def hold(self) -> Hold:
        """A hold of the lock, for `with`."""
        return Hold(self)

    def _acquire(self) -> None:
        with self._guard:
            if not self._is_held:
                self._is_held = True
                return
            gate = threading.Lock()
            gate.acquire()
            self._waiting.append(gate)
        gate.acquire()  # released by the previous holder: the lock is handed over

    def _release(self) -> None:
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._is_held = False


class Hold:
    """The lock held by one thread. waited_s: total seconds spent waiting for it."""

    def __init__(self, lock: FairLock) -> None:
        self._lock = lock
        self.waited_s = 0.0

    def __enter__(self) -> Hold:
        with self._waiting():
            self._lock._acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lock._release()

    def yield_to_others(self) -> None:
        """Let waiting threads go first. Cheap if there are none."""
        if self._lock.n_waiting:
            with self.released():
                pass

    @contextlib.contextmanager
    def released(self) -> Iterator[None]:
        """Release the lock inside the block."""
        with self._waiting():
            self._lock._release()
            try:
                yield
            finally:
                self._lock._acquire()

    def clock(self) -> float:
        """Seconds from an arbitrary origin, without the time in which the lock was not held."""
        return time.perf_counter() - self.waited_s

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.waited_s += time.perf_counter() - started
