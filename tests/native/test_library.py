"""The compiled library as a whole: it loads, refuses a stale build, and its threads behave."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from edgetts.errors import UsageError
from edgetts.native import library
from edgetts.native.library import Isa, find_library
from edgetts.native.linear import Activations, linear, pack_int8
from edgetts.native.structures import STRUCTURES

compiled = pytest.mark.skipif(find_library() is None, reason="the compiled kernels were not built")


def weight() -> object:
    codes = torch.randint(-128, 128, (512, 256), dtype=torch.int8, generator=torch.Generator().manual_seed(0))
    return pack_int8(codes, torch.ones(512), library=find_library())


@compiled
def test_some_instruction_set_is_always_there() -> None:
    found = find_library()
    assert found is not None
    assert found.isas[0] is Isa.PORTABLE
    assert found.usable(None) is found.isas[-1]
    assert found.usable(Isa.PORTABLE) is Isa.PORTABLE


@compiled
def test_calls_from_many_threads_at_once_agree() -> None:
    packed = weight()
    x = torch.randn(2, 256)
    expected = linear(packed, x, activations=Activations.INT16, n_threads=1)
    wrong: list[int] = []

    def work(index: int) -> None:
        for _ in range(50):
            if not torch.equal(linear(packed, x, activations=Activations.INT16, n_threads=3), expected):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@compiled
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_gets_threads_of_its_own() -> None:
    packed = weight()
    x = torch.randn(1, 256)
    expected = linear(packed, x, activations=Activations.INT8, n_threads=3)
    child = os.fork()
    if child == 0:
        same = torch.equal(linear(packed, x, activations=Activations.INT8, n_threads=3), expected)
        os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@compiled
def test_the_process_ends_while_threads_sleep() -> None:
    code = (
        "import torch\n"
        "from edgetts.native.library import find_library\n"
        "from edgetts.native.linear import *\n"
        "p = pack_int8(torch.ones(256, 64, dtype=torch.int8), torch.ones(256), library=find_library())\n"
        "print(linear(p, torch.ones(1, 64), activations=Activations.INT8, n_threads=4).sum().item())\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=False)
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) == pytest.approx(256 * 64, rel=1e-2)


def test_without_the_file_there_is_no_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "LIBRARY_FILE", tmp_path / "nothing.so")
    assert library.find_library.__wrapped__() is None
    assert library.why_missing().startswith("The compiled CPU kernels were not built")


@compiled
@pytest.mark.parametrize("name", list(STRUCTURES))
def test_a_structure_of_another_size_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = STRUCTURES[name]
    longer = type(ours.__name__, (ctypes.Structure,), {"_fields_": (*ours._fields_, ("more", ctypes.c_int64))})
    monkeypatch.setitem(STRUCTURES, name, longer)
    with pytest.raises(UsageError, match=rf"have a {ours.__name__} of \d+ bytes, this edgetts one of \d+; install"):
        library.find_library.__wrapped__()


@compiled
def test_a_stale_build_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "INTERFACE", library.INTERFACE + 1)
    with pytest.raises(UsageError, match="install it again"):
        library.find_library.__wrapped__()
