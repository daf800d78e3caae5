"""Device choice: which device networks run on, whether it works, and errors for full memory."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from edgetts.errors import GenerationError, UsageError, one_line

_PROBE_SIZE = 64


@dataclass(frozen=True)
class DeviceChoice:
    """A device. notice: why it is not the expected one (a sentence), or empty."""

    device: torch.device
    notice: str = ""


def choose_device(name: str = "auto") -> torch.device:
    """`auto`, `cpu`, `cuda` or `cuda:N` as a device; `pick_device` also says why."""
    return pick_device(name).device


def pick_device(name: str = "auto") -> DeviceChoice:
    """`auto`, `cpu`, `cuda` or `cuda:N`. `auto` takes the CUDA device if a small test product on it is correct.

    Raises UsageError for an unknown name, and for a CUDA device that is missing or does not work.
    """
    if name == "auto":
        if not torch.cuda.is_available():
            return DeviceChoice(torch.device("cpu"))
        cuda = torch.device("cuda")
        problem = probe_cuda(cuda)
        if not problem:
            return DeviceChoice(cuda)
        return DeviceChoice(torch.device("cpu"), f"The GPU is not used because a test kernel on it failed: {problem}.")
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()):
        raise UsageError(f"Unknown device {name!r}: allowed are auto, cpu, cuda and cuda:N.")
    if kind == "cpu":
        return DeviceChoice(torch.device(name))
    if not torch.cuda.is_available():
        raise UsageError(f"Device {name} is not available: torch {torch.__version__} sees no CUDA device. Use cpu.")
    if index and int(index) >= torch.cuda.device_count():
        raise UsageError(
            f"Device {name} does not exist: there are {torch.cuda.device_count()} CUDA devices, from cuda:0 on."
        )
    problem = probe_cuda(torch.device(name))
    if problem:
        raise UsageError(f"Device {name} does not work: a test kernel on it failed: {problem}. Use cpu.")
    return DeviceChoice(torch.device(name))


def probe_cuda(device: torch.device) -> str:
    """Run one small product on a CUDA device. Returns what went wrong, or empty.

    It finds a driver older than torch, a GPU that torch was not built for, and full memory before synthesis starts.
    """
    try:
        ones = torch.ones(_PROBE_SIZE, _PROBE_SIZE, device=device)
        found = float((ones @ ones).sum())
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch without CUDA
        reason = one_line(str(error)).partition("CUDA kernel errors might")[0].strip().rstrip(".")
        return reason or "no reason was given"
    expected = float(_PROBE_SIZE**3)
    return "" if found == expected else f"it computed {found:g}, not {expected:g}"


def describe(device: torch.device) -> str:
    """The device as a key of stored measurements: the GPU's name, or CPU architecture, instruction set and threads."""
    if device.type == "cuda":
        return f"{device.type} {torch.cuda.get_device_name(device)}"
    return f"{device.type} {platform.machine()} {torch.backends.cpu.get_cpu_capability()} {torch.get_num_threads()}"


def triton_version() -> str:
    """The version of the installed Triton; empty if there is none."""
    try:
        return importlib.metadata.version("triton")
    except importlib.metadata.PackageNotFoundError:
        return ""


@contextlib.contextmanager
def memory_in_words(device: torch.device, what: str) -> Iterator[None]:
    """Turn CUDA's out-of-memory error into a GenerationError with remedies. what: such as "the vocoder"."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        room = ""
        with contextlib.suppress(RuntimeError):
            free, total = torch.cuda.mem_get_info(device)
            room = f" ({free / 2**20:.0f} of {total / 2**20:.0f} MiB are free)"
        raise GenerationError(
            f"The memory of {device} is full{room}, and {what} needs more: close other programs that use it, set a "
            "memory_budget, use a smaller pack or fewer beams, or use the device cpu."
        ) from error
