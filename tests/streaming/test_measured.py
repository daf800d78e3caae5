"""Measurements are added when their work is done, in order, and not where the device's time is not only theirs."""

from __future__ import annotations

import pytest

from edgetts.backends.lanes import ClockTimer
from edgetts.streaming.latency import Stage
from edgetts.streaming.measured import Measurements


class Queue:
    """A timer of a device that is behind: marks are numbers, passed up to `at`."""

    def __init__(self) -> None:
        self.n, self.at = 0, 0

    def mark(self) -> int:
        self.n += 1
        return self.n

    def is_passed(self, mark: int) -> bool:
        return mark <= self.at

    def seconds(self, start: int, end: int) -> float | None:
        self.at = max(self.at, end)
        return None if end == 5 else float(end - start)


def test_queued_work_is_added_when_it_is_done() -> None:
    timer, added = Queue(), list[tuple[Stage, float, float]]()
    measured = Measurements(timer, lambda *given: added.append(given))
    start = measured.mark()
    second = measured.note("codes", 16, start)
    measured.note("flow", 100, second, 2)
    assert added == []
    timer.at = 2
    measured.settle()
    assert added == [("codes", 16, 1.0)]
    fourth = measured.mark()
    measured.note("vocoder", 7, fourth)  # 4 to 5, which cannot be told
    measured.settle(wait=True)
    assert added == [("codes", 16, 1.0), ("flow", 100, 0.5)]


def test_on_a_clock_at_once() -> None:
    ticks, added = iter((1.0, 1.5)), list[tuple[Stage, float, float]]()
    measured = Measurements(ClockTimer(lambda: next(ticks)), lambda *given: added.append(given))
    measured.note("features", 4, measured.mark())
    assert added == [("features", 4, pytest.approx(0.5))]
    ticks = iter((1.0, 1.5))
    silent = Measurements(ClockTimer(lambda: 0.0), None)
    silent.note("codes", 1, silent.mark())  # nobody wants it
