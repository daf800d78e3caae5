"""Measuring: work counted right, floors and ratios, the keys that scripts rely on, candidates in turn, the page."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

from edgetts.bench.machine import Rates, describe_machine, measure_rates, peak_rss_mb, reset_peak_memory
from edgetts.bench.page import render
from edgetts.bench.report import Report, StageReport, compare
from edgetts.bench.run import Plan, measure
from edgetts.bench.stages import STAGES, Call, Candidate, run_interleaved, voice_of_length
from edgetts.bench.work import Sizes, Work, stage_works, whole_floor_s
from edgetts.decoding.settings import FlowSettings
from edgetts.errors import UsageError
from edgetts.models.gpt import GPT
from edgetts.options import SynthesisOptions
from edgetts.pack.load import open_pack
from edgetts.pack.meta_init import init_on_meta
from edgetts.pipeline import Pipeline

CPU = torch.device("cpu")
QUICK = SynthesisOptions(n_beams=1, n_steps=2, seed=0)


def sizes(settings: FlowSettings, n_codes: int = 10) -> Sizes:
    return Sizes(n_prefix=8, n_codes=n_codes, n_prompt=20, n_frames=17, settings=settings)


def test_work_is_counted_and_grows_with_the_call(mini_pack: Path) -> None:
    pack = open_pack(mini_pack)
    full = stage_works(pack, sizes(FlowSettings(4, "euler", 0.7)))
    assert set(full) == set(STAGES) and all(w.n_bytes > 0 and w.flops > 0 for w in full.values())
    # A matrix product of one position reads each weight once and does two operations with it.
    gpt = init_on_meta(lambda: GPT(pack.config.gpt))
    weights = sum(p.numel() for n, p in gpt.named_parameters() if p.dim() == 2 and "emb" not in n)
    assert full["decode_per_code"].flops == pytest.approx(2 * weights, rel=0.05)
    assert full["decode_per_code"].n_bytes == pytest.approx(4 * weights, rel=0.05)
    unguided = stage_works(pack, sizes(FlowSettings(4, "euler", 0.0)))
    assert full["dit_step"].flops == 2 * unguided["dit_step"].flops
    midpoint = stage_works(pack, sizes(FlowSettings(4, "midpoint", 0.0)))
    steps = [each["s2mel"].flops for each in (midpoint, unguided)]
    assert steps[0] - steps[1] == 4 * unguided["dit_step"].flops
    half = stage_works(pack, sizes(FlowSettings(4, "euler", 0.7, cfg_until=0.5)))
    assert half["s2mel"].flops == pytest.approx((full["s2mel"].flops + unguided["s2mel"].flops) / 2)


def test_floors() -> None:
    rates = Rates(bytes_per_s=10.0, flops=100.0)
    assert Work(50.0, 100.0).floor_s(rates) == 5.0  # memory binds
    assert Work(10.0, 400.0).floor_s(rates) == 4.0  # arithmetic binds
    assert Rates(1.0, 5.0).better(Rates(2.0, 4.0)) == Rates(2.0, 5.0)
    works = {name: Work(10.0, 0.0) for name in STAGES}
    assert whole_floor_s(works, 11, rates) == 4 + 10


def test_a_stage_report() -> None:
    stage = StageReport((1.0, 2.0, 4.0), 0.5)
    assert (stage.median_s, stage.floor_ratio, StageReport((3.0,), None).spread_s) == (2.0, 0.25, 0.0)
    assert StageReport((3.0,), None).floor_ratio is None
    ours = {"whole": [1.0, 3.0, 2.0]}
    other = compare("reference", ours, {"whole": [8.0, 6.0, 10.0]}, ["whole"], 4.0)
    assert other.rtf == 2.0
    assert other.to_json()["speedup"] == 4.0 and other.best_speedups["whole"] == 6.0


def test_the_machine() -> None:
    reset_peak_memory(CPU)
    before = peak_rss_mb()
    rates = measure_rates(CPU, tries=1)
    assert rates.bytes_per_s > 1e8 and rates.flops > 1e8
    assert peak_rss_mb() > before + 200  # the memory that was read
    assert json.dumps(describe_machine(CPU))


def test_candidates_run_stage_by_stage(mini_pack: Path) -> None:
    pack = open_pack(mini_pack)
    order: list[tuple[str, str]] = []

    class Watched(Candidate):
        def time(self, stage, work):  # type: ignore[no-untyped-def]
            order.append((stage, self.name))
            return super().time(stage, work)

    call = Call(voice_of_length(pack, 0.5), (20, 30, 25), 12, QUICK)
    candidates = [Watched("a", Pipeline(pack, CPU), call), Watched("b", Pipeline(pack, CPU, compute="reference"), call)]
    run_interleaved(candidates)
    assert order == [(s, n) for s in ("prefill", "features", "dit_step", "s2mel", "vocoder") for n in "ab"]
    for each in candidates:
        assert set(each.seconds) >= set(STAGES) and each.n_codes == 12
        parts = [each.seconds[s][0] for s in ("prefill", "decode", "features", "s2mel", "vocoder")]
        assert each.seconds["whole"] == [sum(parts)]


@pytest.fixture(scope="module")
def report(mini_pack: Path) -> Report:
    plan = Plan(0.4, 0.5, 2, text="abc", compare=("reference",), enrolls=False, starts=False, options=QUICK)
    return measure(open_pack(mini_pack), plan, device=CPU, compute="fast")


def test_the_keys_that_scripts_rely_on(report: Report) -> None:
    found = json.loads(json.dumps(report.to_json()))
    assert list(found["stages"]) == list(STAGES)
    for stage in found["stages"].values():
        assert stage["floor_ratio"] == pytest.approx(stage["floor_s"] / stage["median_s"])
    assert found["rtf"] == pytest.approx(found["stages"]["whole"]["median_s"] / found["audio_s"])
    assert found["first_audio_ms"] > 0 and found["peak_rss_mb"] > 0 and found["peak_cuda_mb"] is None
    assert found["machine"]["bandwidth_gb_s"] > 0 and found["compare"]["reference"]["speedup"] > 0
    assert found["stages"]["whole"]["runs"] == 3  # once alone, then in turn
    assert found["import_s"] is None and found["start_to_sound_s"] is None


def test_families_side_by_side(mini_pack: Path, mini_pack_25: Path) -> None:
    """Each speaks for the same seconds, with its own codes and voice, and is compared with its own plain form."""
    compared = (str(mini_pack_25), "reference")
    plan = Plan(0.8, 0.5, 2, text="Hello.", compare=compared, enrolls=False, starts=False, streams=False, options=QUICK)
    made = measure(open_pack(mini_pack), plan, device=CPU, compute="fast")
    other = mini_pack_25.name
    assert [each.name for each in made.comparisons] == [other, "reference", f"reference of {other}"]
    assert {round(each.audio_s, 1) for each in made.comparisons} == {round(made.audio_s, 1)} == {0.8}
    found = made.to_json()
    assert [found["packs"][name]["family"] for name in found["packs"]] == ["IndexTTS-2", "IndexTTS-2.5"]
    for name, path in ((mini_pack.name, mini_pack), (other, mini_pack_25)):
        sizes_of = found["packs"][name]
        assert sizes_of["pack_bytes"] == sum(f.stat().st_size for f in path.rglob("*") if f.name != "manifest.json")
        assert 0 < sizes_of["run_bytes"] < sizes_of["pack_bytes"] and sizes_of["enroll_s"] is None
    assert found["compare"][other]["rtf"] > 0
    page = Page()
    page.feed(render(made))
    assert f"against reference of {other}" in page.text and "IndexTTS-2.5" in page.text


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.outside: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.outside += [f"{name}={value}" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "line"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_stands_alone(report: Report) -> None:
    page = Page()
    page.feed(render(report))
    assert not page.open and not page.outside and "script" not in page.tags
    assert page.tags.count("rect") >= 5 and "RTF" in page.text and "against reference" in page.text


def test_misuse(mini_pack: Path) -> None:
    with pytest.raises(UsageError, match=r"seconds of speech.*0\.05"):
        Plan(0.05, 5.0, 1)
    with pytest.raises(UsageError, match="repeats"):
        Plan(1.0, 5.0, 0)
    with pytest.raises(UsageError, match="nothing to speak"):
        measure(open_pack(mini_pack), Plan(0.4, 0.5, 1, text=" ", enrolls=False), device=CPU, compute="exact")
