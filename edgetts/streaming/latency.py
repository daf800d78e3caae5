"""How fast this machine is at each stage with this pack: measured while it speaks, kept between starts.

In: sizes of work and the seconds that they took. Out: estimates for other sizes, as a fixed cost plus a
cost per unit, fitted to what was measured last. Kept as a small JSON file; losing it costs one stream that
starts without knowing. Knows no schedule.

Units of work: codes for `codes` (steps of the GPT) and `latents`, rows times frames for `flow` (one estimate of
the DiT), frames for `vocoder`. `speech` is no work: seconds of speech for a number of text tokens.
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

Stage = Literal["codes", "latents", "flow", "vocoder", "speech"]
STAGES: Final[tuple[Stage, ...]] = get_args(Stage)

FORMAT = 1
MEMORY = 0.9  # weight of the past against one new measurement: the last ten or so count
_MAX_FILE_BYTES, _MAX_DEPTH = 64 << 10, 4  # a few hundred bytes, three levels
MIN_SPREAD = 0.05  # relative spread of sizes below which a fixed cost cannot be told from a cost per unit


@dataclass
class Cost:
    """Least squares of seconds over size, with fading memory: the five sums of it."""

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
        """What work of `size` will take; None before anything was measured."""
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
    """The costs of all stages. Safe to use from several threads."""

    costs: dict[Stage, Cost] = field(default_factory=lambda: {stage: Cost() for stage in STAGES})
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, stage: Stage, size: float, seconds: float) -> None:
        """Work of `size` units took `seconds` at `stage`. Nothing is learned from work of no size."""
        if size > 0 and seconds >= 0:
            with self._lock:
                self.costs[stage].add(size, seconds)

    def seconds(self, stage: Stage, size: float) -> float | None:
        """What work of `size` will take at `stage`; None when nothing was measured yet."""
        with self._lock:
            return self.costs[stage].seconds(size)

    @classmethod
    def load(cls, path: Path) -> LatencyModel:
        """What was kept at `path`; empty when there is nothing usable, since it is measured again anyway."""
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
        """Keep them at `path`; whole or not at all. A cache: a disk that is full or read-only is no error."""
        with self._lock:
            stages = {stage: [c.n, c.x, c.y, c.xx, c.xy] for stage, c in self.costs.items()}
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, (json.dumps({"format": FORMAT, "stages": stages}) + "\n").encode())


def _is_usable(cost: Cost) -> bool:
    sums = (cost.n, cost.x, cost.y, cost.xx, cost.xy)
    return all(math.isfinite(s) and s >= 0 for s in sums) and (cost.n == 0) == (cost.x == 0)
