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
from helpers.trees import copy_tree, replace
from safetensors.torch import load_file, save_file

from edgetts.errors import CheckpointError
from edgetts.pack.load import open_pack
from quant import weights
from quant.convert import convert, open_checkpoint
from quant.weights import check_archive, open_pickled, open_safetensors


@pytest.fixture
def checkpoint(mini_checkpoint: Path, tmp_path: Path) -> Path:
    return copy_tree(mini_checkpoint, tmp_path / "checkpoint")


def refusal(checkpoint: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(checkpoint)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 4000
    return str(caught.value)


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


def nested(depth: int) -> dict[str, Any]:
    table: dict[str, Any] = {"a": torch.zeros(1)}
    for _ in range(depth):
        table = {"a": table}
    return table


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


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 3000000000\n"


def test_pointers_of_git_lfs_are_named_at_once(checkpoint: Path) -> None:
    pointers = [
        "gpt.pth",
        "s2mel.pth",
        "bpe.model",
        "feat1.pt",
        "hf_cache/w2v-bert-2.0/model.safetensors",
        "config.yaml",
    ]
    for name in pointers:
        replace(checkpoint / name, POINTER)
    message = refusal(checkpoint)
    assert "6 file(s) of the checkpoint are Git LFS pointers" in message and "git lfs pull" in message
    assert all(f"{name} ({len(POINTER)} bytes)" in message for name in pointers) and "edgetts download" in message


def test_web_pages_in_place_of_files(checkpoint: Path) -> None:
    replace(checkpoint / "gpt.pth", b"\n <!DOCTYPE html><html>Please log in")
    replace(checkpoint / "hf_cache/campplus_cn_common.bin", b"<html><body>Sorry")
    message = refusal(checkpoint)
    assert "2 file(s) of the checkpoint are web pages" in message and "campplus_cn_common.bin" in message


def with_config(checkpoint: Path, change: Callable[[dict[str, Any]], object], file: str = "config.yaml") -> Path:
    is_yaml = file.endswith(".yaml")
    text = (checkpoint / file).read_text()
    table = yaml.safe_load(text) if is_yaml else json.loads(text)
    change(table)
    replace(checkpoint / file, (yaml.safe_dump(table) if is_yaml else json.dumps(table)).encode())
    return checkpoint


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("config.yaml", lambda t: t["gpt"].update(model_dim=10**9), "gpt.model_dim is 1000000000, allowed is"),
        ("config.yaml", lambda t: t["gpt"].update(model_dim=10**30), "gpt.model_dim is a huge integer"),
        ("config.yaml", lambda t: t["gpt"].update(model_dim=-1), "gpt.model_dim is -1"),
        ("config.yaml", lambda t: t["gpt"].update(layers=10**6), "gpt.layers is 1000000, allowed is from 0 to 1024"),
        ("config.yaml", lambda t: t["gpt"].update(heads=0), "checkpoint"),
        ("config.yaml", lambda t: t["gpt"].update(heads=7), "heads"),
        ("config.yaml", lambda t: t["gpt"].update(layers=2.5), "gpt.layers must be an integer"),
        ("config.yaml", lambda t: t["semantic_codec"].update(codebook_dim=0), "checkpoint"),
        ("config.yaml", lambda t: t.update(emo_num=[10**9]), "emo_num must be a list of integers from 1"),
        ("config.yaml", lambda t: t.update(emo_num=[1] * 5000), "emo_num must be a list"),
        ("config.yaml", lambda t: t.update(version=10**30), "version a huge integer"),
        (
            "config.yaml",
            lambda t: t.update(gpt_checkpoint="../../gpt.pth"),
            "names '../../gpt.pth', which is not a file in",
        ),
        (
            "config.yaml",
            lambda t: t.update(gpt_checkpoint="/etc/passwd"),
            "names '/etc/passwd', which is not a file in",
        ),
        ("hf_cache/bigvgan/config.json", lambda t: t.update(upsample_rates=[0, 4]), "upsample_rates must be a list"),
        (
            "hf_cache/bigvgan/config.json",
            lambda t: t.update(upsample_initial_channel=10**9),
            "upsample_initial_channel",
        ),
        ("hf_cache/bigvgan/config.json", lambda t: t.update(num_mels=81), "num_mels is 81"),
        ("hf_cache/w2v-bert-2.0/config.json", lambda t: t.update(layer_norm_eps=1e30), "layer_norm_eps is"),
        ("hf_cache/w2v-bert-2.0/config.json", lambda t: t.update(num_attention_heads=0), "checkpoint"),
    ],
)
def test_dimensions_out_of_range(
    checkpoint: Path, file: str, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    assert words in refusal(with_config(checkpoint, change, file))


LAUGHS = b"a: &a [1]\n" + b"".join(
    b"%c: &%c [%s]\n" % (n + 1, n + 1, b", ".join([b"*%c" % n] * 9)) for n in range(97, 122)
)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a: " + b"9" * 100_000, "a number in it has 100000 characters"),
        (b"a: 0x" + b"f" * 100_000, "a number in it has"),
        (b"a: " + b"1:" * 50_000 + b"1", "a number in it has"),
        (b"a: " + b"1:" * 50_000 + b"1.5", "a number in it has"),
        (b"a: !!int '" + b"9" * 100_000 + b"'", "a number in it has"),
        (b"a: !!float '" + b"9" * 100_000 + b"'", "a number in it has"),
        (b"[" * 50_000, "nested deeper than 32"),
        (b"a: " + b"{a: " * 20_000, "nested deeper than 32"),
        (b"".join(b" " * n + b"a:\n" for n in range(300)), "nested deeper than 32"),
        (LAUGHS, "refers with `*`"),
        (b"a: &a {x: 1}\nb: {<<: *a}", "refers with `*`"),
        (b"x: 2001-99-99", "cannot be read"),
        (b"? [1]\n: 2", "cannot be read"),
        (b"!!python/object/apply:os.system [ls]", "cannot be read"),
        (b"a: \xff", "cannot be read"),
        (b"x" * (1 << 20), "too large for a configuration"),
    ],
)
def test_hostile_yaml(checkpoint: Path, content: bytes, words: str) -> None:
    replace(checkpoint / "config.yaml", content)
    assert words in refusal(checkpoint)


@pytest.mark.parametrize("content", [b"[" * 50_000, b'{"a":' * 20_000, b'{"a": ' + b"9" * 50_000 + b"}", b'{"a": NaN}'])
def test_hostile_json(checkpoint: Path, content: bytes) -> None:
    replace(checkpoint / "hf_cache/bigvgan/config.json", content)
    assert "config.json cannot be read" in refusal(checkpoint)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"- 1", "must map terms to readings"),
        (b"a: [b", "is not YAML"),
        (b"AI: 3", "must be text"),
        (b"x" * (300 << 10), "no file of at most"),
        (b"\xff", "is not YAML"),
        (LAUGHS, "refers with `*`"),
        (b"[" * 50_000, "nested deeper"),
    ],
)
def test_a_glossary_is_read_before_the_work(checkpoint: Path, content: bytes, words: str) -> None:
    (checkpoint / "glossary.yaml").write_bytes(content)
    message = refusal(checkpoint)
    assert "glossary.yaml" in message and words in message and "mend or remove it" in message


def test_a_glossary_elsewhere(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "private.yaml").write_text("AI: ay eye\n")
    glossary = checkpoint / "glossary.yaml"
    for meant, words in (
        (tmp_path / "private.yaml", "outside of the checkpoint"),
        (Path("/dev/zero"), "outside of the checkpoint"),
        (tmp_path / "none", "cannot be read"),
        (glossary, "cannot be read"),
    ):
        glossary.symlink_to(meant)
        assert words in refusal(checkpoint)
        glossary.unlink()
    glossary.mkdir()
    assert "glossary.yaml" in refusal(checkpoint)


def test_a_glossary_in_a_hub_cache_is_a_link_to_its_blobs(checkpoint: Path, tmp_path: Path) -> None:
    repository = tmp_path / "models--IndexTeam--IndexTTS-2"
    (repository / "snapshots").mkdir(parents=True)
    (repository / "blobs").mkdir()
    (repository / "blobs" / "0123").write_text("AI: ay eye\n")
    checkpoint.rename(repository / "snapshots" / "4567")
    (repository / "snapshots" / "4567" / "glossary.yaml").symlink_to("../../blobs/0123")
    made = convert(repository, tmp_path / "pack")
    path = open_pack(made.path).glossary_path
    assert path is not None and path.read_text() == "AI: ay eye\n" and not path.is_symlink()


def test_a_pickle_of_the_old_format_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    torch.save({"a": torch.ones(3)}, buffer, _use_new_zipfile_serialization=False)
    path = tmp_path / "old.pt"
    path.write_bytes(buffer.getvalue())
    assert torch.equal(open_pickled(path)["a"].load(), torch.ones(3))
    monkeypatch.setattr(weights, "MAX_SMALL_BYTES", 10)
    with pytest.raises(CheckpointError, match=r"before torch 1\.6"):
        open_pickled(path)
