"""Headers of tensor files are looked at before anything is made from them."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from edgetts.errors import PackError
from edgetts.pack.header import MAX_HEADER_BYTES, METADATA, tensor_header

SOUND = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}


def write(path: Path, header: Any, data: bytes = bytes(24), length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def test_a_sound_header(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"w": torch.zeros(2, 3), "s": torch.zeros(()), "n": torch.zeros(0, 4)}, path, {"format": "x"})
    header = tensor_header(path)
    assert header["w"]["shape"] == [2, 3] and header[METADATA] == {"format": "x"}
    assert tensor_header(write(path, {"w": SOUND}))["w"] == SOUND


@pytest.mark.parametrize(
    "header",
    [
        {"w": SOUND | {"shape": [10**9, 10**9]}},
        {"w": SOUND | {"shape": [2**32, 2**32]}},
        {"w": SOUND | {"shape": [-1, 3]}},
        {"w": SOUND | {"shape": [[2, 3]]}},
        {"w": SOUND | {"shape": [1] * 1000}},
        {"w": SOUND | {"data_offsets": [0, 25]}},
        {"w": SOUND | {"data_offsets": [24, 0]}},
        {"w": SOUND | {"data_offsets": [0]}},
        {"w": SOUND | {"surplus": 1}},
        {"w": SOUND | {"dtype": ["F32"], "shape": True}},
        {"w": []},
        {METADATA: {"a": {}}},
        [],
        b"[" * 100_000,
        b'{"w":' * 50_000,
        b"\xff" * 50,
        b"",
    ],
    ids=lambda h: str(h)[:40],
)
def test_an_unsound_header_is_one_sentence(tmp_path: Path, header: Any) -> None:
    path = write(tmp_path / "a.safetensors", header)
    with pytest.raises(PackError, match="not a valid tensor file") as caught:
        tensor_header(path)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("length", [2**63, 2**40, MAX_HEADER_BYTES + 1, 10_000])
def test_lengths_that_lie(tmp_path: Path, length: int) -> None:
    with pytest.raises(PackError, match=f"its header would be {length} bytes"):
        tensor_header(write(tmp_path / "a.safetensors", {"w": SOUND}, length=length))
    (tmp_path / "b.safetensors").write_bytes(b"abc")
    with pytest.raises(PackError, match="not a valid tensor file"):
        tensor_header(tmp_path / "b.safetensors")
