"""A runner that detects operations a CUDA graph cannot replay: for tests, and for dry runs without a GPU.

In: a step. Out: the step has run, or a `NotReplayable` that names the operation. Detected on any device: values read by
the host, results whose size depends on data, copies between devices and from the host, memory that a step keeps, and
tensors of the state that moved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from edgetts.backends.decode_step import DecodeStep
from edgetts.backends.replay import Unit

_READS = ("_local_scalar_dense", "item", "equal", "is_nonzero")
_SIZED_BY_DATA = ("nonzero", "masked_select", "unique_consecutive", "_unique", "_unique2", "unique_dim", "bincount")
_UPLOADS = ("lift_fresh", "lift", "lift_fresh_copy")  # what torch.tensor([...]) is under a dispatch mode
_INDEXED = ("index", "index_put", "index_put_", "_index_put_impl_")


class NotReplayable(AssertionError):
    """A step did something that a CUDA graph cannot replay."""


class StepWatch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Raises on operations that synchronize or copy between devices, and records allocations."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._made: list[tuple[StorageWeakRef, str]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        given = list(_tensors((args, kwargs)))
        if name in _READS:
            raise NotReplayable(f"{name}: the host reads a value")
        if name in _SIZED_BY_DATA or (name in _INDEXED and _has_mask(args[1])):
            raise NotReplayable(f"{name}: the size of the result depends on data")
        if name in _UPLOADS:
            raise NotReplayable(f"{name}: host data is copied to the device")
        result = func(*args, **kwargs)
        devices = {tensor.device for tensor in given}
        moved = {tensor.device for tensor in _tensors(result)} - devices
        if len(devices) > 1 or (given and moved):
            named = ", ".join(sorted(str(device) for device in devices | moved))
            raise NotReplayable(f"{name}: tensors of several devices, {named}")
        before = {tensor.untyped_storage()._cdata for tensor in given}
        for tensor in _tensors(result):
            if tensor.untyped_storage()._cdata not in before:
                storage = StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]
                self._made.append((storage, name))
        return result

    def kept(self) -> list[str]:
        """The operations whose results are still allocated."""
        return [name for storage, name in self._made if not storage.expired()]  # type: ignore[no-untyped-call]


class WatchedRunner:
    """Runs each step under a `StepWatch`. body: runs the step. n_steps: steps run so far."""

    name = "watched"

    def __init__(self, body: Callable[[DecodeStep, int], None] | None = None) -> None:
        self.notices: list[str] = []
        self.n_steps = 0
        self._body = body or _run
        self._addresses: dict[str, int] | None = None

    def prepare(self, step: DecodeStep, bucket: int) -> None:
        pass

    def run(self, step: DecodeStep, bucket: int) -> None:
        """Raises NotReplayable."""
        self._addresses = self._addresses or _addresses(step.state.tensors())
        _watch(lambda: self._body(step, bucket), step.state.tensors, self._addresses)
        self.n_steps += 1

    def forget(self) -> None:
        self._addresses = None


class WatchedUnits:
    """Runs each `replay.Unit` under a `StepWatch`. n_runs: so far."""

    def __init__(self) -> None:
        self.notices: list[str] = []
        self.n_runs = 0
        self._addresses: dict[int, dict[str, int]] = {}

    def run(self, unit: Unit) -> bool:
        """Raises NotReplayable."""
        before = self._addresses.setdefault(id(unit), _addresses(unit.tensors()))
        _watch(unit, unit.tensors, before)
        self.n_runs += 1
        return True

    def forget(self, unit: Unit) -> None:
        self._addresses.pop(id(unit), None)


def _watch(work: Callable[[], None], tensors: Callable[[], dict[str, Tensor]], before: dict[str, int]) -> None:
    _compare(before, tensors(), "before")
    watch = StepWatch()
    with watch:
        work()
    _compare(before, tensors(), "in")
    kept = watch.kept()
    if kept:
        raise NotReplayable(f"a step keeps memory that it allocated: {', '.join(kept)}")


def _compare(before: dict[str, int], tensors: dict[str, Tensor], when: str) -> None:
    moved = [name for name, address in _addresses(tensors).items() if before[name] != address]
    if moved:
        raise NotReplayable(f"tensors of the state moved {when} a step: {', '.join(moved)}")


def _run(step: DecodeStep, bucket: int) -> None:
    step(bucket)


def _addresses(tensors: dict[str, Tensor]) -> dict[str, int]:
    return {name: tensor.data_ptr() for name, tensor in tensors.items()}


def _has_mask(indices: Any) -> bool:
    return any(index.dtype in (torch.bool, torch.uint8) for index in _tensors(indices))


def _tensors(tree: Any) -> Iterator[Tensor]:
    """Those of a tree, without weights in a library's own layout, which are constants and have no address."""
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor) and not leaf.is_mkldnn)
