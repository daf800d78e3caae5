"""Work on fixed addresses that can be replayed, and what runs it: as it is, or as a CUDA graph captured by hand.

In: a `Unit`, which reads and writes tensors of its own. Out: it has run, or is queued on the current stream. A runner
that fails on this machine says so in `notices`, and `Replays` then hands out no units: its user computes without.
It does not know what a unit computes. `step_watch` has a runner that fails where a unit could not be replayed.

Graphs that share a pool of memory belong on one stream, one after the other.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

_WARM_UPS = 2  # before a capture: libraries and kernels are set up at their first calls
MOST_UNITS = 48
"""Units that are kept with their graphs; the one used longest ago goes first."""


class Unit(Protocol):
    """Reads and writes `tensors()` only, at the same addresses in each run."""

    def __call__(self) -> None: ...

    def tensors(self) -> dict[str, Tensor]:
        """By name."""
        ...


UnitT = TypeVar("UnitT", bound=Unit)
KeyT = TypeVar("KeyT", bound=Hashable)


class UnitRunner(Protocol):
    notices: list[str]

    def run(self, unit: Unit) -> bool:
        """Whether it ran. False, with a notice: it does not run this way here."""
        ...

    def forget(self, unit: Unit) -> None:
        """Free what is kept for a unit."""


class EagerUnits:
    """Units as they are."""

    def __init__(self) -> None:
        self.notices: list[str] = []

    def run(self, unit: Unit) -> bool:
        unit()
        return True

    def forget(self, unit: Unit) -> None:
        pass


class GraphUnits:
    """A CUDA graph for each unit, captured when it first runs. All of them share a pool of memory."""

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
                self.notices.append(f"Sound could not be captured as a CUDA graph ({reason(error)}), which is slower.")
                return False
        graph.replay()
        return True

    def forget(self, unit: Unit) -> None:
        self._graphs.pop(id(unit), None)


def capture(
    work: Callable[[], None], device: torch.device, pool: Any, restore: Callable[[], None] = lambda: None
) -> torch.cuda.CUDAGraph:
    """Warm up and capture. restore: puts back what a warm-up run changed. Raises RuntimeError."""
    with torch.cuda.device(device):
        here, side = torch.cuda.current_stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(here)
        with torch.cuda.stream(side):
            for _ in range(_WARM_UPS):
                work()
                restore()
        here.wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # "thread_local": calls of other threads do not invalidate this capture.
        with torch.cuda.graph(graph, pool=pool, stream=side, capture_error_mode="thread_local"):
            work()
    return graph


def reason(error: RuntimeError) -> str:
    """The first line of a message, or two if that only announces the second."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return " ".join(lines[: 1 + lines[0].endswith(":")]).rstrip(".")


class Replays(Generic[KeyT, UnitT]):
    """Units by what they are made for. The first request gets none: what is wanted once is not worth a capture."""

    def __init__(self, runner: UnitRunner, most: int = MOST_UNITS) -> None:
        self.runner = runner
        self._most = most
        self._units: OrderedDict[KeyT, UnitT | None] = OrderedDict()  # None: wanted once
        self._lock = threading.Lock()
        self._works = True

    def get(self, key: KeyT, make: Callable[[KeyT], UnitT]) -> UnitT | None:
        """The unit of a key, made at the second request.

        Asked for once per solution or window, so that a unit is taken between two of them.
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
        """Whether the unit of a key is made."""
        with self._lock:
            return self._units.get(key) is not None

    def run(self, unit: UnitT) -> bool:
        """Whether the unit ran; if not, nothing was computed and there will be no more units."""
        self._works = self._works and self.runner.run(unit)
        return self._works

    def forget(self) -> None:
        """Free all units: what they would compute has changed."""
        with self._lock:
            for unit in self._units.values():
                if unit is not None:
                    self.runner.forget(unit)
            self._units = OrderedDict.fromkeys(self._units)  # all were wanted once

    def _trim(self) -> None:
        while len(self._units) > self._most:
            _, unit = self._units.popitem(last=False)
            if unit is not None:
                self.runner.forget(unit)
