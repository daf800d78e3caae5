"""What kind of machine this is: processor, memory, GPU, board, free disk.

In: a folder of the disk in question. Out: a `Machine`, and its line for people. torch is imported, to ask for the GPU.
"""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgetts.errors import one_line

if TYPE_CHECKING:
    from edgetts.quant.machine import Machine as Accelerator

_BOARD = Path("/proc/device-tree/model")  # of ARM boards, such as "NVIDIA Jetson Orin Nano Developer Kit"
_CPU = Path("/proc/cpuinfo")
_MEMORY = Path("/proc/meminfo")
GIB = 1 << 30


@dataclass(frozen=True)
class Machine:
    """memory_bytes, disk_bytes: 0 if the system does not tell; disk_bytes: free."""

    processor: str
    n_cores: int
    memory_bytes: int
    board: str | None
    gpu: str | None
    gpu_bytes: int
    disk_bytes: int

    @property
    def line(self) -> str:
        parts = [self.board] if self.board else []
        parts.append(f"{self.processor}, {self.n_cores} core{'s' if self.n_cores != 1 else ''}")
        if self.memory_bytes:
            parts.append(f"{self.memory_bytes / GIB:.1f} GiB of memory")
        parts.append(f"{self.gpu} ({self.gpu_bytes / GIB:.1f} GiB)" if self.gpu else "no CUDA device")
        parts.append(f"{self.disk_bytes / GIB:.1f} GiB free on the disk")
        return "; ".join(parts)


def look(folder: Path, accelerator: Accelerator) -> Machine:
    """folder: whose disk is meant; it may not exist yet."""
    return Machine(
        processor=_processor(),
        n_cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_bytes=_memory(),
        board=_read(_BOARD).strip("\0 \n") or None,
        gpu=accelerator.gpu_name,
        gpu_bytes=accelerator.gpu_bytes,
        disk_bytes=free_bytes(folder),
    )


def free_bytes(folder: Path) -> int:
    """Bytes that are free on the disk of a folder, which may not exist yet."""
    existing = next((path for path in (folder, *folder.absolute().parents) if path.is_dir()), Path("/"))
    return shutil.disk_usage(existing).free


def _processor() -> str:
    for line in _read(_CPU).splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return one_line(value)
    return platform.machine()


def _memory() -> int:
    for line in _read(_MEMORY).splitlines():
        name, _, value = line.partition(":")
        if name == "MemTotal" and value.split()[0].isdecimal():
            return int(value.split()[0]) << 10
    return 0


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
