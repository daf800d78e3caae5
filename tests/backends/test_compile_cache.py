"""What compilers make is kept for the next process, apart by pack, card and versions."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
import torch

from edgetts.backends import compile_cache
from edgetts.backends.compile_cache import VARIABLES, keep_compiled
from edgetts.pack.load import open_pack

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def _card(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 7))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Orin")


@pytest.mark.usefixtures("_card")
def test_a_folder_for_each_pack_card_and_version(
    mini_pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = open_pack(mini_pack).manifest
    assert keep_compiled(tmp_path, manifest, CPU) is None and not any(v in os.environ for v in VARIABLES)
    first = keep_compiled(tmp_path, manifest, CUDA)
    assert first is not None and first.parent == tmp_path / "compiled"
    assert {os.environ.pop(v) for v in VARIABLES} == {str(first / "inductor"), str(first / "triton")}
    assert keep_compiled(tmp_path, manifest, CUDA) == first  # a second process finds it
    files = {name: dataclasses.replace(entry, sha256="0" * 64) for name, entry in manifest.files.items()}
    found = {first, keep_compiled(tmp_path, dataclasses.replace(manifest, files=files), CUDA)}
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    found.add(keep_compiled(tmp_path, manifest, CUDA))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Thor")
    found.add(keep_compiled(tmp_path, manifest, CUDA))
    monkeypatch.setattr(compile_cache, "_version", lambda name: "9")
    found.add(keep_compiled(tmp_path, manifest, CUDA))
    assert len(found) == 5


@pytest.mark.usefixtures("_card")
def test_a_folder_that_the_user_named_is_left(mini_pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", "/mine")
    keep_compiled(tmp_path, open_pack(mini_pack).manifest, CUDA)
    assert os.environ["TRITON_CACHE_DIR"] == "/mine" and "compiled" in os.environ["TORCHINDUCTOR_CACHE_DIR"]
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
