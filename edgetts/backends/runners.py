"""Runners of the decoding step: eager, compiled, or replayed as a CUDA graph.

In: a `DecodeStep` and a bucket. Out: the step has run, or is queued on the current stream. All runners give the same
codes; one that fails on this machine adds a notice and falls back to the eager step. A runner belongs to one state
and may keep its addresses until `forget`. It does not know what a step computes.

Graphs of all runners of a device share a memory pool, so the caller must run their steps on one stream.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Literal, Protocol, get_args

import torch

from edgetts.backends.compiled import is_compiler_error
from edgetts.backends.decode_step import DecodeStep, decode_step
from edgetts.backends.replay import GraphUnits, UnitRunner, capture, reason
from edgetts.backends.step_state import StepKind
from edgetts.compute import Compute
from edgetts.errors import UsageError

RunnerName = Literal["auto", "host", "eager", "compile", "graph", "graph+compile"]
"""auto: `graph` on CUDA, else `host`. host: no device step; the loop of `decoding.decode` chooses each code."""


class Runner(Protocol):
    name: str
    notices: list[str]

    def prepare(self, step: DecodeStep, bucket: int) -> None:
        """Warm up for a kind of step and a bucket: compile or capture. May overwrite keys."""

    def run(self, step: DecodeStep, bucket: int) -> None: ...

    def forget(self) -> None:
        """Drop kept addresses: the state has moved."""


class EagerRunner:
    """Runs the plain step."""

    name = "eager"

    def __init__(self) -> None:
        self.notices: list[str] = []

    def prepare(self, step: DecodeStep, bucket: int) -> None:
        pass

    def run(self, step: DecodeStep, bucket: int) -> None:
        step(bucket)

    def forget(self) -> None:
        pass


class CompiledRunner:
    """The whole step through `torch.compile`, which specializes for the first bucket, for the others, and for a bucket
    as large as the state.

    backend: of `torch.compile`; tests replace it to count compilations.
    """

    name = "compile"

    def __init__(self, backend: Any = "inductor") -> None:
        self.notices: list[str] = []
        self._compiled: Callable[..., None] | None = compiled_step(backend)

    def prepare(self, step: DecodeStep, bucket: int) -> None:
        small = [tensor.clone() for tensor in step.state.small()]
        self.run(step, bucket)
        _restore(step, small)

    def run(self, step: DecodeStep, bucket: int) -> None:
        if self._compiled is not None:
            try:
                self._compiled(step.gpt, step.state, step.kind, bucket)
                return
            except Exception as error:
                if not is_compiler_error(error):
                    raise
                self._compiled = None  # compilation failed before anything ran
                self.notices.append(_notice("be compiled", error))
        step(bucket)

    def forget(self) -> None:
        pass  # compiled code takes the addresses of its arguments


class GraphRunner:
    """A CUDA graph for each kind of step and bucket, captured at first use.

    compiled: capture `CompiledRunner`'s step instead of the eager one. A failed capture does not raise: it adds a
    notice, and steps run without graphs from then on.
    """

    def __init__(self, pool: Any, *, compiled: bool = False) -> None:
        """pool: of `torch.cuda.graph_pool_handle`, shared."""
        self.name = "graph+compile" if compiled else "graph"
        self._body: EagerRunner | CompiledRunner = CompiledRunner() if compiled else EagerRunner()
        self.notices = self._body.notices
        self._pool = pool
        self._graphs: dict[tuple[StepKind, int], torch.cuda.CUDAGraph] | None = {}

    def prepare(self, step: DecodeStep, bucket: int) -> None:
        key = (step.kind, bucket)
        if self._graphs is None or key in self._graphs:
            return
        small = [tensor.clone() for tensor in step.state.small()]
        try:
            self._graphs[key] = self._capture(step, bucket, small)
        except RuntimeError as error:
            self._graphs = None
            self.notices.append(_notice("be captured as a CUDA graph", error))
            _restore(step, small)

    def run(self, step: DecodeStep, bucket: int) -> None:
        self.prepare(step, bucket)
        if self._graphs is None:
            self._body.run(step, bucket)
        else:
            self._graphs[step.kind, bucket].replay()

    def forget(self) -> None:
        if self._graphs is not None:
            self._graphs.clear()

    def _capture(self, step: DecodeStep, bucket: int, small: list[torch.Tensor]) -> torch.cuda.CUDAGraph:
        """The small state that the warm-up changes is restored; keys are simply overwritten."""
        device = step.state.slots.device
        return capture(lambda: self._body.run(step, bucket), device, self._pool, lambda: _restore(step, small))


def check_runner(name: str, device: torch.device) -> None:
    """Raises UsageError for an unknown name and for a runner that needs another device."""
    if name not in get_args(RunnerName):
        raise UsageError(f"Unknown runner {name!r}: use one of {', '.join(get_args(RunnerName))}.")
    if name.startswith("graph") and device.type != "cuda":
        raise UsageError(f"The runner {name} needs a CUDA device, and the device is {device}: use auto, host or eager.")


def runner_maker(name: RunnerName, device: torch.device) -> Callable[[], Runner] | None:
    """The factory of runners, one per state; None: codes are chosen on the host.

    Raises UsageError as `check_runner`.
    """
    check_runner(name, device)
    if name == "auto":
        name = "graph" if device.type == "cuda" else "host"
    if name == "host":
        return None
    if name == "eager":
        return EagerRunner
    if name == "compile":
        return CompiledRunner
    with torch.cuda.device(device):
        pool = torch.cuda.graph_pool_handle()
    compiled = name == "graph+compile"
    return lambda: GraphRunner(pool, compiled=compiled)


def sound_runner(device: torch.device, compute: Compute, name: RunnerName) -> UnitRunner | None:
    """The runner of the DiT's evaluations and the vocoder's windows; None: they are not replayed.

    On CUDA in `fast` only: bucketed lengths leave out frames of the prompt (`Pipeline.mel`).
    """
    captures = name == "auto" or name.startswith("graph")
    return GraphUnits(device) if device.type == "cuda" and compute == "fast" and captures else None


@cache
def compiled_step(backend: Any) -> Callable[..., None]:
    """`decode_step` compiled whole, without torch's own CUDA graphs, whose captures cannot be timed."""
    compiled: Callable[..., None] = torch.compile(decode_step, fullgraph=True, backend=backend)
    return compiled


def _restore(step: DecodeStep, small: list[torch.Tensor]) -> None:
    for tensor, before in zip(step.state.small(), small, strict=True):
        tensor.copy_(before)


def _notice(what: str, error: Exception) -> str:
    return f"The decoding step could not {what} ({reason(error)}): the eager step is used, which is slower."
