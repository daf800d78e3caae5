"""The baselines of a benchmark: other packs of any family, and the plain fp32 form of each family.

In: names as the user gives them. Out: `Baseline`s, opened and not loaded, with their calls; and facts about packs, with
the time and memory of enrollment. Every call speaks for the same seconds with the same settings; codes, text and voice
are made for its pack. Does not time stages (`stages`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch

from edgetts.bench.footprint import PeakSampler
from edgetts.bench.report import PackReport
from edgetts.bench.stages import Call, Candidate, voice_of_length
from edgetts.compute import Compute
from edgetts.errors import UsageError
from edgetts.families import family_of
from edgetts.memory import held_now
from edgetts.options import SynthesisOptions
from edgetts.pack.load import Pack, open_pack
from edgetts.pack.locate import locate_pack
from edgetts.pack.text import frontend_of, tokenizer_of
from edgetts.pipeline import Pipeline
from edgetts.text.normalizers import DEFAULT_NORMALIZER
from edgetts.voices import enroll

REFERENCE: Final = "reference"
_RECORDING_LEVEL = 0.1

CallOf = Callable[[Pack], Call]


@dataclass(frozen=True)
class Baseline:
    """A candidate to compare the measured pack with. Its pack is open; `candidate` loads its networks."""

    name: str
    pack: Pack
    call: Call
    is_reference: bool

    def candidate(self, device: torch.device, compute: Compute) -> Candidate:
        """Loaded. Raises PackError."""
        pipeline = Pipeline(self.pack, device, compute=REFERENCE if self.is_reference else compute)
        return Candidate(self.name, pipeline, self.call)


def call_of(pack: Pack, text: str, seconds: float, prompt_s: float, options: SynthesisOptions) -> Call:
    """The call to measure a pack with. Raises UsageError for a text without speech."""
    frontend = frontend_of(pack, None, DEFAULT_NORMALIZER, tokenizer_of(pack))
    segments = frontend.segments(text, options.max_segment_tokens).segments
    if not segments:
        raise UsageError("The text to measure with has nothing to speak: give another with text=.")
    n_codes = max(2, round(seconds * pack.config.code_rate))
    return Call(voice_of_length(pack, prompt_s), tuple(segments[0].ids), n_codes, options)


def baselines_of(names: Sequence[str], pack: Pack, call: Call, call_for: CallOf, home: Path | None) -> list[Baseline]:
    """The candidates of these names, opened to fail early. REFERENCE: one of each measured family.

    pack, call: of the measured pack. call_for: makes the call of another one.
    """
    baselines: list[Baseline] = []
    taken = {pack.path.name}
    for given in dict.fromkeys(names):
        if given != REFERENCE:
            opened = open_pack(locate_pack(given, home).path, home=home)
            name = given if Path(given).name in taken else Path(given).name
            taken.add(name)
            baselines.append(Baseline(name, opened, call_for(opened), is_reference=False))
    if REFERENCE in names:
        baselines.append(Baseline(REFERENCE, pack, call, is_reference=True))
        seen = {pack.config.family}
        for other in list(baselines):
            if other.pack.config.family not in seen:
                seen.add(other.pack.config.family)
                baselines.append(replace(other, name=f"{REFERENCE} of {other.name}", is_reference=True))
    return baselines


def about(pack: Pack, name: str) -> PackReport:
    """Family and sizes on disk of a pack, called `name` in the report."""
    manifest, family = pack.manifest, family_of(pack.config)
    files = {manifest.components[name].file for name in family.run_components if name in manifest.components}
    return PackReport(
        name=name,
        family=family.title,
        pack_bytes=manifest.total_bytes,
        run_bytes=sum(manifest.files[file].bytes for file in files),
    )


def with_enrollment(report: PackReport, pack: Pack, prompt_s: float, repeats: int, device: torch.device) -> PackReport:
    """The report with the time and memory of enrolling noise; the time includes loading the encoders, as in every
    enrollment."""
    generator = torch.Generator().manual_seed(0)
    heard, heard_16k = (
        torch.randn(round(prompt_s * rate), generator=generator) * _RECORDING_LEVEL
        for rate in (pack.config.audio.sample_rate, enroll.ENCODER_RATE)
    )
    seconds, peak = [], 0.0
    for _ in range(repeats):
        before, started = held_now(), time.perf_counter()
        with PeakSampler() as sampler:
            enroll.enroll(pack, heard, heard_16k, device=device)
        seconds.append(time.perf_counter() - started)
        peak = max(peak, sampler.peak - before)
    return replace(report, enroll_seconds=tuple(seconds), enroll_bytes=peak)
