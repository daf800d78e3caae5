"""Where one kind of work is queued on a device, how long it took there, and how far ahead the host may run.

In: a device. Out: `Lanes`, one for codes and one for sound: on CUDA a stream each, sound with priority, timed by
events; on the CPU nothing, timed by the clock of whoever works. It does not know what is computed.

What one lane hands to the other has been read by the host first (a code is, before its sound is made), so the lanes do
not wait for each other; both wait for what the default stream did before them.
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
_STEPS_AHEAD = 1  # of a solution that are queued while one runs


class Held(Protocol):
    """The hold of a lock, as of `streaming.fair_lock`."""

    waited_s: float  # in which it was not held

    def clock(self) -> float:
        """Seconds without those."""
        ...


class Timer(Protocol):
    """Seconds between two marks in one lane."""

    def mark(self) -> Mark: ...

    def is_passed(self, mark: Mark) -> bool:
        """Whether `seconds` up to this mark needs no waiting."""
        ...

    def seconds(self, start: Mark, end: Mark) -> float | None:
        """None: others had the device meanwhile, and the device's time does not tell whose work it was."""
        ...


class ClockTimer:
    """Of work that is done when it returns."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock

    def mark(self) -> Mark:
        return self._clock()

    def is_passed(self, _: Mark) -> bool:
        return True

    def seconds(self, start: Mark, end: Mark) -> float | None:
        return float(end - start)


class EventTimer:
    """Of work that is queued on the current CUDA stream."""

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
        """What this thread computes inside goes here."""
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
    """Of one set of networks; graphs that share memory are replayed in one lane only."""
    if device.type != "cuda":
        return Lanes(HostLane(), HostLane())
    return Lanes(CudaLane(device, _CODES_PRIORITY), CudaLane(device, _SOUND_PRIORITY))


def paced(device: torch.device, should_stop: Callable[[], bool] | None) -> Callable[[], bool] | None:
    """`should_stop` of a solution, asked before each step: on CUDA it waits until few steps are queued.

    Otherwise the host would queue them all at once, and a cancelled call would keep the device busy to its end.
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
