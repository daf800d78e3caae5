from __future__ import annotations

import struct
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from edgetts.errors import PackError, UsageError
from edgetts.families.indextts2.dims import INDEXTTS_2
from edgetts.families.indextts2.networks import NETWORKS
from edgetts.pack.config import ModelConfig
from edgetts.pack.entries import TOKENIZER_FILE
from edgetts.pack.load import Pack, open_pack
from edgetts.quant.lazy import LazyTensor
from edgetts.quant.schemes import SchemeRule, round_to_nearest
from edgetts.quant.tensor_file import TensorFilePlan
from edgetts.quant.writer import PackWriter


def writer(target: Path, config: ModelConfig, **options: bool | str) -> PackWriter:
    return PackWriter(target, config, name="test", recipe="test", license="none", **options)  # type: ignore[arg-type]


def test_quantized_pack_loads_as_networks(mini_pack: Path, tmp_path: Path) -> None:
    source = open_pack(mini_pack)
    rules = {"gpt": [SchemeRule("gpt.h.*.weight", "int8_channel")], "vocoder": [SchemeRule("*", "int8_channel")]}
    with writer(tmp_path / "small.pack", source.config) as made:
        for component in INDEXTTS_2.components:
            made.add_component(component, source.state_dict(component), rules=rules.get(component, ()))
        made.add_file(TOKENIZER_FILE, source.tokenizer_path)
        made.add_file("voices/anna.safetensors", b"a voice")
        made.finish(quality={"wer": 0.1})
    small = open_pack(tmp_path / "small.pack", verify=True)
    assert small.manifest.encoder_id == source.manifest.encoder_id
    assert small.manifest.quality == {"wer": 0.1}
    assert small.file("voices/anna.safetensors").read_bytes() == b"a voice"
    assert small.shapes("gpt").keys() == source.shapes("gpt").keys()
    for component in ("gpt", "vocoder"):
        network = small.module(component, lambda name=component: NETWORKS[name].build(source.config))
        original = source.state_dict(component)
        for name, value in network.state_dict().items():
            if name in small.manifest.components[component].scheme_of():
                rows = original[name].flatten(1).abs().amax(1)
                error = (value - original[name]).flatten(1).abs().amax(1)
                assert (error <= rows / 127 / 2 * 1.001).all()
            else:
                assert torch.equal(value, original[name])
    quantized = small.manifest.components["gpt"].scheme_of()
    assert "gpt.h.0.attn.c_attn.weight" in quantized and "gpt.h.0.ln_1.weight" not in quantized
    assert half_of(small, "vocoder").dtype == torch.float16


def half_of(pack: Pack, component: str) -> Tensor:
    name = next(iter(pack.manifest.components[component].scheme_of()))
    return pack.state_dict(component, dtype=torch.float16)[name]


def test_int8_of_zeros_and_extremes() -> None:
    weight = torch.tensor([[0.0, 0.0], [3.0, -1.5], [1e-30, 0.0]])
    parts = round_to_nearest("weight", weight, SchemeRule("*", "int8_channel"))
    assert parts["codes"].tolist() == [[0, 0], [127, -64], [127, 0]]
    assert torch.isfinite(parts["scales"]).all()


def test_tensors_must_fit_their_network(mini_pack: Path, tmp_path: Path) -> None:
    source = open_pack(mini_pack)
    tensors = source.state_dict("quantizer")
    tensors["more"] = torch.zeros(1)
    name = "quantizer.quantizers.0.codebook.weight"
    tensors[name] = tensors[name][:5]
    with (
        writer(tmp_path / "pack", source.config) as made,
        pytest.raises(PackError, match=r"unexpected tensor more.*codebook\.weight has shape \[5, 8\]"),
    ):
        made.add_component("quantizer", tensors)


def test_an_unfinished_pack_never_appears(mini_pack: Path, tmp_path: Path) -> None:
    source = open_pack(mini_pack)
    with pytest.raises(PackError, match="not complete"), writer(tmp_path / "pack", source.config) as made:
        made.add_component("quantizer", source.state_dict("quantizer"))
        made.finish()
    assert list(tmp_path.iterdir()) == []
    with writer(tmp_path / "pack", source.config) as made:
        made.add_component("quantizer", source.state_dict("quantizer"))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError):
        writer(mini_pack, source.config)


def test_file_layout(tmp_path: Path) -> None:
    """The safetensors package reads what is written, and tensors start where vector kernels like them."""
    generator = torch.Generator().manual_seed(0)
    tensors = {
        "odd": torch.randn(3, generator=generator),
        "matrix": torch.randn(32, 16, generator=generator),
        "counter": torch.tensor(7),
        "empty": torch.zeros(0, 4),
        "view": torch.randn(8, 4, generator=generator).t(),
        "quantized": torch.randn(5, 7, generator=generator),
    }
    lazy = {name: LazyTensor.of(tensor) for name, tensor in tensors.items()}
    plan = TensorFilePlan("gpt", lazy, "float16", [SchemeRule("quant*", "int8_channel")])
    written: list[int] = []
    with (tmp_path / "x.safetensors").open("xb") as file:
        result = plan.write(file, digests=True, progress=written.append)
    data = (tmp_path / "x.safetensors").read_bytes()
    assert len(data) == result.file.bytes and sum(written) == plan.n_bytes
    assert (8 + struct.unpack("<Q", data[:8])[0]) % 64 == 0
    assert set(result.digests) == set(tensors)
    with safe_open(tmp_path / "x.safetensors", framework="pt") as file:
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert set(stored) == (set(tensors) - {"quantized"}) | {"quantized.codes", "quantized.scales"}
    assert torch.equal(stored["view"], tensors["view"].half())
    assert torch.equal(stored["odd"], tensors["odd"])  # vectors stay float32
    assert stored["counter"] == 7
    base = min(tensor.data_ptr() for tensor in stored.values() if tensor.numel())
    assert (stored["matrix"].data_ptr() - base) % 64 == 0
    assert all(tensor.data_ptr() % tensor.element_size() == 0 for tensor in stored.values() if tensor.numel())
