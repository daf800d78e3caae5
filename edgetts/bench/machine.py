"""Rates of this machine for the roofline: memory bandwidth, matrix rate; and peak memory.

In: a device. Out: numbers measured now, in the run they are compared with. Knows no packs or stages. Other work on the
machine lowers both rates at times: `Rates.better` keeps the best of several measurements.
"""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from edgetts import __version__
from edgetts.backends.device import describe
from edgetts.backends.numbers import numbers_of
from edgetts.native.library import find_library

MIB = 2**20
_READ_BYTES = 256 * MIB  # far larger than any cache
_MATRIX_SIZES = {"cpu": 1024, "cuda": 8192}  # fills the machine, done in milliseconds
_TRIES = 5
_PEAK_RESET = "5"  # what /proc/PID/clear_refs wants for it


@dataclass(frozen=True)
class Rates:
    """Bytes read per second, and operations per second in the fastest number type of the device."""

    bytes_per_s: float
    flops: float

    def better(self, other: Rates) -> Rates:
        """The best of two measurements."""
        return Rates(max(self.bytes_per_s, other.bytes_per_s), max(self.flops, other.flops))


def measure_rates(device: torch.device, tries: int = _TRIES) -> Rates:
    """Measure now: a sum over much memory, and a product of square matrices."""
    memory = torch.ones(_READ_BYTES // 4, dtype=torch.float32, device=device)
    read_s = _fastest(memory.sum, device, tries)
    del memory
    size = _MATRIX_SIZES[device.type]
    rates = []
    for dtype in {torch.float32, numbers_of(device, "fast").dit}:
        matrix = torch.ones(size, size, dtype=dtype, device=device)
        rates.append(2 * size**3 / _fastest(lambda m=matrix: m @ m, device, tries))  # type: ignore[misc]
    return Rates(_READ_BYTES / read_s, max(rates))


def synchronize(device: torch.device) -> None:
    """Wait until the device is idle."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _fastest(work: Callable[[], Any], device: torch.device, tries: int) -> float:
    """Seconds of the fastest of `tries` runs, after a warm-up run."""
    work()
    best = float("inf")
    for _ in range(tries):
        synchronize(device)
        started = time.perf_counter()
        work()
        synchronize(device)
        best = min(best, time.perf_counter() - started)
    return best


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Facts about the machine for the report; nothing that identifies it."""
    library = find_library()
    return {
        "device": describe(device),
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "kernels": None if library is None else library.isas[-1].name.lower(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "edgetts": __version__,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def reset_peak_memory(device: torch.device) -> None:
    """Reset the peak counters, if the system supports it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    try:
        Path("/proc/self/clear_refs").write_text(_PEAK_RESET, encoding="ascii")
    except OSError:  # not Linux, or not allowed: the peak is then that of the whole process
        return


def peak_rss_mb() -> float:
    """Largest resident memory of this process in MiB, since `reset_peak_memory` where that works."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024  # macOS says bytes, others KiB
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


def peak_cuda_mb(device: torch.device) -> float | None:
    """Largest GPU memory in MiB, or None without a GPU."""
    return torch.cuda.max_memory_allocated(device) / MIB if device.type == "cuda" else None
