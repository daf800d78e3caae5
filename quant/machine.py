"""The properties of this machine that decide the automatic recipe."""

from __future__ import annotations

import platform
from dataclasses import dataclass

import torch

_ARM = ("aarch64", "arm64")


@dataclass(frozen=True)
class Machine:
    """`gpu_name`: None without a CUDA device. `has_bf16`: in hardware (torch counts emulation by default)."""

    is_arm: bool
    gpu_name: str | None = None
    gpu_bytes: int = 0
    has_bf16: bool = False


def this_machine() -> Machine:
    is_arm = platform.machine().lower() in _ARM
    if not torch.cuda.is_available():
        return Machine(is_arm)
    properties = torch.cuda.get_device_properties(0)
    has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    return Machine(is_arm, str(properties.name), int(properties.total_memory), has_bf16)
