"""The soak: texts that repeat, figures from what was seen, failures told, and memory that stays flat."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import edgetts
from edgetts.bench.run import Plan
from edgetts.bench.soak import MAX_WORDS, SETTLED_AFTER, Soak, measure_soak, texts
from edgetts.bench.stages import voice_of_length
from edgetts.errors import GenerationError, UsageError
from edgetts.options import SynthesisOptions
from edgetts.pack.load import open_pack
from edgetts.voices.voice import Voice

TINY = Path(edgetts.__file__).parent / "builtin" / "tiny"
on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux what a process holds")
FLAT_MB = 100  # from call 20 on
WITHOUT_BOUNDS_MB = 250  # what 40 calls grew by at the time when nothing was bounded, measured


def test_texts_are_the_same_each_time_and_of_all_lengths() -> None:
    assert texts(300) == texts(300) and texts(300)[:20] == texts(20)
    assert {len(text.split()) for text in texts(300)} == set(range(1, MAX_WORDS + 1))


def test_figures() -> None:
    soak = Soak(tuple(float(100 + i) for i in range(41)), (2.0,) * 40, (1.0,) * 40, 0)
    assert (soak.settled_at, soak.settled_mb, soak.end_mb, soak.growth_mb) == (SETTLED_AFTER, 120.0, 140.0, 20.0)
    assert soak.calls_per_minute == 30.0
    short = Soak((100.0, 160.0, 150.0), (1.0, 1.0), (1.0, 0.0), 1)
    assert (short.settled_at, short.growth_mb, short.to_json()["most_mb"]) == (1, -10.0, 160.0)


@on_linux
def test_a_process_that_fails_says_why(mini_pack: Path, tmp_path: Path) -> None:
    voice = voice_of_length(open_pack(mini_pack), 0.5)
    with pytest.raises(GenerationError, match=r"ended after 0 calls: .*nowhere"):
        measure_soak(
            *(tmp_path / "nowhere", voice, SynthesisOptions(n_beams=1), 3, tmp_path),
            device="cpu",
            compute="exact",
            kernel="auto",
            threads=1,
        )


def test_elsewhere_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mini_pack: Path) -> None:
    voice = voice_of_length(open_pack(mini_pack), 0.5)
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(UsageError, match="leave soak= out"):
        measure_soak(
            *(mini_pack, voice, SynthesisOptions(), 3, tmp_path),
            device="cpu",
            compute="exact",
            kernel="auto",
            threads=1,
        )


@pytest.mark.slow
@on_linux
@pytest.mark.parametrize("budget", [None, 700 << 20])
def test_the_built_in_model_stays_flat_and_within_its_budget(budget: int | None, tmp_path: Path) -> None:
    pack = open_pack(TINY)
    plan = Plan.of(pack, {})
    voice = Voice.load(pack.file(next(iter(pack.manifest.ready_voices().values()))))
    soak = measure_soak(
        *(TINY, voice, plan.options, 60, tmp_path),
        device="cpu",
        compute="exact",
        kernel="auto",
        threads=2,
        memory_budget=budget,
    )
    print(f"{soak.settled_mb:.0f} MB at {soak.settled_at}, {soak.end_mb:.0f} MB at {soak.n_calls}")
    assert soak.growth_mb < FLAT_MB < WITHOUT_BOUNDS_MB
    assert budget is None or max(soak.rss_mb) < budget / (1 << 20)
