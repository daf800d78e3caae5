"""Tensors of mapped files: as safetensors reads them, and without a leak."""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from edgetts.pack.header import read_header
from edgetts.pack.mapped_tensors import DTYPES, MappedTensors
from edgetts.pack.plain_json import InvalidJSON


@pytest.fixture
def path(tmp_path: Path) -> Path:
    generator = torch.Generator().manual_seed(1)
    tensors = {str(dtype): (torch.rand(7, 3, generator=generator) * 100).to(dtype) for dtype in DTYPES.values()}
    tensors |= {"empty": torch.zeros(0, 5), "one": torch.tensor(3.5), "large": torch.rand(300, 100)}
    file = tmp_path / "a.safetensors"
    save_file(tensors, file, {"about": "x"})
    return file


def test_every_tensor_is_that_of_safetensors(path: Path) -> None:
    mapped = MappedTensors(path, read_header(path))
    with safe_open(path, framework="pt") as file:
        names = list(file.keys())
        for name in names:
            found, expected = mapped.tensor(name), file.get_tensor(name)
            assert found.dtype == expected.dtype and torch.equal(found, expected), name
    assert len(names) == len(DTYPES) + 3
    with pytest.raises(KeyError):
        mapped.tensor("other")


def test_reading_leaves_nothing(path: Path) -> None:
    def blocks(n: int) -> int:
        """More after reading a tensor `n` times."""
        gc.collect()
        before = sys.getallocatedblocks()
        for _ in range(n):
            mapped.tensor("large")
        gc.collect()
        return sys.getallocatedblocks() - before

    mapped = MappedTensors(path, read_header(path))
    blocks(10)
    assert blocks(2000) < 500


def test_an_unknown_number_format_is_named(tmp_path: Path) -> None:
    header = json.dumps({"a": {"dtype": "F8_E5M2", "shape": [2], "data_offsets": [0, 2]}}).encode()
    path = tmp_path / "b.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"ab")
    with pytest.raises(InvalidJSON, match="'a' has the unknown number format F8_E5M2"):
        MappedTensors(path, read_header(path)).tensor("a")
