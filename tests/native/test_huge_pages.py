"""Memory in huge pages: aligned parts of shared blocks, given back with their last tensor, torch's own if refused."""

from __future__ import annotations

import gc
import mmap
import re
import sys
from pathlib import Path

import pytest
import torch

from edgetts.native import huge_pages
from edgetts.native.huge_pages import BLOCK_BYTES, HUGE_PAGE, LINE, empty, finish_block

needs_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="huge pages are asked for on Linux only")
SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")
MIB = 1 << 20


def test_tensors_do_not_overlap_and_start_at_cache_lines() -> None:
    sizes = [MIB, MIB + 1, 3 * MIB + 17, BLOCK_BYTES - 5, 2 * BLOCK_BYTES + 3, MIB, 300_000]
    tensors = [empty(size).fill_(i) for i, size in enumerate(sizes)]
    for i, (tensor, size) in enumerate(zip(tensors, sizes, strict=True)):
        assert tensor.shape == (size,) and tensor.dtype == torch.uint8
        assert tensor.data_ptr() % LINE == 0
        assert bool((tensor == i).all())


@needs_linux
def test_small_tensors_share_a_block_that_starts_at_a_huge_page() -> None:
    finish_block()
    first, second = empty(MIB + 1), empty(MIB)
    assert first.data_ptr() % HUGE_PAGE == 0
    assert second.data_ptr() == first.data_ptr() + MIB + LINE
    finish_block()
    third = empty(MIB)
    assert third.data_ptr() % HUGE_PAGE == 0 and third.data_ptr() != first.data_ptr()


@needs_linux
def test_a_block_is_given_back_with_its_last_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    class Counted(mmap.mmap):
        def __del__(self) -> None:
            made.append(-len(self))

    monkeypatch.setattr(mmap, "mmap", Counted)
    finish_block()
    first, second = empty(MIB), empty(MIB)
    del first
    gc.collect()
    assert made == [] and second.fill_(7)[5] == 7
    del second
    gc.collect()
    assert made == [-(BLOCK_BYTES + HUGE_PAGE)]
    assert empty(MIB).fill_(3)[0] == 3  # a block of its own


@needs_linux
@pytest.mark.skipif(
    not SETTING.is_file() or "[never]" in SETTING.read_text(encoding="utf-8"), reason="this system has no huge pages"
)
def test_the_pages_are_huge() -> None:
    finish_block()
    tensor = empty(BLOCK_BYTES).fill_(1)
    text = Path("/proc/self/smaps").read_text(encoding="utf-8")
    for entry in re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", text):
        bounds = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", entry)
        if bounds and int(bounds[1], 16) <= tensor.data_ptr() < int(bounds[2], 16):
            found = re.search(r"AnonHugePages:\s+(\d+) kB", entry)
            assert found and int(found[1]) << 10 >= HUGE_PAGE  # as many as the system has at hand
            return
    pytest.fail("the tensor is in no mapping")


@pytest.mark.parametrize("error", [OSError("no memory"), ValueError("too large")])
def test_memory_that_the_system_refuses_is_torchs_own(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise error

    finish_block()
    monkeypatch.setattr(mmap, "mmap", refuse)
    assert empty(MIB).fill_(5).shape == (MIB,)
    monkeypatch.setattr(huge_pages, "_ADVICE", None)  # a system without them
    assert empty(MIB).fill_(5).shape == (MIB,)
