"""What a process keeps: oneDNN's primitives are bounded unless the user said how many, and nothing stays behind."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import edgetts
from edgetts.backends import process
from edgetts.errors import UsageError

ROOT = Path(edgetts.__file__).parents[1]
VARIABLES = (*process.CACHE_VARIABLES, *process.ARENA_VARIABLES)

# Convolutions of more lengths than are kept, then the last and the first of them again.
CONVOLVE = """
import os, sys
before = dict(os.environ)
import edgetts.pipeline
assert dict(os.environ) == before, "importing must not touch the environment"
from edgetts.backends.process import prepare_process
import torch
prepare_process()
assert dict(os.environ) == before, "nothing may stay in the environment"
weight = torch.ones(8, 8, 3)
def convolve(length):
    print("LENGTH", length, flush=True)
    torch.mkldnn_convolution(torch.ones(1, 8, length), weight, None, (1,), (1,), (1,), 1)
n = int(sys.argv[1])
for length in [*range(40, 40 + n), 40 + n - 1, 40]:
    convolve(length)
"""


def created(**variables: str) -> list[tuple[int, bool]]:
    """(length, whether its convolution had to be made) of every convolution of the script, in order."""
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    environment |= {"ONEDNN_VERBOSE": "profile_create", **variables}
    n_lengths = process.CACHED_PRIMITIVES + 20
    done = subprocess.run(
        [sys.executable, "-c", CONVOLVE, str(n_lengths)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[tuple[int, bool]] = []
    length = 0
    for line in done.stdout.splitlines():
        if line.startswith("LENGTH "):
            length = int(line.split()[1])
        elif "create:cache_" in line and ",convolution," in line and length:
            found.append((length, "cache_miss" in line))
    if not found:
        pytest.skip("this oneDNN does not tell what it creates")
    assert len(found) == n_lengths + 2
    return found


def test_primitives_are_kept_but_not_without_end() -> None:
    *first, latest, oldest = created()
    assert all(is_new for _, is_new in first)
    assert latest == (first[-1][0], False)  # a call finds again what it has just used
    assert oldest == (40, True)  # and older lengths were let go


@pytest.mark.parametrize("name", process.CACHE_VARIABLES)
def test_the_users_own_bound_stays(name: str) -> None:
    *_, latest, oldest = created(**{name: "4096"})
    assert not latest[1] and oldest == (40, False)


def test_a_fork_is_told_and_the_process_itself_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process._Process, "id", None)
    process.check_process()
    assert not process.is_forked()
    process.prepare_process()
    process.prepare_process()
    process.check_process()
    monkeypatch.setattr(os, "getpid", lambda: process._Process.id + 1)  # type: ignore[operator]
    assert process.is_forked()
    for ask in (process.check_process, process.prepare_process):
        with pytest.raises(UsageError, match=r'forked from one .*get_context\("spawn"\)'):
            ask()


THRESHOLDS = [(-3, process.HEAP_BLOCK_BYTES), (-1, process.HEAP_KEPT_BYTES)]


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        (None, [(-8, process.HEAPS), *THRESHOLDS]),
        ("MALLOC_ARENA_MAX", THRESHOLDS),
        ("MALLOC_MMAP_THRESHOLD_", [(-8, process.HEAPS)]),
        ("MALLOC_TRIM_THRESHOLD_", [(-8, process.HEAPS)]),
        ("GLIBC_TUNABLES", []),
    ],
)
def test_heaps_are_left_alone_where_the_user_set_them(
    variable: str | None, expected: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    class Library:
        def mallopt(self, *arguments: object) -> int:
            asked.append(arguments)
            return 1

    monkeypatch.setattr(process.ctypes, "CDLL", lambda _name: Library())
    for name in (*process.ARENA_VARIABLES, *process.THRESHOLD_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    if variable is not None:
        monkeypatch.setenv(variable, "7")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(process._Process, "keeps_freed", None)
    process.bound_heaps()
    assert asked == expected
    monkeypatch.setattr(sys, "platform", "darwin")
    process.bound_heaps()
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(process.ctypes, "CDLL", lambda _name: object())  # another C library
    process.bound_heaps()
    assert asked == expected


def test_the_first_call_decides_whether_freed_memory_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon's memory goes back to the system, also after the networks are loaded."""
    asked: list[tuple[int, int]] = []
    library = SimpleNamespace(mallopt=lambda *arguments: asked.append(arguments))
    monkeypatch.setattr(process.ctypes, "CDLL", lambda _name: library)
    for name in (*process.ARENA_VARIABLES, *process.THRESHOLD_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(process._Process, "keeps_freed", None)
    process.bound_heaps(keeps_freed=False)
    process.bound_heaps()
    assert asked == [(-8, process.HEAPS)] * 2


FAULTS = """
import ctypes, resource, sys, torch
from edgetts.backends.process import bound_heaps
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE: pages of one size, so that they can be counted
bound_heaps(keeps_freed=sys.argv[1] == "kept")
torch.set_num_threads(1)
x = torch.ones(1 << 20)  # 4 MB

def layers():
    for _ in range(8):
        kept = [x + 1 for _ in range(4)]  # all of a layer's are freed before the next one's are made
        del kept

layers()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    layers()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="glibc"
)
def test_activations_are_not_taken_from_the_system_again_and_again() -> None:
    plain = {n: v for n, v in os.environ.items() if n not in (*process.ARENA_VARIABLES, *process.THRESHOLD_VARIABLES)}
    # Without it, it depends on the addresses that a process happens to get whether glibc returns what is freed.
    returning = plain | {"MALLOC_MMAP_THRESHOLD_": "131072"}
    run = [sys.executable, "-c", FAULTS]
    freed = {
        how: int(subprocess.run([*run, how], env=env, capture_output=True, text=True, check=True).stdout)
        for how, env in (("kept", plain), ("returned", returning))
    }
    assert freed["kept"] < 10_000 and freed["returned"] > 100_000  # 80 times 16 MB are 330 000 pages


def test_without_onednn_nothing_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    for name in process.CACHE_VARIABLES:
        monkeypatch.delenv(name, raising=False)

    def never(*_: object) -> None:
        raise AssertionError("asked for a convolution by oneDNN")

    monkeypatch.setattr(torch, "mkldnn_convolution", never)
    process._bound_primitives()
