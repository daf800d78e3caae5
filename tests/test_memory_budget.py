"""The memory budget: sizes, what is reduced and told, what is refused, and the estimate beside a process's peak."""

from __future__ import annotations

import dataclasses
import json
import mmap
import subprocess
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import edgetts
from edgetts.api import TTS
from edgetts.backends import conv_forms
from edgetts.backends.kernels import AUTO
from edgetts.backends.process import CACHED_PRIMITIVES
from edgetts.errors import UsageError
from edgetts.memory import (
    MIB,
    Budget,
    DeviceMemory,
    Place,
    Size,
    device_memory,
    estimate,
    held_now,
    parse_size,
    shown,
    weigh,
)
from edgetts.options import SynthesisOptions
from edgetts.pack.load import open_pack
from edgetts.voices.store import VoiceStore

TINY = Path(edgetts.__file__).parent / "builtin" / "tiny"
FRAMES = 400
EXACT = Place(4, 4)
TEXT = (
    "the morning was cold and the river ran fast under the old stone bridge while two men walked along the bank and "
    "talked about the long winter that had come before it"
)
OPTIONS = {"seed": 1, "n_beams": 3, "n_steps": 1, "guards": False, "max_codes": 300, "prompt_s": None}
# Growth of what a fresh process has to itself, at its peak, over what it had after `import torch`, in MiB.
MEASURE = """
import json, sys, threading, time
import torch
from edgetts.memory import MIB, held_now
start, peak, done = held_now(), 0.0, False
from edgetts.api import TTS
def watch():
    global peak
    while not done:
        peak = max(peak, held_now())
        time.sleep(0.002)
threading.Thread(target=watch, daemon=True).start()
pack, compute, text, budget, options = json.loads(sys.argv[1])
tts = TTS.load(pack, compute=compute, memory_budget=budget)
audio = tts.say(text, **options)
done = True
n_codes = max(len(segment.codes) for segment in audio.segments)
print(json.dumps({"start": start, "peak": peak, "n_codes": n_codes, "notices": audio.notices}))
"""


@lru_cache(maxsize=8)
def measured(compute: str, budget: int, max_segment_tokens: int = 200) -> dict[str, float]:
    options = {**OPTIONS, "max_segment_tokens": max_segment_tokens}
    arguments = json.dumps([str(TINY), compute, TEXT, budget, options])
    command = [sys.executable, "-c", MEASURE, arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, float] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [("1500M", 1500 << 20), ("2G", 2 << 30), ("1.5g", 3 << 29), ("700 MiB", 700 << 20), ("9K", 9216)],
)
def test_sizes(text: str, n_bytes: int) -> None:
    assert parse_size(text) == n_bytes


@pytest.mark.parametrize("text", ["", "1500", "-2G", "0M", "2T", "nan G", "1e3M", "G"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="such as 1500M or 2G"):
        parse_size(text)


def budget(n_bytes: float, start: float = 0.0) -> Budget:
    pack = open_pack(TINY)
    return Budget(int(n_bytes), pack.config, weigh(pack, "exact", EXACT), "exact", EXACT, start)


def test_nothing_changes_where_there_is_enough() -> None:
    options = SynthesisOptions()
    assert budget(1 << 40).fit(options, FRAMES, in_parts=False) == (options, None)


def test_segments_before_the_prompt() -> None:
    unbounded, options = budget(1 << 40), SynthesisOptions(max_segment_tokens=25)
    asked = unbounded.estimate(options, FRAMES, in_parts=False).peak
    shorter, notice = budget(asked - 1).fit(options, FRAMES, in_parts=False)
    # 800 codes are the most that this model has positions for: 24 tokens may take as many.
    assert shorter.max_segment_tokens < 25 and shorter.prompt_s is None
    assert notice is not None and f"at most {shorter.max_segment_tokens} tokens, not 25" in notice
    shortest = unbounded.estimate(SynthesisOptions(max_segment_tokens=20), FRAMES, in_parts=False).peak
    both, notice = budget(shortest - 1).fit(options, FRAMES, in_parts=False)
    assert both.max_segment_tokens == 20 and both.prompt_s == 4.5  # of 4.6 s
    assert notice is not None and "4.5 s of the voice" in notice and "at most 20 tokens" in notice
    assert budget(shortest - 1).estimate(both, FRAMES, in_parts=False).peak < shortest


def test_fewer_codes_without_guards_are_told() -> None:
    options = SynthesisOptions(max_segment_tokens=20, guards=False)
    asked = budget(1 << 40).estimate(options, FRAMES, in_parts=False).peak
    found, notice = budget(asked - 1).fit(options, FRAMES, in_parts=False)
    assert notice is not None and f"at most {found.max_codes} codes, not 1500" in notice


def test_every_size_counts() -> None:
    bound, usual = budget(1 << 40), Size(50, 700, 1, FRAMES, 1, False)
    least = bound.estimate_size(usual).peak
    for larger in (
        Size(90, 700, 1, FRAMES, 1, False),
        Size(50, 790, 1, FRAMES, 1, False),
        Size(50, 700, 2, FRAMES, 1, False),
        Size(50, 700, 1, FRAMES + 200, 1, False),
        Size(50, 700, 1, FRAMES, 2, False),
    ):
        assert bound.estimate_size(larger).peak > least
    assert bound.estimate_size(Size(50, 700, 1, FRAMES, 1, True)).features > bound.estimate_size(usual).features


def test_primitives_of_many_lengths_count() -> None:
    bound = budget(1 << 40).estimate(SynthesisOptions(), FRAMES, in_parts=False)
    assert bound.kept >= CACHED_PRIMITIVES * 0.5 * MIB
    speaking = bound.weights + bound.decode + max(bound.features, bound.flow, bound.vocoder)
    assert bound.peak > bound.start + speaking + bound.kept


def test_too_little_is_refused_with_what_is_needed() -> None:
    options = SynthesisOptions()
    with pytest.raises(UsageError, match=r"needs at least \d+M .* the budget is 50M: .*beams.*`edgetts quantize`"):
        budget(50 * MIB).fit(options, FRAMES, in_parts=False)
    with pytest.raises(UsageError, match="needs at least") as refused:
        TTS.load(TINY, device="cpu", memory_budget="50M")
    needed = parse_size(str(refused.value).split("at least ")[1].split()[0])
    assert TTS.load(TINY, device="cpu", memory_budget=needed + 50 * MIB).budget is not None


@pytest.mark.parametrize("given", [0, -5, True, 1.5])
def test_a_budget_that_is_no_number_of_bytes(given: int) -> None:
    with pytest.raises(UsageError, match="number of bytes above 0"):
        TTS.load(TINY, device="cpu", memory_budget=given)


def test_sizes_are_shown_rounded_up() -> None:
    assert shown(32 * MIB) == "32M" and shown(32 * MIB + 1) == "33M"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux what a process holds")
def test_what_a_process_holds() -> None:
    before = held_now()
    # Pages of a mapping of its own: a bytearray may get memory that the allocator has kept from earlier tests.
    with mmap.mmap(-1, 32 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as block:
        for page in range(0, len(block), mmap.PAGESIZE):
            block[page] = 1
        assert held_now() - before > 31 * MIB


# --- on a GPU, as the driver would describe it ---------------------------------------------------------

CUDA = torch.device("cuda:0")
GIB = 1 << 30


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[bool], list[float]]:
    """A card of 8 GiB with 6 free in a machine of 16 with 10 free; gives the shares that torch was bound to."""

    def describe(unified: bool) -> list[float]:
        shares: list[float] = []
        meminfo = tmp_path / "meminfo"
        meminfo.write_text(f"MemTotal: {16 << 20} kB\nMemFree: 1 kB\nMemAvailable: {10 << 20} kB\nHugePages_Total: 0\n")
        monkeypatch.setattr("edgetts.memory.place._MEMINFO", meminfo)
        card = SimpleNamespace(is_integrated=int(unified))
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 7))
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (6 * GIB, (16 if unified else 8) * GIB))
        monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda share, device: shares.append(share))
        return shares

    return describe


def test_memory_that_a_gpu_shares_with_the_system_is_counted_once(card: Callable[[bool], list[float]]) -> None:
    card(True)
    assert device_memory(CUDA) == DeviceMemory(16 * GIB, 10 * GIB, unified=True)
    place = Place.of(CUDA, "fast", AUTO)
    assert place == Place(2, 2, decodes=False, on_cuda=True, unified=True)
    assert place.start() > held_now()  # and a context
    card(False)
    assert device_memory(CUDA) == DeviceMemory(8 * GIB, 6 * GIB, unified=False)
    assert device_memory(torch.device("cpu")) == DeviceMemory(16 * GIB, 10 * GIB, unified=True)
    own = Place.of(CUDA, "fast", AUTO)
    assert not own.unified and own.start() == place.start() - held_now()  # the host's is no part of it
    assert Place.of(CUDA, "reference", AUTO) == Place(4, 4, decodes=True, on_cuda=True)


def test_unfolded_signals_of_a_vocoder_of_convolutions_are_counted(
    mini_pack: Path, card: Callable[[bool], list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU, where a convolution may be one matrix product."""
    card(False)
    place, size = Place.of(CUDA, "fast", AUTO), Size(50, 700, 1, FRAMES, 2, True)
    for folder, n_bytes in ((mini_pack, conv_forms.UNFOLDED_BYTES), (TINY, 0)):
        pack = open_pack(folder)
        known = Budget(1 << 40, pack.config, weigh(pack, "fast", place), "fast", place, 0.0)
        with monkeypatch.context() as patch:
            patch.setattr(conv_forms, "UNFOLDED_BYTES", 0)
            without = known.estimate_size(size).vocoder
        assert known.estimate_size(size).vocoder - without == pytest.approx(n_bytes)


def test_an_estimate_for_a_gpu(card: Callable[[bool], list[float]]) -> None:
    """Half the bytes in half precision; one cache however many beams; less than on the CPU, where libraries keep more."""
    card(False)
    pack = open_pack(TINY)
    places = {"exact": Place.of(CUDA, "exact", AUTO), "fast": Place.of(CUDA, "fast", AUTO)}
    found = {
        name: Budget(1 << 40, pack.config, weigh(pack, name, place), name, place, 0.0)  # type: ignore[arg-type]
        for name, place in places.items()
    }
    size = Size(50, 700, 1, FRAMES, 2, True)
    exact, fast = (found[name].estimate_size(size) for name in ("exact", "fast"))
    assert fast.weights < exact.weights and fast.decode < 0.55 * exact.decode and fast.vocoder < exact.vocoder
    beams = found["fast"].estimate_size(dataclasses.replace(size, n_beams=3))
    assert beams.decode < 3 * fast.decode
    on_cpu = budget(1 << 40).estimate_size(size)
    assert exact.kept == 0 < on_cpu.kept and exact.features == on_cpu.features


@pytest.mark.parametrize("unified", [False, True])
def test_a_budget_for_a_gpu(unified: bool, card: Callable[[bool], list[float]]) -> None:
    """torch is bound to what it leaves; the host's memory only where both are one."""
    shares, pack = card(unified), open_pack(TINY)
    given = 2 * GIB + held_now()  # on unified memory what this process holds counts, too, whatever tests left there
    bound = Budget.of(given, pack, "fast", Place.of(CUDA, "fast", AUTO))
    assert bound.keep(CUDA) == (given if unified else None)
    assert shares == [(given - bound.start) / ((16 if unified else 8) * GIB)]
    words = "of memory" if unified else "of the GPU's memory"
    with pytest.raises(UsageError, match=rf"needs at least \d+M {words}, but the budget is 200M"):
        Budget.of(200 * MIB, pack, "fast", Place.of(CUDA, "fast", AUTO))
    tts = TTS(pack, CUDA, VoiceStore.default(Path()), compute="fast", memory_budget=given)
    assert tts.budget is not None and tts.budget.place.on_cuda


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux what a process holds")
@pytest.mark.parametrize("compute", ["exact", "fast", "reference"])
def test_the_estimate_is_above_the_peak_and_not_far(compute: str) -> None:
    found = measured(compute, 1 << 40)  # more than enough: what is freed is given back, nothing is reduced
    pack = open_pack(TINY)
    place = Place.of(torch.device("cpu"), compute, AUTO)  # type: ignore[arg-type]
    weights = weigh(pack, compute, place)  # type: ignore[arg-type]
    size = Size(len(TEXT), int(found["n_codes"]), 3, FRAMES, 2, False)
    found_bound = estimate(pack.config, weights, size, compute, place, start=0.0)  # type: ignore[arg-type]
    expected = found_bound.peak
    grown = found["peak"] - found["start"]
    print(
        f"{compute}: estimated {expected / MIB:.0f} MiB, measured {grown / MIB:.0f} MiB, ratio {expected / grown:.2f}"
    )
    assert grown <= expected
    assert expected - found_bound.kept <= 2.5 * grown  # a first call keeps little


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux what a process holds")
def test_a_budget_is_kept() -> None:
    without = measured("exact", 1 << 40)
    bound = budget(0, start=without["start"] + 16 * MIB)  # what is imported beside torch
    least = bound.estimate(SynthesisOptions.of({}, {**OPTIONS, "max_segment_tokens": 20}), FRAMES, in_parts=False).peak
    within = measured("exact", int(least))
    assert within["peak"] < least
    assert within["n_codes"] < without["n_codes"]
    assert any("To stay within" in notice for notice in within["notices"])  # type: ignore[attr-defined]
