"""Which device and number type the networks run on. The only place that asks what the machine has."""

from __future__ import annotations

import platform

import torch

from edgetts.errors import UsageError

_CUDA_BF16 = (8, 0)  # compute capability with bfloat16 products; earlier ones have float16 only


def choose_device(name: str = "auto") -> torch.device:
    """`auto`, `cpu`, `cuda` or `cuda:N` as a device. `auto` takes a CUDA device where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()):
        raise UsageError(f"Unknown device {name!r}: allowed are auto, cpu, cuda and cuda:N.")
    if kind == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"Device {name} was asked for, but torch {torch.__version__} sees no CUDA device: use cpu.")
    if kind == "cuda" and index and int(index) >= torch.cuda.device_count():
        raise UsageError(
            f"Device {name} was asked for, but there are {torch.cuda.device_count()}: cuda:0 is the first."
        )
    return torch.device(name)


def compute_dtype(device: torch.device, stored: torch.dtype) -> torch.dtype:
    """The type to compute in: what is stored on CUDA, fp32 on the CPU, where plain half precision is slower."""
    return stored if device.type == "cuda" else torch.float32


def fast_dtype(device: torch.device) -> torch.dtype:
    """The type that trades digits for time: half precision where the device multiplies in it, else fp32.

    bfloat16 before float16: it has the range of fp32, so no network needs to be checked for overflow.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= _CUDA_BF16 else torch.float16
    return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32


def describe(device: torch.device) -> str:
    """What measurements are kept under: the GPU's name, or the kind of processor and how many threads it gets."""
    if device.type == "cuda":
        return f"{device.type} {torch.cuda.get_device_name(device)}"
    return f"{device.type} {platform.machine()} {torch.backends.cpu.get_cpu_capability()} {torch.get_num_threads()}"
