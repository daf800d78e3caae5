"""The kernel registry: all kernels in order of preference, their trials, and the choice for this machine.

In: weights as the pack stores them. Out: a `Kernel` for each. Version numbers decide nothing: a kernel runs once on a
small weight of the same kind and is compared with the reference. On the CPU the first correct kernel is chosen, so that
a seed always gives the same speech. On CUDA correct kernels are timed, and a later one is chosen only if it is faster
by more than measurement noise.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from edgetts.backends.kernels import ao, aten, cpu, nf4, triton_weights
from edgetts.backends.kernels.base import (
    ANY,
    DEQUANTIZED,
    EXACT_ROUNDINGS,
    REFERENCE,
    Kernel,
    dequantize,
    keep,
    relative_error,
)
from edgetts.backends.numbers import numbers_of
from edgetts.backends.replay import capture
from edgetts.compute import DEFAULT_COMPUTE, Compute
from edgetts.errors import EdgeTTSError, UsageError
from edgetts.pack.schemes import SCHEMES, Quantized, layout_problem

AUTO = "auto"

_PROBE_ROWS = (1, 3, 20)
_PROBE_OUTPUTS = 64
_MARGIN = 1.1  # a later kernel must be this many times as fast as an earlier one
_CACHE_BYTES = {
    "cpu": 64 << 20,
    "cuda": 128 << 20,
}  # larger than any cache: weights come from DRAM, as in a decoding step
_MAX_COPIES = 64
_ROUNDS = 3
# What libraries raise when a kernel or the library does not work on this machine.
_REFUSALS = (ImportError, EdgeTTSError, RuntimeError, AttributeError, TypeError, ValueError, OSError, AssertionError)

KERNELS: tuple[Kernel, ...] = (
    *cpu.KERNELS,
    *aten.CPU_KERNELS,
    *triton_weights.KERNELS,
    *aten.CUDA_KERNELS,
    *nf4.KERNELS,
    *(Kernel(REFERENCE, scheme, ANY, 0.0, keep, dequantize, rounds_to=None) for scheme in SCHEMES),
    *cpu.ROUNDED_KERNELS,
    *ao.KERNELS,
)


_ROUNDING = {cpu.ROUNDED: 0, ao.NAME: 1}  # kernels with 8-bit activations, which `fast` has first, in this order


@dataclass(frozen=True)
class Trial:
    """The result of trying a kernel. `problem`: why it cannot be used, or empty."""

    kernel: Kernel
    problem: str
    error: float  # relative to the reference; NaN when it did not run
    microseconds: float = math.nan  # for one row; NaN when it was not measured
    gb_per_s: float = math.nan  # stored size of the weight divided by that time


def kernel_names() -> tuple[str, ...]:
    """The kernel names that a caller can choose, besides AUTO and DEQUANTIZED."""
    return tuple(dict.fromkeys(kernel.name for kernel in KERNELS))


def wanted_kernel(wanted: str, compute: Compute) -> str:
    """The kernel name to use: DEQUANTIZED for AUTO in compute mode `reference`, else `wanted`."""
    wanted = AUTO if wanted == ao.W8A8 else wanted
    return DEQUANTIZED if compute == "reference" and wanted == AUTO else wanted


class KernelChoice:
    """Chooses the kernel of each kind of weight on one device; each kernel is tried once.

    wanted: AUTO, or the name of a kernel, used for every scheme that it serves, in any mode. compute: `fast` takes any
    kernel and on the CPU prefers 8-bit activations; the other modes only take kernels of EXACT_ROUNDINGS. Raises
    UsageError for an unknown name, and at the first weight for a kernel that does not work here.
    """

    def __init__(self, device: torch.device, wanted: str = AUTO, compute: Compute = DEFAULT_COMPUTE) -> None:
        wanted = AUTO if wanted == ao.W8A8 else wanted
        if wanted not in (AUTO, DEQUANTIZED, *kernel_names()):
            names = ", ".join((AUTO, DEQUANTIZED, *kernel_names(), ao.W8A8))
            raise UsageError(f"Unknown kernel {wanted!r}: use one of {names}.")
        self.device = device
        self.wanted = wanted
        self.compute = compute
        self._chosen: dict[tuple[Any, ...], Kernel] = {}

    def __call__(self, weight: Quantized) -> Kernel:
        """The kernel for a weight (O, I)."""
        # Without timing, only the remainder of the outputs matters: some kernels need whole tiles.
        n_outputs = weight.shape[0] if self.device.type == "cuda" else weight.shape[0] % _PROBE_OUTPUTS
        kind = (weight.scheme, weight.group_size, weight.shape[1], n_outputs)
        if kind not in self._chosen:
            self._chosen[kind] = self._choose(weight)
        return self._chosen[kind]

    def _choose(self, weight: Quantized) -> Kernel:
        serving = [k for k in KERNELS if k.scheme == weight.scheme]
        if self.wanted not in (AUTO, DEQUANTIZED):
            named = [k for k in serving if k.name == self.wanted]
            if named:
                trial = try_kernel(named[0], weight, self.device)
                if trial.problem:
                    raise UsageError(f"The kernel {self.wanted} cannot be used for {weight.scheme}: {trial.problem}.")
                return named[0]
        if self.compute == "fast":
            # Stable: the others keep their order.
            serving.sort(key=lambda kernel: _ROUNDING.get(kernel.name, len(_ROUNDING)))
        else:
            serving = [kernel for kernel in serving if kernel.rounds_to in EXACT_ROUNDINGS]
        if self.device.type == "cuda":
            return fastest([measure_kernel(kernel, weight, self.device) for kernel in serving]).kernel
        for kernel in serving:
            if kernel.name == REFERENCE or not try_kernel(kernel, weight, self.device).problem:
                return kernel
        raise RuntimeError(f"no reference kernel for {weight.scheme}")


def fastest(trials: Sequence[Trial]) -> Trial:
    """The first correct kernel, or a later one that is faster by _MARGIN."""
    right = [trial for trial in trials if not trial.problem]
    best = right[0]
    for trial in right[1:]:
        if trial.microseconds * _MARGIN < best.microseconds:
            best = trial
    return best


def try_kernel(kernel: Kernel, weight: Quantized, device: torch.device) -> Trial:
    """Run a kernel on a small weight of the same kind and compare it with the reference."""
    if device.type not in kernel.devices:
        return Trial(kernel, f"it runs on {' and '.join(kernel.devices)} only", math.nan)
    try:
        small = _small_weight(weight, device)
        packed = kernel.pack(small)
        worst = 0.0
        for rows in _PROBE_ROWS:
            x = torch.randn(rows, small.shape[1], generator=torch.Generator().manual_seed(rows)).to(device)
            worst = max(worst, relative_error(kernel.multiply(packed, x, None), dequantize(small, x, None)))
    except _REFUSALS as error:
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        return Trial(kernel, reason, math.nan)
    if not worst <= kernel.tolerance:  # NaN too
        return Trial(kernel, f"it is wrong by {worst:.1e} of the result", worst)
    return Trial(kernel, "", worst)


def measure_kernel(kernel: Kernel, weight: Quantized, device: torch.device, dtype: torch.dtype | None = None) -> Trial:
    """Try a kernel, and time it with one row of `dtype` over copies of the whole weight that exceed any cache.

    A decoding step reads all layers' weights once; reusing one weight would measure the cache.
    """
    trial = try_kernel(kernel, weight, device)
    if trial.problem:
        return trial
    n_bytes = sum(part.numel() * part.element_size() for part in weight.parts.values())
    n_copies = min(_MAX_COPIES, 1 + _CACHE_BYTES[device.type] // n_bytes)
    try:
        copies = [kernel.pack(_copy(weight, device)) for _ in range(n_copies)]
        x = torch.ones(1, weight.shape[1], dtype=dtype or _usual_dtype(device), device=device)
        seconds = seconds_each([lambda p=packed: kernel.multiply(p, x, None) for packed in copies], device)  # type: ignore[misc]
    except _REFUSALS as error:  # the whole weight may fail where the small one worked, also with full memory
        return Trial(kernel, str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__, math.nan)
    return Trial(kernel, "", trial.error, seconds * 1e6, n_bytes / seconds / 1e9)


def seconds_each(works: Sequence[Callable[[], Tensor]], device: torch.device) -> float:
    """Seconds per work when all run in turn: the best of _ROUNDS after a warm-up.

    On CUDA they are replayed as a graph, as a decoding step is: launching a Triton kernel takes the host longer than
    the product takes the GPU. What cannot be captured is launched one by one.
    """
    for work in works:
        work()
    if device.type == "cuda":
        try:
            graph = _captured(works, device)
        except RuntimeError:
            return _seconds_launched(works)
        return min(_seconds_on_gpu(graph.replay) for _ in range(_ROUNDS)) / len(works)
    return _seconds_on_host(works)


def seconds_launched(works: Sequence[Callable[[], Tensor]], device: torch.device) -> float:
    """As `seconds_each`, launched one by one: at once, but of short works on CUDA it is the host's time."""
    for work in works:
        work()
    return _seconds_launched(works) if device.type == "cuda" else _seconds_on_host(works)


def _seconds_launched(works: Sequence[Callable[[], Tensor]]) -> float:
    return min(_seconds_on_gpu(lambda: [work() for work in works]) for _ in range(_ROUNDS)) / len(works)


def _seconds_on_host(works: Sequence[Callable[[], Tensor]]) -> float:
    best = math.inf
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        for work in works:
            work()
        best = min(best, time.perf_counter() - started)
    return best / len(works)


def _captured(works: Sequence[Callable[[], Tensor]], device: torch.device) -> Any:
    def together() -> None:
        for work in works:
            work()

    return capture(together, device, torch.cuda.graph_pool_handle())


def _seconds_on_gpu(run: Callable[[], Any]) -> float:
    """By events: host time only measures launches."""
    start, end = _event(), _event()
    start.record()
    run()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1e3


def _event() -> Any:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def _usual_dtype(device: torch.device) -> torch.dtype:
    return numbers_of(device, "fast").gpt


def _copy(weight: Quantized, device: torch.device) -> Quantized:
    parts = {name: part.to(device, copy=True) for name, part in weight.parts.items()}
    return Quantized(weight.scheme, weight.group_size, weight.shape, parts)


def _small_weight(weight: Quantized, device: torch.device) -> Quantized:
    """The first outputs of a weight, with the same remainder by _PROBE_OUTPUTS as all of them."""
    if layout_problem(weight.scheme, weight.group_size, weight.shape) is not None:
        raise UsageError("the weight does not have the layout of its scheme")
    n_outputs = min(weight.shape[0], _PROBE_OUTPUTS + weight.shape[0] % _PROBE_OUTPUTS)
    parts = {name: part[:n_outputs].to(device).contiguous() for name, part in weight.parts.items()}
    return Quantized(weight.scheme, weight.group_size, (n_outputs, weight.shape[1]), parts)
