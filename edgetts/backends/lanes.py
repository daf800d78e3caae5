"""Lanes: a CUDA stream for codes and one for sound, timers for their work, and a bound on queued work.

In: a device. Out: `Lanes`. On CUDA each lane is a stream, sound with higher priority, timed by events. On the CPU a
lane is nothing, and the calling thread's clock is the timer. Does not know what is computed.

Data passes from one lane to the other through the host (codes are read before their sound is computed), so the lanes
need not wait for each other. Both wait for earlier work of the default stream.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import torch

Mark = Any
"""A point in a lane's work."""

_SOUND_PRIORITY, _CODES_PRIORITY = -1, 0  # of CUDA streams: lower goes first
_STEPS_AHEAD = 1  # steps of a solution queued behind the running one


class Held(Protocol):
    """The interface of a held lock, implemented by `streaming.fair_lock`."""

    waited_s: float  # seconds during which it was yielded

    def clock(self) -> float:
        """Seconds, without those during which the lock was yielded."""
        ...


class Timer(Protocol):
    """Seconds between two marks in one lane."""

    def mark(self) -> Mark: ...

    def is_passed(self, mark: Mark) -> bool:
        """Whether the work before this mark is done, so that `seconds` does not wait."""
        ...

    def seconds(self, start: Mark, end: Mark) -> float | None:
        """Seconds between two marks; None if another stream used the device meanwhile."""
        ...


class ClockTimer:
    """Times work that is done when its call returns."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock

    def mark(self) -> Mark:
        return self._clock()

    def is_passed(self, _: Mark) -> bool:
        return True

    def seconds(self, start: Mark, end: Mark) -> float | None:
        return float(end - start)


class EventTimer:
    """Times work that is queued on the current CUDA stream, by events."""

    def __init__(self, held: Held) -> None:
        self._held = held

    def mark(self) -> Mark:
        event: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event, self._held.waited_s

    def is_passed(self, mark: Mark) -> bool:
        return bool(mark[0].query())

    def seconds(self, start: Mark, end: Mark) -> float | None:
        if start[1] != end[1]:
            return None
        end[0].synchronize()
        return float(start[0].elapsed_time(end[0])) / 1e3


class Lane(Protocol):
    def entered(self) -> AbstractContextManager[None]:
        """Within it, the work of this thread is queued on this lane."""
        ...

    def timer(self, held: Held) -> Timer: ...


class HostLane:
    """Work is done when it returns."""

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        yield

    def timer(self, held: Held) -> Timer:
        return ClockTimer(held.clock)


class CudaLane:
    """A CUDA stream of its own."""

    def __init__(self, device: torch.device, priority: int) -> None:
        self._device = device
        self._stream: Any = torch.cuda.Stream(device, priority=priority)  # type: ignore[no-untyped-call]

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        self._stream.wait_stream(torch.cuda.default_stream(self._device))
        with torch.cuda.device(self._device), torch.cuda.stream(self._stream):
            yield

    def timer(self, held: Held) -> Timer:
        return EventTimer(held)


@dataclass(frozen=True)
class Lanes:
    codes: Lane
    sound: Lane


def lanes(device: torch.device) -> Lanes:
    """The lanes of one set of networks. Graphs that share memory must be replayed in one lane only."""
    if device.type != "cuda":
        return Lanes(HostLane(), HostLane())
    return Lanes(CudaLane(device, _CODES_PRIORITY), CudaLane(device, _SOUND_PRIORITY))


def paced(device: torch.device, should_stop: Callable[[], bool] | None) -> Callable[[], bool] | None:
    """`should_stop` for an ODE solution. On CUDA each call also waits until only a few steps are queued.

    Without the wait the host would queue all steps at once, and a cancelled call would keep the device busy.
    """
    if device.type != "cuda":
        return should_stop
    queued: deque[Any] = deque()

    def asked() -> bool:
        event: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        queued.append(event)
        if len(queued) > _STEPS_AHEAD:
            queued.popleft().synchronize()
        return should_stop is not None and should_stop()

    return asked
