"""Lanes: streams with priorities, times by events, a host that does not run ahead; with stand-ins for CUDA's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from edgetts.backends import lanes as lane_module
from edgetts.backends.lanes import ClockTimer, CudaLane, EventTimer, HostLane, lanes, paced

CPU, CUDA = torch.device("cpu"), torch.device("cuda:1")


class Event:
    """Passed when it was waited for, or the device came so far."""

    device_at = 0
    n_made = 0

    def __init__(self, enable_timing: bool = False) -> None:
        self.timed = enable_timing

    def record(self) -> None:
        Event.n_made += 1
        self.number = Event.n_made

    def query(self) -> bool:
        return Event.device_at >= self.number

    def synchronize(self) -> None:
        Event.device_at = max(Event.device_at, self.number)

    def elapsed_time(self, end: Event) -> float:
        assert self.timed and end.timed and end.query()
        return 1e3 * (end.number - self.number)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was done with streams."""
    done: list[Any] = []

    class Stream:
        def __init__(self, device: torch.device, priority: int) -> None:
            self.device, self.priority = device, priority

        def wait_stream(self, other: str) -> None:
            done.append(("waits", self.priority, other))

    @contextlib.contextmanager
    def entered(what: Any) -> Iterator[None]:
        done.append(("in", getattr(what, "priority", what)))
        yield
        done.append(("out", getattr(what, "priority", what)))

    Event.device_at = Event.n_made = 0
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "stream", entered)
    monkeypatch.setattr(torch.cuda, "device", entered)
    monkeypatch.setattr(torch.cuda, "default_stream", lambda device: f"default of {device}")
    return done


def test_sound_goes_before_codes_and_both_wait_for_what_was_there(cuda: list[Any]) -> None:
    two = lanes(CUDA)
    assert isinstance(two.codes, CudaLane) and isinstance(two.sound, CudaLane)
    with two.sound.entered():
        cuda.append("sound")
    with two.codes.entered():
        cuda.append("codes")
    sound, codes = cuda[1:6:2], cuda[7:12:2]
    assert cuda[0] == ("waits", -1, "default of cuda:1") and ("waits", 0, "default of cuda:1") in cuda
    assert ("in", CUDA) in cuda and sound != codes
    order = [entry for entry in cuda if entry in ("sound", "codes", ("in", -1), ("in", 0), ("out", -1), ("out", 0))]
    assert order == [("in", -1), "sound", ("out", -1), ("in", 0), "codes", ("out", 0)]


def test_on_the_cpu_nothing_is_queued() -> None:
    two = lanes(CPU)
    assert isinstance(two.codes, HostLane)
    ticks = iter((1.0, 3.5))
    timer = two.sound.timer(SimpleNamespace(waited_s=0.0, clock=lambda: next(ticks)))
    assert isinstance(timer, ClockTimer)
    with two.sound.entered():
        start, end = timer.mark(), timer.mark()
    assert timer.is_passed(end) and timer.seconds(start, end) == 2.5

    def stop() -> bool:
        return True

    assert paced(CPU, stop) is stop and paced(CPU, None) is None


@pytest.mark.usefixtures("cuda")
def test_seconds_by_events() -> None:
    """None where the lock was given to others, whose work the device did meanwhile."""
    held = SimpleNamespace(waited_s=0.0, clock=lambda: 0.0)
    timer = EventTimer(held)
    start, end = timer.mark(), timer.mark()
    assert not timer.is_passed(end)
    assert timer.seconds(start, end) == 1.0 and timer.is_passed(end)
    held.waited_s = 0.1
    assert timer.seconds(end, timer.mark()) is None


@pytest.mark.usefixtures("cuda")
def test_the_host_is_at_most_a_step_ahead() -> None:
    """So that a cancelled solution ends within the step that runs and the one behind it."""
    asked: list[int] = []

    def should_stop() -> bool:
        asked.append(Event.n_made - Event.device_at)
        return len(asked) == 4

    stop = paced(CUDA, should_stop)
    assert stop is not None
    assert [stop() for _ in range(4)] == [False, False, False, True]
    assert asked == [1] * 4
    never = paced(CUDA, None)
    assert never is not None and not never() and not never()
    assert Event.n_made - Event.device_at == lane_module._STEPS_AHEAD
