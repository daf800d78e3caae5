from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.trees import copy_tree, replace
from torch import nn

from edgetts.errors import PackError
from edgetts.families.indextts2.networks import NETWORKS
from edgetts.models.gpt import GPT
from edgetts.models.repcodec import Quantizer
from edgetts.pack.checksum import sealed
from edgetts.pack.load import Pack, open_pack
from edgetts.pack.verify import file_sha256


@pytest.fixture
def pack(mini_pack: Path, tmp_path: Path) -> Pack:
    return open_pack(mini_pack, home=tmp_path)


@pytest.mark.parametrize("component", NETWORKS)
def test_a_network_is_filled_whole_without_a_copy(pack: Pack, component: str) -> None:
    module = pack.module(component, lambda: NETWORKS[component].build(pack.config))
    assert not module.training
    path = str(pack.path / pack.manifest.components[component].file)
    files = mapped_files()
    for tensor in (*module.parameters(), *module.buffers()):
        assert tensor.device.type == "cpu" and not tensor.requires_grad
        address = tensor.data_ptr()
        assert [name for start, end, name in files if start <= address < end] == [path]
    assert all(tensor.data_ptr() % tensor.element_size() == 0 for tensor in module.parameters())


def mapped_files() -> list[tuple[int, int, str]]:
    """Start, end and file of every part of memory that is a mapped file."""
    found = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, *_, name = line.split(maxsplit=5)
        if name.endswith(".safetensors"):
            start, end = (int(part, 16) for part in addresses.split("-"))
            found.append((start, end, name))
    return found


def test_mapping_does_not_read_the_file(pack: Pack) -> None:
    """Opening a network costs next to no memory until its values are used."""

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    pack.module("conditioning", lambda: NETWORKS["conditioning"].build(pack.config))  # imports and checksum are done
    before = resident()
    module = pack.module("conditioning", lambda: NETWORKS["conditioning"].build(pack.config))
    size = sum(p.numel() * 4 for p in module.parameters())
    assert size > 40e6
    assert resident() - before < size / 4


def test_values_dtype_and_prefix(pack: Pack) -> None:
    whole = pack.state_dict("s2mel")
    regulator = pack.state_dict("s2mel", prefix="length_regulator.")
    assert regulator
    assert all(torch.equal(value, whole[f"length_regulator.{name}"]) for name, value in regulator.items())
    halves = pack.state_dict("s2mel", dtype=torch.float16)
    assert all(torch.equal(halves[name], value.half()) for name, value in whole.items())
    counters = pack.state_dict("speaker_encoder", dtype=torch.float16)["head.bn1.num_batches_tracked"]
    assert counters.dtype == torch.int64
    with pytest.raises(PackError, match="no tensors under"):
        pack.state_dict("s2mel", prefix="nothing.")
    with pytest.raises(PackError, match="no component"):
        pack.state_dict("gtp")
    module = pack.module("gpt", lambda: GPT(pack.config.gpt), dtype=torch.bfloat16)
    assert {p.dtype for p in module.parameters()} == {torch.bfloat16}


def test_a_network_that_no_pack_can_fill_is_a_mistake(pack: Pack) -> None:
    class Wrong(Quantizer):
        def __init__(self) -> None:
            super().__init__(pack.config.semantic_codec)
            self.register_buffer("table", torch.zeros(3), persistent=False)

    with pytest.raises(RuntimeError, match="table"):
        pack.module("quantizer", Wrong)


def test_misshapen_missing_and_unexpected_tensors_are_listed(pack: Pack) -> None:
    class Other(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.quantizer = Quantizer(pack.config.semantic_codec).quantizer
            self.more = nn.Linear(1, 1)
            nn.Module.__delattr__(self.quantizer.quantizers[0], "codebook")
            self.quantizer.quantizers[0].in_project = nn.Conv1d(3, 8, 1)

    with pytest.raises(PackError) as error:
        pack.module("quantizer", Other)
    for part in ("missing tensor more.weight", "unexpected tensor", "codebook.weight", "instead of [8, 3, 1]"):
        assert part in str(error.value)


def broken(mini_pack: Path, folder: Path, change: Callable[[Path], None]) -> str:
    """The sentence that a changed pack gets, from opening to loading everything."""
    pack = copy_tree(mini_pack, folder)
    change(pack)
    with pytest.raises(PackError) as error:
        opened = open_pack(pack, home=folder.parent)
        opened.state_dict("gpt")
        opened.module("gpt", lambda: GPT(opened.config.gpt))
    message = str(error.value)
    assert "gpt.safetensors" in message
    return message.replace(str(folder), "")


def in_manifest(pack: Path, change: Callable[[dict[str, Any]], None]) -> None:
    table = json.loads((pack / "manifest.json").read_text())
    change(table)
    replace(pack / "manifest.json", json.dumps(sealed(table)).encode())


def renew(pack: Path, content: bytes) -> None:
    """Put in other content and make the manifest agree: an attacker, or a broken writer."""
    path = pack / "gpt.safetensors"
    replace(path, content)
    entry = {"bytes": len(content), "sha256": file_sha256(path)}
    in_manifest(pack, lambda table: table["files"].update({"gpt.safetensors": entry}))


def test_every_way_to_break_a_file_has_its_own_sentence(mini_pack: Path, tmp_path: Path) -> None:
    good = (mini_pack / "gpt.safetensors").read_bytes()
    flipped = good[:-1] + bytes([good[-1] ^ 1])
    header = json.loads(good[8 : 8 + struct.unpack("<Q", good[:8])[0]])
    name = "gpt.h.0.ln_1.weight"
    start, end = header[name]["data_offsets"]
    lone = json.dumps({name: header[name] | {"data_offsets": [0, end - start]}}).encode()
    foreign = struct.pack("<Q", len(lone)) + lone + bytes(end - start)
    changes: dict[str, Callable[[Path], None]] = {
        "missing": lambda pack: (pack / "gpt.safetensors").unlink(),
        "truncated": lambda pack: replace(pack / "gpt.safetensors", good[:-7]),
        "longer": lambda pack: replace(pack / "gpt.safetensors", good + b"x"),
        "altered": lambda pack: replace(pack / "gpt.safetensors", flipped),
        "no header": lambda pack: renew(pack, b"\xff" * 4000),
        "foreign": lambda pack: renew(pack, foreign),
        "dimensions": lambda pack: in_manifest(pack, lambda t: t["model"]["gpt"].update({"n_layers": 5})),
        "scheme": lambda pack: in_manifest(
            pack,
            lambda t: t["components"]["gpt"].update(
                {"schemes": [{"scheme": "int8_channel", "group_size": None, "tensors": [name]}]}
            ),
        ),
    }
    sentences = {what: broken(mini_pack, tmp_path / what, change) for what, change in changes.items()}
    assert len(set(sentences.values())) == len(sentences)
    for what in ("missing", "truncated", "altered"):
        assert what in sentences[what]
    assert "missing tensor gpt.h.4.ln_1.weight" in sentences["dimensions"]
    assert f"{name}.codes" in sentences["scheme"]


def test_altered_file_is_found_after_it_was_good(mini_pack: Path, tmp_path: Path) -> None:
    pack = copy_tree(mini_pack, tmp_path / "pack")
    content = (pack / "gpt.safetensors").read_bytes()
    open_pack(pack, home=tmp_path).state_dict("gpt")
    stat = (pack / "gpt.safetensors").stat()
    replace(pack / "gpt.safetensors", content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(pack / "gpt.safetensors", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(PackError, match="altered"):
        open_pack(pack, home=tmp_path).state_dict("gpt")
    with pytest.raises(PackError, match="altered"):
        open_pack(pack, home=tmp_path, verify=True)


def test_a_checked_file_is_not_read_again(mini_pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_pack(mini_pack, home=tmp_path).state_dict("gpt")
    monkeypatch.setattr("edgetts.pack.verify.file_sha256", lambda _path: pytest.fail("read again"))
    open_pack(mini_pack, home=tmp_path).state_dict("gpt")


def test_works_without_a_cache_that_can_be_written(mini_pack: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert open_pack(mini_pack, home=tmp_path).state_dict("quantizer")
    (tmp_path / "torn" / "cache").mkdir(parents=True)
    (tmp_path / "torn" / "cache" / "verified.json").write_text("[[")
    assert open_pack(mini_pack, home=tmp_path / "torn").state_dict("quantizer")


def test_progress_of_verification(mini_pack: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    pack = open_pack(mini_pack, home=tmp_path)
    pack.verify(lambda *step: seen.append(step))
    assert len(seen) == len(pack.manifest.files) + 1
    assert seen[-1][1] == seen[-1][2] == pack.manifest.total_bytes
