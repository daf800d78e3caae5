"""What a checkpoint's files may hold, and that anything else costs neither memory nor time."""

from __future__ import annotations

import io
import json
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from helpers.trees import replace
from helpers.weights import nested, refusal
from safetensors.torch import load_file, save_file

from edgetts.errors import CheckpointError
from edgetts.pack.load import open_pack
from edgetts.quant import weights
from edgetts.quant.convert import convert
from edgetts.quant.weights import check_archive, open_pickled, open_safetensors


def saved(value: object, path: Path) -> Path:
    path.unlink(missing_ok=True)
    torch.save(value, path)
    return path


def repacked(source: Path, target: Path, method: int, **changed: bytes) -> Path:
    """The archive again, its entries packed by `method`; entries that end so get other content."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", method) as new:
        for name in old.namelist():
            data = next((d for end, d in changed.items() if name.endswith(f"{end}.pkl")), old.read(name))
            new.writestr(name, data)
    return target


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_packed_archive_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: int) -> None:
    small = saved({"a": torch.zeros(4)}, tmp_path / "small.pt")
    bomb = repacked(small, tmp_path / "bomb.pt", method, data=bytes(8 << 20))
    assert bomb.stat().st_size < 100_000
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("unpacked"))
    with pytest.raises(CheckpointError, match=r"data\.pkl' in it is packed, to \d+ of 8388608 bytes"):
        open_pickled(bomb)


def test_archives_that_torch_does_not_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = saved({"a": torch.zeros(4)}, tmp_path / "small.pt")
    check_archive(small)
    monkeypatch.setattr(weights, "MAX_PICKLE_BYTES", 10)
    with pytest.raises(CheckpointError, match=r"data\.pkl' in it has \d+ bytes"):
        check_archive(small)
    monkeypatch.undo()
    data = bytearray(small.read_bytes())
    at = data.rfind(b"PK\x05\x06")
    struct.pack_into("<L", data, at + 12, 0xF0000000)  # says it has a table of contents of 4 GB
    (tmp_path / "huge.pt").write_bytes(data)
    with pytest.raises(CheckpointError, match="its table of contents is huge"):
        open_pickled(tmp_path / "huge.pt")
    for cut in (at, at + 10, 40, 5):
        (tmp_path / "cut.pt").write_bytes(small.read_bytes()[:cut])
        with pytest.raises(CheckpointError, match="download it again"):
            open_pickled(tmp_path / "cut.pt")


def unfolding() -> dict[str, Any]:
    """A few bytes that stand for 10 ** 15 entries."""
    table: dict[str, Any] = {}
    for _ in range(15):
        table = {str(i): table for i in range(10)}
    return table


def quantized() -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.zeros(2, 2), 0.1, 0, torch.qint8)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: torch.zeros(2, 2).to_sparse(), "'x', a tensor of layout torch.sparse_coo"),
        (lambda: torch.zeros(2, 2).to_sparse_csr(), "'x', a tensor of layout torch.sparse_csr"),
        (quantized, "'x', a quantized tensor"),
        (lambda: torch.zeros(2, dtype=torch.bool), "'x', a tensor of type torch.bool"),
        (lambda: torch.zeros(2, dtype=torch.complex64), "'x', a tensor of type torch.complex64"),
        (lambda: torch.zeros(2, dtype=torch.float8_e4m3fn), "'x', a tensor of type torch.float8_e4m3fn"),
        (lambda: torch.zeros(2, dtype=torch.uint16), "'x', a tensor of type torch.uint16"),
        (lambda: torch.zeros(2, dtype=torch.uint8), "'x', a tensor of type torch.uint8"),
        (lambda: torch.empty(2, device="meta"), "'x', a tensor without values"),
        (lambda: torch.nested.nested_tensor([torch.zeros(1), torch.zeros(2)]), "x"),
        (lambda: torch._neg_view(torch.zeros(2)), "x"),
        (lambda: 3, "'x', a int"),
        (lambda: "text", "'x', a str"),
        (lambda: [torch.zeros(1)], "'x', a list"),
        (lambda: nested(30), "tables nested too deep"),
        (unfolding, "over 100000 entries"),
    ],
)
def test_what_is_no_weight_is_named(tmp_path: Path, make: Callable[[], object], words: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = saved({"good": torch.zeros(1), "x": make()}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError) as caught:
        open_pickled(path)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_endless_names_and_tables(tmp_path: Path) -> None:
    itself: dict[str, Any] = {}
    itself["again"] = itself
    for value in (itself, {"x" * 10_000: 1}, {i: i for i in range(1000)}, {}, None):
        with pytest.raises(CheckpointError) as caught:
            open_pickled(saved(value, tmp_path / "x.pt"))
        assert len(str(caught.value)) < 3000


@pytest.mark.parametrize(
    "wrap",
    [
        lambda t: {"state_dict": t},
        lambda t: {"model": {"state_dict": t}, "epoch": 3, "optimizer": {"lr": 0.1}},
        lambda t: {"state_dict": {"model": t}},
        lambda t: {"model_state_dict": t, "step": 7},
        lambda t: {f"module.{n}": v for n, v in t.items()},
        lambda t: {f"_orig_mod.{n}": v for n, v in t.items()},
        lambda t: {"model": {f"module._orig_mod.{n}": v for n, v in t.items()}},
        lambda t: {"state_dict": {f"_orig_mod.module.{n}": v for n, v in t.items()}},
        lambda t: {n.replace("h.0.", "h._orig_mod.0."): v for n, v in t.items()},
    ],
)
def test_training_wrappers_are_taken_off(tmp_path: Path, wrap: Callable[[dict[str, Any]], object]) -> None:
    tensors = {"h.0.weight": torch.ones(2), "bias": torch.zeros(1)}
    found = open_pickled(saved(wrap(tensors), tmp_path / "x.pt"), ("model",))
    assert set(found) == set(tensors) and torch.equal(found["h.0.weight"].load(), tensors["h.0.weight"])


def test_two_tensors_of_one_name(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="'a' twice"):
        open_pickled(saved({"a": torch.zeros(1), "module.a": torch.ones(1)}, tmp_path / "x.pt"))


def test_wrapped_files_convert_to_the_same(checkpoint: Path, mini_pack: Path, tmp_path: Path) -> None:
    gpt = torch.load(checkpoint / "gpt.pth", weights_only=True)
    saved({"state_dict": {f"_orig_mod.{n}": v for n, v in gpt.items()}, "epoch": 1}, checkpoint / "gpt.pth")
    w2v = checkpoint / "hf_cache/w2v-bert-2.0/model.safetensors"
    tensors = {f"module.{n}": v for n, v in load_file(w2v).items()}
    w2v.unlink()
    save_file(tensors, w2v)
    table = yaml.safe_load((checkpoint / "config.yaml").read_text())
    table["vocoder"]["name"] = "./checkpoints/bigvgan"
    replace(checkpoint / "config.yaml", yaml.safe_dump(table).encode())
    made = open_pack(convert(checkpoint, tmp_path / "pack").path).manifest
    assert made.files == open_pack(mini_pack).manifest.files


def test_safetensors_of_other_kinds(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    for tensor, words in (
        (torch.zeros(2, dtype=torch.float8_e4m3fn), "'x', of type F8_E4M3"),
        (torch.zeros(2, dtype=torch.bool), "'x', of type BOOL"),
        (torch.zeros(2, dtype=torch.uint8), "'x', of type U8"),
    ):
        save_file({"good": torch.zeros(1), "x": tensor}, path)
        with pytest.raises(CheckpointError, match=words):
            open_safetensors(path)
    for header in (b"[" * 5000, b'{"a":' * 5000, b"{}x", json.dumps({"a": {"dtype": "F32"}}).encode()):
        path.write_bytes(struct.pack("<Q", len(header)) + header)
        with pytest.raises(CheckpointError, match="download it again"):
            open_safetensors(path)
    path.write_bytes(struct.pack("<Q", 1 << 60) + b"{}")
    with pytest.raises(CheckpointError, match="header would be"):
        open_safetensors(path)


def test_whole_numbers_where_floats_belong(checkpoint: Path) -> None:
    gpt = torch.load(checkpoint / "gpt.pth", weights_only=True)
    gpt["mel_head.bias"] = gpt["mel_head.bias"].to(torch.int64)
    saved(gpt, checkpoint / "gpt.pth")
    saved(torch.zeros(73, 192, dtype=torch.int64), checkpoint / "feat1.pt")
    message = refusal(checkpoint)
    assert "gpt: mel_head.bias is of type torch.int64 instead of floats" in message
    assert "emotion: speaker_matrix is of type torch.int64" in message


@pytest.mark.parametrize("width", [64, 1023, 1025, 2048])
def test_statistics_of_another_width(checkpoint: Path, width: int) -> None:
    statistics = {"mean": torch.zeros(width), "var": torch.ones(width)}
    saved(statistics, checkpoint / "wav2vec2bert_stats.pt")
    assert f"tensor mean has shape [{width}] instead of [1024]" in refusal(checkpoint)


def test_a_pickle_of_the_old_format_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    torch.save({"a": torch.ones(3)}, buffer, _use_new_zipfile_serialization=False)
    path = tmp_path / "old.pt"
    path.write_bytes(buffer.getvalue())
    assert torch.equal(open_pickled(path)["a"].load(), torch.ones(3))
    monkeypatch.setattr(weights, "MAX_SMALL_BYTES", 10)
    with pytest.raises(CheckpointError, match=r"before torch 1\.6"):
        open_pickled(path)
