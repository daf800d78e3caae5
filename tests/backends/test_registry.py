"""Kernels are chosen by running them; on CUDA by measuring them over more weights than a cache holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from helpers.gpt_weights import quantized
from torch import Tensor

from edgetts.backends.kernels import KERNELS, Kernel, KernelChoice, aten, base, cpu, registry, relative_error
from edgetts.backends.kernels.registry import Trial, fastest, measure_kernel
from edgetts.backends.linear import QuantizedLinear
from edgetts.compute import Compute
from edgetts.errors import UsageError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
REFERENCE = next(k for k in KERNELS if k.name == base.REFERENCE and k.scheme == "int8_channel")


def trial(name: str, microseconds: float, problem: str = "") -> Trial:
    return Trial(dataclasses.replace(REFERENCE, name=name), problem, 0.0, microseconds)


def test_a_later_kernel_has_to_be_clearly_faster() -> None:
    assert fastest([trial("a", 10), trial("b", 9.5), trial("c", 11)]).kernel.name == "a"
    assert fastest([trial("a", 10), trial("b", 9.0), trial("c", 8.5)]).kernel.name == "b"
    assert fastest([trial("a", 10), trial("b", 8.0), trial("c", 4)]).kernel.name == "c"
    assert fastest([trial("a", 1, "refused"), trial("b", 9.0)]).kernel.name == "b"


def test_no_weight_is_measured_from_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every product is by another copy than the last one, and they are more than a cache holds."""
    weight = quantized("int8_channel", None, (64, 64))
    monkeypatch.setitem(registry._CACHE_BYTES, "cpu", 5 * 64 * 64)
    read: list[int] = []

    def multiply(packed: Any, x: Tensor, bias: Tensor | None) -> Tensor:
        read.append(packed.parts["codes"].data_ptr())
        return base.dequantize(packed, x, bias)

    found = measure_kernel(dataclasses.replace(REFERENCE, multiply=multiply), weight, CPU)
    last = read[-5 * registry._ROUNDS :]
    assert len(set(last)) == 5 and last[:5] * registry._ROUNDS == last
    assert not found.problem and found.microseconds > 0
    assert found.gb_per_s == pytest.approx(64 * 68 / found.microseconds / 1e3)


class Graph:
    """Of a capture that never ran: its replay is written to the log."""

    def __init__(self, log: list[str]) -> None:
        self.log = log

    def replay(self) -> None:
        self.log.append("replay")


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happens in order, with an event that measures 12 ms."""
    log: list[str] = []

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            log.append("record")

        def synchronize(self) -> None:
            log.append("wait")

        def elapsed_time(self, end: Event) -> float:
            return 12.0  # milliseconds

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None)
    return log


def test_on_cuda_a_replayed_graph_is_timed(monkeypatch: pytest.MonkeyPatch, log: list[str]) -> None:
    """Not the launches, which take the host longer than a product takes the GPU."""

    def captured(work: Callable[[], None], device: torch.device, pool: Any) -> Graph:
        work()
        return Graph(log)

    monkeypatch.setattr(registry, "capture", captured)
    works = [lambda: log.append("work") or torch.ones(1) for _ in range(3)]  # type: ignore[func-returns-value]
    assert registry.seconds_each(works, CUDA) == pytest.approx(0.004)
    assert log == ["work"] * 6 + ["record", "replay", "record", "wait"] * registry._ROUNDS


def test_what_cannot_be_captured_is_launched_and_timed(monkeypatch: pytest.MonkeyPatch, log: list[str]) -> None:
    def refused(*_: Any) -> Graph:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(registry, "capture", refused)
    works = [lambda: log.append("work") or torch.ones(1) for _ in range(3)]  # type: ignore[func-returns-value]
    assert registry.seconds_each(works, CUDA) == pytest.approx(0.004)
    assert log == ["work"] * 3 + ["record", "work", "work", "work", "record", "wait"] * registry._ROUNDS


def test_on_cuda_the_fastest_is_chosen_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def measured(kernel: Kernel, weight: Any, device: torch.device) -> Trial:
        asked.append(kernel.name)
        return Trial(kernel, "", 0.0, {"triton": 5.0, "int8pack": 3.0}.get(kernel.name, 50.0))

    monkeypatch.setattr(registry, "measure_kernel", measured)
    choice, weight = KernelChoice(CUDA, compute="fast"), quantized("int8_channel", None, (64, 64))
    assert choice(weight).name == "int8pack" and choice(weight).name == "int8pack"
    assert asked.count("triton") == 1
    assert KernelChoice(CPU)(weight).name != "int8pack"  # the first that is right there, whatever it takes


@pytest.mark.parametrize(
    ("scheme", "group", "half"), [("int4_group", 64, "tinygemm"), ("nf4_group", 64, "bitsandbytes")]
)
def test_exact_on_cuda_never_times_a_half_precision_kernel(
    monkeypatch: pytest.MonkeyPatch, scheme: str, group: int, half: str
) -> None:
    """However fast it is; by name it is used in any mode."""
    monkeypatch.setattr(registry, "measure_kernel", lambda k, w, d: Trial(k, "", 0.0, 1.0 if k.name == half else 50.0))
    monkeypatch.setattr(registry, "try_kernel", lambda k, w, d: Trial(k, "", 0.0))
    weight = quantized(scheme, group, (64, 64))
    chosen = {c: KernelChoice(CUDA, compute=c)(weight) for c in get_args(Compute)}
    assert chosen["fast"].name == half
    assert {chosen[c].rounds_to for c in ("exact", "reference")} <= set(base.EXACT_ROUNDINGS)
    assert KernelChoice(CUDA, half, "exact")(weight).name == half


@pytest.mark.parametrize(("scheme", "group"), [("int4_group", 64), ("int8_channel", None)])
def test_exact_on_a_cpu_without_native_kernels_takes_the_reference(
    monkeypatch: pytest.MonkeyPatch, scheme: str, group: int | None
) -> None:
    monkeypatch.setattr(cpu, "find_library", lambda: None)
    weight = quantized(scheme, group, (64, 64))
    assert KernelChoice(CPU, compute="exact")(weight).name == base.REFERENCE
    assert KernelChoice(CPU, compute="fast")(weight).name == "aten"
    assert KernelChoice(CPU, "aten", "exact")(weight).name == "aten"


def test_tinygemm_keeps_one_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against what its operators are documented to do: even inputs in the high half, (code - 8) * scale + offset."""

    def converted(high_first: Tensor, tiles: int) -> Tensor:
        assert tiles == 8
        return torch.stack([high_first >> 4, high_first & 0xF], dim=-1).flatten(1)

    def multiplied(x: Tensor, codes: Tensor, group: int, scales: Tensor) -> Tensor:
        assert x.dtype == torch.bfloat16
        scale, offset = (scales[..., i].float().repeat_interleave(group, 0).t() for i in (0, 1))
        return (x.float() @ ((codes.float() - 8) * scale + offset).t()).to(torch.bfloat16)

    monkeypatch.setattr(torch, "_convert_weight_to_int4pack", converted)
    monkeypatch.setattr(torch, "_weight_int4pack_mm", multiplied)
    kernel = next(k for k in KERNELS if k.name == "tinygemm")
    weight = quantized("int4_group", 64, (24, 256))
    layer = QuantizedLinear(weight, kernel, bias=False)
    kept = [value for value in (layer._stored, *layer.packed) if value is weight or value is weight.parts["codes"]]  # type: ignore[misc]
    assert kept == []
    for rows in (1, 3, 300):  # many rows, too: no dequantized weight
        x = torch.randn(rows, 256, generator=torch.Generator().manual_seed(rows))
        assert relative_error(layer(x), x @ weight.decode().t()) < 1e-2
    assert relative_error(layer.weight, weight.decode()) < 1e-2
    with pytest.raises(UsageError, match="multiple of 32"):
        kernel.pack(quantized("int4_group", 16, (24, 48)))


def test_int8_by_aten_where_the_build_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same operator on CUDA, refused by running it where it is not there."""
    on_cuda = next(k for k in KERNELS if k.name == "int8pack")
    assert on_cuda.devices == ("cuda",) and on_cuda.pack is aten._pack_int8
    weight = quantized("int8_channel", None, (64, 64))
    here = dataclasses.replace(on_cuda, devices=("cpu",))
    assert not registry.try_kernel(here, weight, CPU).problem

    def missing(*_: Any) -> Tensor:
        raise NotImplementedError("Could not run 'aten::_weight_int8pack_mm' with arguments from the 'CUDA' backend")

    monkeypatch.setattr(torch, "_weight_int8pack_mm", missing)
    assert "Could not run" in registry.try_kernel(here, weight, CPU).problem
