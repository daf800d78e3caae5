"""What a benchmark compares with: other packs, of any family of models, and the plain fp32 form of each family.

In: names as the user gives them. Out: `Other`s, opened and not loaded, with their calls; and facts about packs, with
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

from edgetts.bench.footprint import Watch
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
class Other:
    """A candidate to compare with. Its pack is open; `candidate` loads its networks."""

    name: str
    pack: Pack
    call: Call
    is_reference: bool

    def candidate(self, device: torch.device, compute: Compute) -> Candidate:
        """Loaded. Raises PackError."""
        pipeline = Pipeline(self.pack, device, compute=REFERENCE if self.is_reference else compute)
        return Candidate(self.name, pipeline, self.call)


def call_of(pack: Pack, text: str, seconds: float, prompt_s: float, options: SynthesisOptions) -> Call:
    """The call that a pack is measured with. Raises UsageError for a text without speech."""
    frontend = frontend_of(pack, None, DEFAULT_NORMALIZER, tokenizer_of(pack))
    segments = frontend.segments(text, options.max_segment_tokens).segments
    if not segments:
        raise UsageError("The text to measure with has nothing to speak: give another with text=.")
    n_codes = max(2, round(seconds * pack.config.code_rate))
    return Call(voice_of_length(pack, prompt_s), tuple(segments[0].ids), n_codes, options)


def others_of(names: Sequence[str], pack: Pack, call: Call, call_for: CallOf, home: Path | None) -> list[Other]:
    """The candidates of these names, opened to fail early. REFERENCE: of each family that is measured, one.

    pack, call: of the measured pack. call_for: makes the call of another one.
    """
    others: list[Other] = []
    taken = {pack.path.name}
    for given in dict.fromkeys(names):
        if given != REFERENCE:
            opened = open_pack(locate_pack(given, home).path, home=home)
            name = given if Path(given).name in taken else Path(given).name
            taken.add(name)
            others.append(Other(name, opened, call_for(opened), is_reference=False))
    if REFERENCE in names:
        others.append(Other(REFERENCE, pack, call, is_reference=True))
        seen = {pack.config.family}
        for other in list(others):
            if other.pack.config.family not in seen:
                seen.add(other.pack.config.family)
                others.append(replace(other, name=f"{REFERENCE} of {other.name}", is_reference=True))
    return others


def about(pack: Pack, name: str) -> PackReport:
    """What a pack, called `name` in the report, is and takes on disk."""
    manifest, family = pack.manifest, family_of(pack.config)
    files = {manifest.components[name].file for name in family.run_components if name in manifest.components}
    return PackReport(
        name=name,
        family=family.title,
        pack_bytes=manifest.total_bytes,
        run_bytes=sum(manifest.files[file].bytes for file in files),
    )


def with_enrollment(report: PackReport, pack: Pack, prompt_s: float, repeats: int, device: torch.device) -> PackReport:
    """Also learning a voice of noise: seconds with loading the encoders, as always, and the memory that it adds."""
    generator = torch.Generator().manual_seed(0)
    heard, heard_16k = (
        torch.randn(round(prompt_s * rate), generator=generator) * _RECORDING_LEVEL
        for rate in (pack.config.audio.sample_rate, enroll.ENCODER_RATE)
    )
    seconds, most = [], 0.0
    for _ in range(repeats):
        before, started = held_now(), time.perf_counter()
        with Watch() as watch:
            enroll.enroll(pack, heard, heard_16k, device=device)
        seconds.append(time.perf_counter() - started)
        most = max(most, watch.most - before)
    return replace(report, enroll_seconds=tuple(seconds), enroll_bytes=most)
