"""A measurement as data: medians, spreads, roofline times and ratios, and JSON for scripts.

In: candidates that ran, the work of a call, the machine's rates. Out: `Report`. Stable keys of `Report.to_json`:
`stages.<name>.{median_s, floor_s, floor_ratio}`, `rtf`, `first_audio_ms`, `peak_rss_mb`,
`peak_cuda_mb`, `expected_mb`, `machine`, `compare.<name>.{speedup, rtf}`, `import_s`, `start_to_sound_s`,
`packs.<name>.{family, pack_bytes, run_bytes, enroll_s, enroll_bytes}`,
`soak.{settled_mb, end_mb, growth_mb, calls_per_minute}`. It measures nothing and draws nothing.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgetts.bench.soak import Soak
from edgetts.bench.startup import Startup

_QUARTILES = 4


@dataclass(frozen=True)
class StageReport:
    """One stage: seconds, and its roofline time (floor) if known."""

    seconds: tuple[float, ...]  # of every run
    floor_s: float | None

    @property
    def median_s(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread_s(self) -> float:
        """Interquartile range; 0 for a single run."""
        if len(self.seconds) < 2:
            return 0.0
        first, _, third = statistics.quantiles(self.seconds, n=_QUARTILES)
        return third - first

    @property
    def floor_ratio(self) -> float | None:
        """Roofline time over measured time: 1 is the best this machine can do."""
        return None if self.floor_s is None else self.floor_s / self.median_s

    def to_json(self) -> dict[str, Any]:
        return {
            "median_s": self.median_s,
            "spread_s": self.spread_s,
            "best_s": min(self.seconds),
            "runs": len(self.seconds),
            "floor_s": self.floor_s,
            "floor_ratio": self.floor_ratio,
        }


@dataclass(frozen=True)
class PackReport:
    """A measured pack: sizes of its files, and learning a voice with it, if measured.

    run_bytes: of the components that are resident while speaking. enroll_bytes: peak private memory that enrollment
    adds.
    """

    name: str
    family: str  # for people
    pack_bytes: int
    run_bytes: int
    enroll_seconds: tuple[float, ...] = ()
    enroll_bytes: float | None = None

    @property
    def enroll_s(self) -> float | None:
        """Median."""
        return statistics.median(self.enroll_seconds) if self.enroll_seconds else None

    def to_json(self) -> dict[str, Any]:
        return {
            "family": self.family,
            "pack_bytes": self.pack_bytes,
            "run_bytes": self.run_bytes,
            "enroll_s": self.enroll_s,
            "enroll_bytes": self.enroll_bytes,
        }


@dataclass(frozen=True)
class Comparison:
    """A candidate that ran interleaved with the measured pack; speedups above 1: the measured pack is faster."""

    name: str
    audio_s: float
    stages: Mapping[str, StageReport]
    speedups: Mapping[str, float]  # by stage, of medians
    best_speedups: Mapping[str, float]  # by stage, of the fastest runs: steadier on a busy machine

    @property
    def rtf(self) -> float:
        """Compute time over audio time."""
        return self.stages["whole"].median_s / self.audio_s

    def to_json(self) -> dict[str, Any]:
        return {
            "speedup": self.speedups["whole"],
            "rtf": self.rtf,
            "audio_s": self.audio_s,
            "stages": {
                name: {
                    "median_s": stage.median_s,
                    "speedup": self.speedups[name],
                    "best_speedup": self.best_speedups[name],
                }
                for name, stage in self.stages.items()
            },
        }


@dataclass(frozen=True)
class Report:
    """All of one measurement."""

    pack: str
    compute: str
    about: Mapping[str, Any]  # of the call: lengths and settings
    machine: Mapping[str, Any]
    stages: Mapping[str, StageReport]
    comparisons: Sequence[Comparison]
    packs: Sequence[PackReport]  # the measured one, then those of the comparisons
    audio_s: float
    first_audio_ms: float | None
    load_s: float
    warmup_s: float
    expected_mb: float  # of memory, estimated before loading; without file pages
    peak_rss_mb: float
    peak_cuda_mb: float | None
    startup: Startup | None  # of fresh processes, where that was measured
    soak: Soak | None = None  # memory over many calls, if measured

    @property
    def rtf(self) -> float:
        """Compute time over audio time."""
        return self.stages["whole"].median_s / self.audio_s

    def to_json(self) -> dict[str, Any]:
        return {
            "pack": self.pack,
            "compute": self.compute,
            "call": dict(self.about),
            "machine": dict(self.machine),
            "stages": {name: stage.to_json() for name, stage in self.stages.items()},
            "rtf": self.rtf,
            "audio_s": self.audio_s,
            "first_audio_ms": self.first_audio_ms,
            "load_s": self.load_s,
            "warmup_s": self.warmup_s,
            "import_s": None if self.startup is None else self.startup.import_s,
            "start_to_sound_s": None if self.startup is None else self.startup.first_sound_s,
            "expected_mb": self.expected_mb,
            "peak_rss_mb": self.peak_rss_mb,
            "peak_cuda_mb": self.peak_cuda_mb,
            "soak": None if self.soak is None else self.soak.to_json(),
            "compare": {each.name: each.to_json() for each in self.comparisons},
            "packs": {each.name: each.to_json() for each in self.packs},
        }


def compare(
    name: str,
    measured: Mapping[str, Sequence[float]],
    other: Mapping[str, Sequence[float]],
    names: Sequence[str],
    audio_s: float,
) -> Comparison:
    """Compare two candidates by their interleaved runs. audio_s: seconds of speech of the other one."""
    stages = {n: StageReport(tuple(other[n]), None) for n in names}
    return Comparison(
        name,
        audio_s,
        stages,
        {n: stages[n].median_s / statistics.median(measured[n]) for n in names},
        {n: min(other[n]) / min(measured[n]) for n in names},
    )
