"""The latency model: seconds per stage for this machine and pack, measured while speaking and kept between starts.

In: sizes of work and the seconds they took. Out: estimates for other sizes, as a fixed cost plus a cost per unit,
fitted to recent measurements. Kept as a small JSON file; without it the first stream starts without estimates. Knows no
schedule.

Units of work: codes for `codes` (steps of the GPT) and `features`, rows times frames for `flow` (one evaluation of the
DiT), frames for `vocoder`. `speech` is not work: seconds of speech for a number of text tokens.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, get_args

from edgetts.files import replace_file
from edgetts.pack.plain_json import read_json

logger = logging.getLogger(__name__)

Stage = Literal["codes", "features", "flow", "vocoder", "speech"]
STAGES: Final[tuple[Stage, ...]] = get_args(Stage)

FORMAT = 1
MEMORY = 0.9  # decay of old measurements: about the last ten count
_MAX_FILE_BYTES, _MAX_DEPTH = 64 << 10, 4  # a few hundred bytes, three levels
MIN_SPREAD = 0.05  # relative spread of sizes needed to separate the fixed cost from the cost per unit


@dataclass
class Cost:
    """Least-squares fit of seconds over size with exponential decay, as its five sums."""

    n: float = 0.0
    x: float = 0.0
    y: float = 0.0
    xx: float = 0.0
    xy: float = 0.0

    def add(self, size: float, seconds: float) -> None:
        """Work of `size` (above 0) took `seconds`."""
        self.n = self.n * MEMORY + 1
        self.x = self.x * MEMORY + size
        self.y = self.y * MEMORY + seconds
        self.xx = self.xx * MEMORY + size * size
        self.xy = self.xy * MEMORY + size * seconds

    def seconds(self, size: float) -> float | None:
        """Estimated seconds of work of `size`; None before the first measurement."""
        if self.n == 0:
            return None
        fixed, per_unit = self._fit()
        return fixed + per_unit * size

    def _fit(self) -> tuple[float, float]:
        mean = self.x / self.n
        variance = self.xx / self.n - mean * mean
        if variance > (MIN_SPREAD * mean) ** 2:
            per_unit = (self.xy / self.n - mean * self.y / self.n) / variance
            fixed = self.y / self.n - per_unit * mean
            if per_unit < 0:
                return self.y / self.n, 0.0
            if fixed >= 0:
                return fixed, per_unit
        return 0.0, self.y / self.x


@dataclass
class LatencyModel:
    """The costs of all stages. Thread-safe."""

    costs: dict[Stage, Cost] = field(default_factory=lambda: {stage: Cost() for stage in STAGES})
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, stage: Stage, size: float, seconds: float) -> None:
        """Work of `size` units took `seconds` at `stage`. Work of size 0 is ignored."""
        if size > 0 and seconds >= 0:
            with self._lock:
                self.costs[stage].add(size, seconds)

    def seconds(self, stage: Stage, size: float) -> float | None:
        """Estimated seconds of work of `size` at `stage`; None before the first measurement."""
        with self._lock:
            return self.costs[stage].seconds(size)

    @classmethod
    def load(cls, path: Path) -> LatencyModel:
        """The model stored at `path`; an empty one if there is no usable file."""
        speeds = cls()
        try:
            with path.open("rb") as file:
                kept = read_json(file.read(_MAX_FILE_BYTES + 1), max_bytes=_MAX_FILE_BYTES, max_depth=_MAX_DEPTH)
            if kept["format"] != FORMAT:
                return speeds
            costs = {stage: Cost(*map(float, kept["stages"][stage])) for stage in STAGES}
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.debug("no latencies kept at %s: %s", path, error)
            return speeds
        if all(map(_is_usable, costs.values())):
            speeds.costs = costs
        return speeds

    def save(self, path: Path) -> None:
        """Store the model at `path` atomically. It is a cache: a full or read-only disk is not an error."""
        with self._lock:
            stages = {stage: [c.n, c.x, c.y, c.xx, c.xy] for stage, c in self.costs.items()}
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, (json.dumps({"format": FORMAT, "stages": stages}) + "\n").encode())


def _is_usable(cost: Cost) -> bool:
    sums = (cost.n, cost.x, cost.y, cost.xx, cost.xy)
    return all(math.isfinite(s) and s >= 0 for s in sums) and (cost.n == 0) == (cost.x == 0)
