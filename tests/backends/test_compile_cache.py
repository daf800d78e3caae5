"""What compilers make is kept for the next process, apart by pack, card and versions."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.paths import TESTS

from edgetts.backends import compile_cache
from edgetts.backends.compile_cache import VARIABLES, CompileWatch, keep_compiled
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


COMPILE = """
import json, sys
import torch
from pathlib import Path
from edgetts.backends.compile_cache import CompileWatch
from edgetts.backends.dit_blocks import DiTBlocks, compile_block
from edgetts.backends.frame_ops import FunctionalFrameOps
from edgetts.models.dit import DiT, rope_table
from helpers.s2mel_config import tiny_dit_config

torch.set_num_threads(1)
watch = CompileWatch(Path(sys.argv[1]))
plain = DiT(tiny_dit_config()).eval().requires_grad_(False)
ops = FunctionalFrameOps(torch.float32)
blocks = DiTBlocks(
    plain.transformer.layers, plain.rope_dim, torch.float32, torch.device("cpu"), ops, compile_block
)
n_channels = plain.transformer.layers[0].attention.wqkv.in_features
conditions = [torch.zeros(1, 1, 2 * n_channels)] * (2 * len(plain.transformer.layers))
with torch.inference_mode():
    rope = ops.rope(rope_table(20, plain.rope_dim, torch.device("cpu")))
    blocks(torch.ones(2, 20, n_channels), conditions, rope, plain.transformer.n_emitting, 0)
blocks.wait()
assert not blocks._swapped.problem, blocks._swapped.problem
made = watch.so_far()
print(json.dumps([made.misses, made.hits, made.new_files]))
"""


@pytest.mark.slow
def test_a_second_process_compiles_nothing(tmp_path: Path) -> None:
    """By Inductor for the CPU, whose cache works as the one for CUDA does."""
    environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(TESTS)}
    found = []
    for _ in range(2):
        command = [sys.executable, "-c", COMPILE, str(tmp_path)]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=TESTS.parent)
        assert run.returncode == 0, run.stderr[-2000:]
        found.append(json.loads(run.stdout.splitlines()[-1]))
    (cold_misses, _, cold_files), (misses, hits, files) = found
    assert cold_misses >= 1 and cold_files >= 1
    assert misses == 0 and hits >= 1 and files == 0


def test_without_a_compiler_nothing_is_counted(tmp_path: Path) -> None:
    watch = CompileWatch(tmp_path)
    (tmp_path / "inductor").mkdir()
    (tmp_path / "inductor" / "kernel.py").write_text("")
    assert watch.so_far().new_files == 1 and CompileWatch(None).so_far().new_files == 0
