"""Storage schemes: what is stored decodes to what was meant, takes the bytes that were promised, and is refused if not sound."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from edgetts.errors import PackError
from edgetts.pack import entries
from edgetts.pack.schemes import NF4_LEVELS, SCHEMES, ZERO_STEPS, Quantized, pack_nibbles, stored_bytes, unpack_nibbles
from edgetts.quant.lazy import LazyTensor
from edgetts.quant.schemes import PLAIN, SchemeRule, int4_codes, int4_grid, round_to_nearest
from edgetts.quant.tensor_file import TensorFilePlan

CASES = [("int8_channel", None), *(("int4_group", group) for group in (32, 64, 128)), ("nf4_group", 64)]


def weight(rows: int = 24, columns: int = 256) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(0)) * 0.02


def stored(value: Tensor, scheme: str, group: int | None) -> Quantized:
    return Quantized(scheme, group, tuple(value.shape), round_to_nearest("w", value, SchemeRule("*", scheme, group)))


def snr(value: Tensor, decoded: Tensor) -> float:
    return float(10 * torch.log10(value.square().sum() / (value - decoded).square().sum()))


def test_the_manifest_names_the_schemes_that_can_be_decoded() -> None:
    assert tuple(SCHEMES) == entries.SCHEMES


@pytest.mark.parametrize(("scheme", "group"), CASES)
def test_parts_are_laid_out_as_said(scheme: str, group: int | None) -> None:
    value = weight()
    kept = stored(value, scheme, group)
    layout = SCHEMES[scheme].layout(tuple(value.shape), group)
    assert {name: tuple(part.shape) for name, part in kept.parts.items()} == dict(layout)
    assert {name: part.dtype for name, part in kept.parts.items()} == dict(SCHEMES[scheme].parts)
    assert SCHEMES[scheme].shape(layout["codes"]) == value.shape
    assert sum(part.nbytes for part in kept.parts.values()) == stored_bytes(scheme, group, tuple(value.shape))


@pytest.mark.parametrize(("case", "least_db"), list(zip(CASES, (40.0, 21.3, 20.3, 19.3, 20.2), strict=True)))
def test_signal_to_noise(case: tuple[str, int | None], least_db: float) -> None:
    value = weight(64, 512)
    assert snr(value, stored(value, *case).decode()) > least_db


def test_int4_errors_are_within_half_a_step() -> None:
    value = weight()
    value[0, :32] = 0
    value[1, :32] = 0.5 + value[1, :32]  # all on one side: zero is on the grid all the same
    value[2, :32] = -1e-9
    kept = stored(value, "int4_group", 32)
    error = (kept.decode() - value).abs().reshape(24, -1, 32).amax(-1)
    # fp16 scales are a little off, and so is the end of the range.
    assert (error <= kept.parts["scales"].float() * 0.5 * 1.05 + 1e-8).all()
    assert (kept.decode()[0, :32] == 0).all()
    scales, zeros = int4_grid(value, 32)
    assert torch.equal(int4_codes(kept.decode(), scales, zeros), unpack_nibbles(kept.parts["codes"]))
    assert (zeros % ZERO_STEPS == 0).all()


def test_nf4_takes_the_nearest_level() -> None:
    value = torch.tensor(NF4_LEVELS).repeat(2, 4)
    value[1] *= 3
    kept = stored(value, "nf4_group", 64)
    assert torch.allclose(kept.decode(), value, atol=1e-6)
    between = torch.full((1, 64), 0.05)  # between the levels 0.0796 and 0
    between[0, 0] = 1
    assert float(stored(between, "nf4_group", 64).decode()[0, 1]) == pytest.approx(NF4_LEVELS[8])


def test_nibbles() -> None:
    codes = torch.arange(16, dtype=torch.uint8).repeat(2).reshape(2, 16)
    assert pack_nibbles(codes)[0, 0] == 0x10  # the even column is the low half
    assert torch.equal(unpack_nibbles(pack_nibbles(codes)), codes)


def test_large_tensors_are_worked_on_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = stored(weight(), "int4_group", 32).parts
    monkeypatch.setattr("edgetts.quant.schemes._CHUNK_VALUES", 1000)
    in_parts = stored(weight(), "int4_group", 32).parts
    assert all(torch.equal(whole[name], in_parts[name]) for name in whole)


def test_rules_are_taken_in_order_and_misfits_are_listed() -> None:
    tensors = {
        name: LazyTensor.of(value)
        for name, value in {"a.weight": weight(4, 64), "b.weight": weight(4, 64), "a.bias": torch.zeros(4)}.items()
    }
    rules = (SchemeRule("a.*", PLAIN), SchemeRule("*", "int4_group", 32))
    plan = TensorFilePlan("gpt", tensors, "float16", rules)
    assert list(plan.rules) == ["b.weight"]
    assert plan.entry("gpt.safetensors").schemes[0].group_size == 32
    assert plan.n_bytes == 4 * 64 * 2 + 4 * 4 + stored_bytes("int4_group", 32, (4, 64))
    tensors["c.weight"] = LazyTensor.of(torch.zeros(4, 48))
    tensors["d.weight"] = LazyTensor.of(torch.zeros(4, 8, 3))
    with pytest.raises(PackError, match=r"gpt cannot be stored.*c.weight has shape \[4, 48\].*d.weight has shape"):
        TensorFilePlan("gpt", tensors, "float16", rules)


def test_what_quantizing_did_is_measured_while_writing(tmp_path: Path) -> None:
    value = weight()
    tensors = {"w": LazyTensor.of(value), "zero": LazyTensor.of(torch.zeros(2, 32))}
    plan = TensorFilePlan("gpt", tensors, "float32", [SchemeRule("*", "int4_group", 32)])
    with (tmp_path / "x.safetensors").open("xb") as file:
        written = plan.write(file, digests=False)
    assert written.snr["w"] == pytest.approx(snr(value, stored(value, "int4_group", 32).decode()), abs=1e-3)
    assert written.snr["zero"] == 200.0


def test_bf16_is_stored_as_bf16(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    plan = TensorFilePlan("gpt", {"w": LazyTensor.of(weight()), "b": LazyTensor.of(torch.ones(3))}, "bfloat16")
    with (tmp_path / "x.safetensors").open("xb") as file:
        plan.write(file, digests=False)
    found = load_file(tmp_path / "x.safetensors")
    assert torch.equal(found["w"], weight().bfloat16()) and found["b"].dtype == torch.float32
