"""Freed memory is given back when there is enough of it, and not at every piece of work."""

from __future__ import annotations

import mmap
import sys

import pytest

from edgetts.pack import page_release as mapped
from edgetts.pack.page_release import KEPT_FREE_BYTES, SETTLING, FreedMemory

MIB = 1 << 20


class Process:
    """Says how much it holds; giving back leaves `kept`."""

    def __init__(self, held: int | None) -> None:
        self.held, self.kept, self.n_given_back = held, 0, 0

    def give_back(self) -> None:
        self.n_given_back += 1
        self.held = self.kept


def watched(monkeypatch: pytest.MonkeyPatch, held: int | None) -> Process:
    process = Process(held)
    monkeypatch.setattr(mapped, "held_bytes", lambda: process.held)
    monkeypatch.setattr(mapped, "give_back_freed", process.give_back)
    return process


def settle(freed: FreedMemory, process: Process, *held: int) -> None:
    for i in range(SETTLING):
        process.held = held[i % len(held)]
        freed.look()


def test_given_back_when_it_grows_beyond_what_the_work_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    process = watched(monkeypatch, 0)
    freed = FreedMemory()
    settle(freed, process, 300 * MIB, 400 * MIB, 350 * MIB)
    assert process.n_given_back == 0
    process.held = 400 * MIB + KEPT_FREE_BYTES  # of the largest of them
    freed.look()
    assert process.n_given_back == 0  # what is kept will be used again
    process.held, process.kept = 401 * MIB + KEPT_FREE_BYTES, 310 * MIB
    freed.look()
    assert process.n_given_back == 1
    settle(freed, process, 500 * MIB)  # longer texts need more from now on
    process.held = 500 * MIB + KEPT_FREE_BYTES
    freed.look()
    assert process.n_given_back == 1


def test_many_calls_of_all_lengths_stay_near_what_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    process = watched(monkeypatch, 250 * MIB)
    process.kept = 250 * MIB
    freed = FreedMemory()
    gaps, most = 0, 0
    for i in range(1000):
        n_before = process.n_given_back
        gaps += 3 * MIB  # each leaves some of its own
        need = 100 * MIB + (i * 7 % 13) * MIB
        process.held = process.kept + need + gaps
        freed.look()
        most = max(most, process.held)
        gaps = 0 if process.n_given_back > n_before else gaps
    assert most <= process.kept + 113 * MIB + SETTLING * 3 * MIB + KEPT_FREE_BYTES + 3 * MIB
    assert 0 < process.n_given_back < 50  # of a thousand


def test_a_limit_is_not_approached(monkeypatch: pytest.MonkeyPatch) -> None:
    process = watched(monkeypatch, 0)
    freed = FreedMemory()
    freed.limit, process.kept = 400 * MIB, 200 * MIB
    for held, n_expected in ((299 * MIB, 0), (301 * MIB, 1), (290 * MIB, 1), (399 * MIB, 2)):
        process.held = held
        freed.look()
        assert process.n_given_back == n_expected


def test_nothing_happens_where_the_system_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    process = watched(monkeypatch, None)
    freed = FreedMemory()
    for held in (None, 1 << 40, None):
        process.held = held
        freed.look()
    assert process.n_given_back == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux what a process holds")
def test_what_is_held() -> None:
    before = mapped.held_bytes()
    with mmap.mmap(-1, 32 * MIB, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as block:  # the heap may have room already
        block.write(b"1" * len(block))
        held = mapped.held_bytes()
    assert before is not None and held is not None and held - before > 24 * MIB
