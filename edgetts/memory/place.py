"""The properties of a device that a call's memory depends on, sizes as text, and the current use of memory.

In: a device, a compute mode, a kernel. Out: a `Place`, and bytes. Imports torch only to query a device.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgetts.compute import Compute
from edgetts.errors import UsageError

if TYPE_CHECKING:
    import torch

MIB = 1 << 20
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMG])(?:i?B)?", re.IGNORECASE)
_MEMINFO = Path("/proc/meminfo")

_ASSUMED_START = 160 * MIB  # measured: Python, torch and this package before loading, if the system does not report it
_CUDA_CONTEXT = 400 * MIB  # not measured yet: a CUDA context with the kernels of torch


@dataclass(frozen=True)
class Place:
    """The device and the widths of its numbers."""

    gpt_bytes: int  # of a number of the GPT and its cache
    acoustic_bytes: int  # of a number of DiT and vocoder
    decodes: bool = False  # the GPT's quantized weights are dequantized when they are loaded
    on_cuda: bool = False
    unified: bool = False  # the GPU uses system memory, as on a Jetson: host and device are counted together

    @classmethod
    def of(cls, device: torch.device, compute: Compute, kernel: str) -> Place:
        """kernel: as for `Pipeline`."""
        from edgetts.backends.kernels import DEQUANTIZED, wanted_kernel
        from edgetts.backends.numbers import numbers_of

        numbers = numbers_of(device, compute)
        decodes = wanted_kernel(kernel, compute) == DEQUANTIZED
        on_cuda = device.type == "cuda"
        memory = device_memory(device) if on_cuda else None
        unified = memory is not None and memory.unified
        return cls(numbers.gpt.itemsize, numbers.dit.itemsize, decodes, on_cuda, unified)

    @property
    def counts_host(self) -> bool:
        """Whether host memory is counted: not on a GPU with its own memory."""
        return self.unified or not self.on_cuda

    @property
    def kind(self) -> str:
        """The kind of memory that is counted, for messages."""
        return "memory" if self.counts_host else "the GPU's memory"

    def start(self) -> float:
        """Bytes in use before loading."""
        return (held_now() if self.counts_host else 0.0) + (_CUDA_CONTEXT if self.on_cuda else 0.0)


@dataclass(frozen=True)
class DeviceMemory:
    """Total and free bytes of a device. unified: it uses system memory."""

    total: int
    free: int
    unified: bool


def device_memory(device: torch.device) -> DeviceMemory | None:
    """The memory of a device; None if the system does not report it."""
    import torch

    system = _system_memory()
    if device.type != "cuda":
        return None if system is None else DeviceMemory(*system, unified=True)
    unified = bool(getattr(torch.cuda.get_device_properties(device), "is_integrated", False))
    free, total = torch.cuda.mem_get_info(device)
    # On an integrated GPU, CUDA counts the system's file cache, which can be reclaimed, as used.
    if unified and system is not None:
        return DeviceMemory(*system, unified=True)
    return DeviceMemory(total, free, unified)


def bound_allocator(device: torch.device, n_bytes: float) -> None:
    """Bound torch's allocator on a GPU to `n_bytes`; beyond it, allocations raise an out-of-memory error."""
    import torch

    _, total = torch.cuda.mem_get_info(device)
    torch.cuda.set_per_process_memory_fraction(min(1.0, max(0.0, n_bytes / total)), device)


def _system_memory() -> tuple[int, int] | None:
    """Total and available bytes of the system."""
    try:
        lines = _MEMINFO.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    kilobytes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    return kilobytes["MemTotal"] << 10, kilobytes["MemAvailable"] << 10


def parse_size(text: str) -> int:
    """Bytes of a size such as 1500M or 2G (K, M, G: powers of 1024). Raises UsageError."""
    found = _SIZE.fullmatch(text.strip())
    n_bytes = round(float(found[1]) * _UNITS[found[2].upper()]) if found else 0
    if n_bytes <= 0:
        raise UsageError(f"{text!r} is not a size of memory: give a number with K, M or G, such as 1500M or 2G.")
    return n_bytes


def shown(n_bytes: float) -> str:
    """A size as `parse_size` reads it, in whole M, rounded up."""
    return f"{math.ceil(n_bytes / MIB)}M"


def held_now() -> float:
    """Private bytes of this process now; an assumption if the system does not report them."""
    from edgetts.pack.page_release import held_bytes

    held = held_bytes()
    return _ASSUMED_START if held is None else held
