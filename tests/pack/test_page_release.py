"""What is read from a mapped file does not stay in memory, and what is not a mapped file is left alone."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from edgetts.models.bigvgan import BigVGAN
from edgetts.pack.load import open_pack
from edgetts.pack.page_release import give_back
from edgetts.quant.folding import fold_weight_norm, transpose_conv1d
from edgetts.quant.lazy import LazyTensor
from edgetts.quant.quantize import quantize
from edgetts.quant.schemes import SchemeRule
from edgetts.quant.source import open_pack_source
from edgetts.quant.tensor_file import TensorFilePlan
from edgetts.quant.weights import open_pickled, open_safetensors

SIDE = 512
TENSOR_BYTES = SIDE * SIDE * 4
# Matrices of GPT-2, which are transposed, a convolution with weight norm, which is folded, and others.
NAMES = [f"gpt.h.{i}.mlp.c_fc.weight" for i in range(4)] + [f"other.{i}.weight" for i in range(7)]
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux what is in memory")


def resident(path: Path) -> int:
    """Bytes of a mapped file that are counted as this process's memory."""
    maps = Path("/proc/self/smaps").read_text()
    found = re.findall(rf"^[0-9a-f]+-[0-9a-f]+ .*{re.escape(str(path))}\n(?:.*\n)*?Rss: +(\d+) kB", maps, re.MULTILINE)
    assert found, "the file is not mapped"
    return sum(map(int, found)) << 10


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    values = {name: torch.randn(SIDE, SIDE, generator=generator) for name in NAMES}
    values["c.weight_v"] = torch.randn(SIDE, SIDE, generator=generator)
    values["c.weight_g"] = torch.ones(SIDE, 1)
    return values


def _pickled(path: Path, tensors: dict[str, torch.Tensor]) -> dict[str, LazyTensor]:
    torch.save({"model": tensors}, path)
    return open_pickled(path, ("model",))


def _safetensors(path: Path, tensors: dict[str, torch.Tensor]) -> dict[str, LazyTensor]:
    save_file(tensors, path)
    return open_safetensors(path)


@linux
@pytest.mark.parametrize("write", [_pickled, _safetensors])
def test_one_tensor_at_a_time_is_in_memory(
    write: Callable[[Path, dict[str, torch.Tensor]], dict[str, LazyTensor]],
    tensors: dict[str, torch.Tensor],
    tmp_path: Path,
) -> None:
    path = tmp_path / "checkpoint"
    lazy = transpose_conv1d(fold_weight_norm(write(path, tensors)))
    seen: list[int] = []
    rules = [SchemeRule("other.1.*", "int8_channel")]
    plan = TensorFilePlan("gpt", lazy, "float16", rules)
    with (tmp_path / "out").open("xb") as file:
        plan.write(file, digests=True, progress=lambda _: seen.append(resident(path)))
    assert len(seen) == len(lazy) + 1  # the one that is quantized has two parts
    assert max(seen) < TENSOR_BYTES / 2  # between tensors; Linux reads a little around what it is asked for
    assert torch.equal(lazy["other.0.weight"].load(), tensors["other.0.weight"])  # and it can be read again
    assert resident(path) >= TENSOR_BYTES  # which is seen


@linux
def test_a_pack_as_the_source(mini_pack: Path, tmp_path: Path) -> None:
    """Under a name of its own: other tests of this process may have the pack mapped."""
    folder = Path(shutil.copytree(mini_pack, tmp_path / "own.pack", copy_function=os.link))
    tensors = open_pack_source(folder).components["gpt"]
    before = sum(float(tensor.load().sum()) for tensor in tensors.values())
    everything = resident(folder / "gpt.safetensors")
    assert everything > (folder / "gpt.safetensors").stat().st_size / 2
    for tensor in tensors.values():
        tensor.give_back()
    assert resident(folder / "gpt.safetensors") < everything / 10  # the header
    assert sum(float(tensor.load().sum()) for tensor in tensors.values()) == before


@linux
def test_memory_that_is_no_file_is_left_alone(tmp_path: Path) -> None:
    value = torch.arange(SIDE * SIDE)
    give_back(value, torch.zeros(0), torch.empty(3, device="meta"))
    assert torch.equal(value, torch.arange(SIDE * SIDE))
    torch.save(value, tmp_path / "value")
    # Whoever trains on from a mapped file has changed it in memory only: nothing of `of` is given back.
    mapped = torch.load(tmp_path / "value", mmap=True)
    mapped += 1
    LazyTensor.of(mapped).give_back()
    assert mapped[5] == 6


@linux
def test_a_converted_network_leaves_no_pages_of_its_file(mini_pack: Path, tmp_path: Path) -> None:
    folder = tmp_path / "half.pack"
    quantize(mini_pack, folder, "laptop-8gb", measure=False)  # the vocoder in float16
    pack = open_pack(folder, home=tmp_path)
    as_stored = pack.state_dict("vocoder", dtype=None)  # keeps the file mapped
    path = folder / "vocoder.safetensors"
    assert resident(path) < path.stat().st_size / 10
    expected = {name: value.float() for name, value in as_stored.items()}
    assert resident(path) > path.stat().st_size / 2  # looked at, so it is there: the check sees pages
    before = resident(path)
    vocoder = pack.module("vocoder", lambda: BigVGAN(pack.config.vocoder))
    assert resident(path) <= before  # the second mapping of the file has left none
    assert all(torch.equal(value, expected[name]) for name, value in vocoder.state_dict().items())


@linux
def test_weights_that_were_changed_in_memory_survive_another_opening(mini_pack: Path, tmp_path: Path) -> None:
    pack = open_pack(mini_pack, home=tmp_path)
    trained = pack.state_dict("quantizer")
    before = {name: value.clone() for name, value in trained.items()}
    for value in trained.values():
        value.add_(1)  # as training in place would, in the mapped pages
    again = pack.state_dict("quantizer")
    assert all(torch.equal(value, before[name] + 1) for name, value in trained.items())
    assert all(torch.equal(value, before[name]) for name, value in again.items())
