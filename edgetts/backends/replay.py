"""Replayable units of work on the sound side, and their runners: eager, or a CUDA graph per unit.

In: a `Unit`, which reads and writes only tensors of its own. Out: the unit has run, or is queued on the current stream.
If a runner fails on this machine, it adds a notice, and `Replays` returns no units from then on: the caller computes
without them. Does not know what a unit computes. For tests, `step_watch` has a runner that fails where a unit cannot be
replayed.

Graphs that share a memory pool must run on one stream, one after the other.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

_WARM_UPS = 2  # runs before a capture: libraries and kernels initialize at their first call
MAX_UNITS = 48
"""Units kept with their graphs; the least recently used is dropped first."""


class Unit(Protocol):
    """Work that reads and writes only `tensors()`, at the same addresses in each run."""

    def __call__(self) -> None: ...

    def tensors(self) -> dict[str, Tensor]:
        """By name."""
        ...


UnitT = TypeVar("UnitT", bound=Unit)
KeyT = TypeVar("KeyT", bound=Hashable)


class UnitRunner(Protocol):
    notices: list[str]

    def run(self, unit: Unit) -> bool:
        """Run the unit. Returns False, and adds a notice, if it cannot run this way on this machine."""
        ...

    def forget(self, unit: Unit) -> None:
        """Free the unit's graph."""


class EagerUnits:
    """Runs units without a graph."""

    def __init__(self) -> None:
        self.notices: list[str] = []

    def run(self, unit: Unit) -> bool:
        unit()
        return True

    def forget(self, unit: Unit) -> None:
        pass


class GraphUnits:
    """Runs each unit as a CUDA graph, captured at its first run. All graphs share a memory pool."""

    def __init__(self, device: torch.device) -> None:
        self.notices: list[str] = []
        self._device = device
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}
        with torch.cuda.device(device):
            self._pool = torch.cuda.graph_pool_handle()

    def run(self, unit: Unit) -> bool:
        graph = self._graphs.get(id(unit))
        if graph is None:
            try:
                graph = self._graphs[id(unit)] = capture(unit, self._device, self._pool)
            except RuntimeError as error:
                self.notices.append(
                    f"The sound stages run without CUDA graphs, which is slower: capture failed ({reason(error)})."
                )
                return False
        graph.replay()
        return True

    def forget(self, unit: Unit) -> None:
        self._graphs.pop(id(unit), None)


def capture(
    work: Callable[[], None], device: torch.device, pool: Any, restore: Callable[[], None] = lambda: None
) -> torch.cuda.CUDAGraph:
    """Warm up and capture. restore: undoes the changes of a warm-up run. Raises RuntimeError."""
    with torch.cuda.device(device):
        here, side = torch.cuda.current_stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(here)
        with torch.cuda.stream(side):
            for _ in range(_WARM_UPS):
                work()
                restore()
        here.wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # "thread_local": CUDA calls of other threads do not invalidate this capture.
        with torch.cuda.graph(graph, pool=pool, stream=side, capture_error_mode="thread_local"):
            work()
    return graph


def reason(error: Exception) -> str:
    """The first line of a message, or the first two if the first ends with a colon."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return " ".join(lines[: 1 + lines[0].endswith(":")]).rstrip(".")


class Replays(Generic[KeyT, UnitT]):
    """A cache of units by key. The first request of a key returns none: a capture pays off only for a repeated key."""

    def __init__(self, runner: UnitRunner, most: int = MAX_UNITS) -> None:
        self.runner = runner
        self._most = most
        self._units: OrderedDict[KeyT, UnitT | None] = OrderedDict()  # None: requested once
        self._lock = threading.Lock()
        self._works = True

    def get(self, key: KeyT, make: Callable[[KeyT], UnitT]) -> UnitT | None:
        """The unit of a key, made at the second request; None at the first, or if the runner failed.

        Callers ask once per ODE solution or vocoder window, so the form never changes within one.
        """
        with self._lock:
            if not self._works:
                return None
            if key not in self._units:
                self._units[key] = None
                self._trim()
                return None
            unit = self._units[key]
            if unit is None:
                unit = self._units[key] = make(key)
            self._units.move_to_end(key)
            return unit

    def has(self, key: KeyT) -> bool:
        """Whether the unit of a key exists."""
        with self._lock:
            return self._units.get(key) is not None

    def run(self, unit: UnitT) -> bool:
        """Run a unit. Returns False if it did not run; there will be no more units then."""
        self._works = self._works and self.runner.run(unit)
        return self._works

    def forget(self) -> None:
        """Free all units, because their computation has changed. They are made again at the next request."""
        with self._lock:
            for unit in self._units.values():
                if unit is not None:
                    self.runner.forget(unit)
            self._units = OrderedDict.fromkeys(self._units)  # as if requested once

    def _trim(self) -> None:
        while len(self._units) > self._most:
            _, unit = self._units.popitem(last=False)
            if unit is not None:
                self.runner.forget(unit)
