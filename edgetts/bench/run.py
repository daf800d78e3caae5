"""One benchmark run: load, warm up, measure alone, then interleaved with other candidates.

In: a pack and the text to speak with it. Out: a `Report`. Other candidates are packs of any family, which speak for as
many seconds with the same settings. Peak memory is that of the run phase: it is read before encoders and other
candidates are loaded. Files go to a temporary folder, so that the user's voices and latency model do not change.

Does not know how the stages run (`stages`), the other candidates (`baselines`), the work (`work`), or how a report
looks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from edgetts.api import TTS
from edgetts.backends.kernels import AUTO
from edgetts.backends.process import prepare_process
from edgetts.bench.baselines import about, baselines_of, call_of, with_enrollment
from edgetts.bench.footprint import expected, size_of
from edgetts.bench.machine import (
    describe_machine,
    measure_rates,
    peak_cuda_mb,
    peak_rss_mb,
    reset_peak_memory,
)
from edgetts.bench.report import Report, StageReport, compare
from edgetts.bench.soak import MIN_CALLS, Soak, measure_soak
from edgetts.bench.stages import STAGES, Call, Candidate, run_interleaved
from edgetts.bench.startup import Startup, measure_startup
from edgetts.bench.work import Sizes, enroll_work, stage_works, whole_floor_s
from edgetts.compute import Compute
from edgetts.errors import UsageError
from edgetts.memory import MIB, Budget, Place, shown
from edgetts.options import SynthesisOptions
from edgetts.pack.load import Pack
from edgetts.progress import Progress
from edgetts.voices.store import VoiceStore
from edgetts.voices.voice import Voice

DEFAULT_TEXT = "Every stage of this voice is measured, from the first word to the last sample of the sound."
_WARMUP_CODES, _WARMUP_STEPS = 8, 1
_MAX_CALLS = 100_000
DEFAULT_PROMPT_S = 5.0
_TEXT_POSITIONS = 2  # start and stop token of the text
_SPEED_POSITIONS = 2


@dataclass(frozen=True)
class Plan:
    """What is measured. Raises UsageError for a value out of range."""

    seconds: float  # of speech, 0.2 to 60
    prompt_s: float  # of the voice, 0.5 to 15
    repeats: int  # 1 to 1000
    text: str = DEFAULT_TEXT
    compare: tuple[str, ...] = ()  # other packs, or REFERENCE: the same weights in plain fp32, of each family
    enrolls: bool = True
    streams: bool = True
    starts: bool = True  # measure fresh processes, too
    soak: int = 0  # calls of the soak test, 2 to 100 000; 0: none
    options: SynthesisOptions = field(default_factory=lambda: SynthesisOptions(n_beams=1, seed=0))
    given: tuple[str, ...] = ()  # names of the options that are not the pack's own

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("The number of calls of the soak", self.soak or MIN_CALLS, MIN_CALLS, _MAX_CALLS),
            ("The seconds of speech", self.seconds, 0.2, 60.0),
            ("The seconds of the prompt", self.prompt_s, 0.5, 15.0),
            ("The number of repeats", self.repeats, 1, 1000),
        ):
            if not low <= value <= high:
                raise UsageError(f"{name} to measure are {value}; allowed is {low:g} to {high:g}.")

    @classmethod
    def of(
        cls,
        pack: Pack,
        given: Mapping[str, Any],
        *,
        seconds: float = 5.0,
        prompt_s: float | None = None,
        repeats: int = 3,
        **others: Any,
    ) -> Plan:
        """A plan with the pack's defaults under the given options, one beam and a fixed seed; others: further fields.

        prompt_s: seconds of the voice; None: from the options, or 5.
        """
        options = SynthesisOptions.of(pack.manifest.defaults, {**given, "n_beams": 1, "seed": 0})
        if prompt_s is None:
            prompt_s = options.prompt_s or DEFAULT_PROMPT_S
        # The voice is as long as the prompt, so it is not cut.
        options = replace(options, prompt_s=None)
        return cls(seconds, prompt_s, repeats, options=options, given=tuple(sorted(given)), **others)


def measure(
    pack: Pack,
    plan: Plan,
    *,
    device: torch.device,
    compute: Compute | None,
    memory_budget: int | None = None,
    kernel: str = AUTO,
    home: Path | None = None,
    progress: Progress = lambda _what, _share: None,
    tell: Callable[[str], None] = lambda _sentence: None,
) -> Report:
    """Measure a pack. Raises EdgeTTSError for packs that cannot be opened and texts without speech.

    memory_budget: bytes that the run phase must fit into. The measurement is not reduced for it: UsageError if it does
    not fit. tell: called with the expected memory as a sentence, before anything is loaded.
    """
    startup: Startup | None = None
    soak: Soak | None = None

    def call_for(of: Pack) -> Call:
        return call_of(of, plan.text, plan.seconds, plan.prompt_s, plan.options)

    with TemporaryDirectory() as folder:
        tts = TTS(
            pack, device, VoiceStore.default(Path(folder)), kernel=kernel, compute=compute, memory_budget=memory_budget
        )
        compute = tts.compute
        call = call_for(pack)
        place = Place.of(device, compute, kernel)
        guided = plan.options.flow_settings().is_guided(0.0)
        size = size_of(pack.config, plan.seconds, plan.prompt_s, len(call.text_ids), guided=guided, parts=plan.streams)
        needed = expected(pack, compute, place, size).peak
        if tts.budget is not None:
            _check_budget(tts.budget, plan, needed)
        baselines = baselines_of(plan.compare, pack, call, call_for, home)
        tell(f"Loading and speaking will need at most about {shown(needed)} of {place.kind}.")
        progress("measuring the machine", 0.0)
        prepare_process()  # before the first product
        rates = measure_rates(device)
        reset_peak_memory(device)
        progress("loading", 0.1)
        started = time.perf_counter()
        main = Candidate("measured", tts.pipeline, call)
        load_s = time.perf_counter() - started
        progress("warming up", 0.2)
        warmup_s = warm_up(main)
        progress("measuring alone", 0.3)
        run_interleaved([main])
        memory = peak_rss_mb(), peak_cuda_mb(device)
        first_ms = _first_audio_ms(tts, plan, call.voice) if plan.streams else None
        candidates = [main, *(other.candidate(device, compute) for other in baselines)]
        for other_one in candidates[1:]:
            warm_up(other_one)
        alone = {name: list(seconds) for name, seconds in main.seconds.items()}
        main.seconds.clear()
        n_rounds = plan.repeats - (0 if baselines else 1)
        for i in range(n_rounds):
            progress("measuring interleaved" if baselines else "measuring", 0.4 + 0.4 * i / n_rounds)
            run_interleaved(candidates)
        interleaved = {name: list(main.seconds[name]) for name in STAGES} if baselines else {}
        seconds = {name: (*alone[name], *main.seconds[name]) for name in STAGES}
        packs = {pack.path.name: pack, **{other.name: other.pack for other in baselines if not other.is_reference}}
        facts = [about(each, name) for name, each in packs.items()]
        comparisons = [compare(e.name, interleaved, e.seconds, STAGES, _audio_s(e)) for e in candidates[1:]]
        del candidates[1:]
        if plan.enrolls:
            progress("enrolling", 0.8)
            facts = [with_enrollment(each, packs[each.name], plan.prompt_s, plan.repeats, device) for each in facts]
            seconds["enroll"] = facts[0].enroll_seconds
        if plan.starts:
            progress("starting fresh processes", 0.9)
            startup = measure_startup(
                *(pack.path, _own_voice(tts, call.voice), plan.text, Path(folder)),
                device=str(device),
                compute=compute,
                kernel=kernel,
            )
        if plan.soak:
            soak = measure_soak(
                *(pack.path, _own_voice(tts, call.voice), plan.options, plan.soak, Path(folder)),
                device=str(device),
                compute=compute,
                kernel=kernel,
                threads=torch.get_num_threads(),
                memory_budget=memory_budget,
                progress=lambda share: progress("soak test", share),
            )
        progress("counting operations", 0.95)
        rates = rates.better(measure_rates(device))
    pipeline = main.pipeline
    n_prefix = pack.config.gpt.n_conditioning_latents + _SPEED_POSITIONS + len(call.text_ids) + _TEXT_POSITIONS
    sizes = Sizes(
        n_prefix,
        call.n_codes,
        call.voice.reference_mel.shape[-1],
        pipeline.n_frames(call.n_codes),
        plan.options.flow_settings(),
    )
    works = stage_works(pack, sizes)
    floors = {name: works[name].floor_s(rates) for name in STAGES if name != "whole"}
    floors["whole"] = whole_floor_s(works, call.n_codes, rates)
    if plan.enrolls:
        floors["enroll"] = enroll_work(pack, plan.prompt_s).floor_s(rates)
    flow = plan.options.flow_settings()
    return Report(
        pack=pack.path.name,
        compute=compute,
        about={
            "seconds": plan.seconds,
            "prompt_seconds": plan.prompt_s,
            "n_codes": call.n_codes,
            "n_steps": flow.n_steps,
            "solver": flow.solver,
            "cfg_rate": flow.cfg_rate,
            "cfg_until": flow.cfg_until,
            "sway": flow.sway,
            "noise_scale": flow.noise_scale,
            "beams": plan.options.n_beams,
            "given": list(plan.given),
            "dtypes": {n: str(done.dtype).removeprefix("torch.") for n, done in pipeline.prepared.items()},
        },
        machine={
            **describe_machine(device),
            "bandwidth_gb_s": rates.bytes_per_s / 1e9,
            "matrix_tflops": rates.flops / 1e12,
        },
        stages={name: StageReport(tuple(seconds[name]), floors[name]) for name in _ordered(seconds)},
        comparisons=comparisons,
        packs=facts,
        audio_s=_audio_s(main),
        first_audio_ms=first_ms,
        load_s=load_s,
        warmup_s=warmup_s,
        expected_mb=needed / MIB,
        peak_rss_mb=memory[0],
        peak_cuda_mb=memory[1],
        startup=startup,
        soak=soak,
    )


def _check_budget(budget: Budget, plan: Plan, needed: float) -> None:
    """Raise UsageError if the measured call does not fit the budget."""
    if needed > budget.n_bytes:
        raise UsageError(
            f"Measuring {plan.seconds:g} s of speech needs {shown(needed)} of {budget.place.kind}, and the budget is "
            f"{shown(budget.n_bytes)}: measure less with seconds= and prompt_s=, or allow more."
        )


def warm_up(of: Candidate) -> float:
    """Run a short call once, so that everything is read, compiled and allocated. Returns its seconds."""
    options = SynthesisOptions(n_beams=1, n_steps=_WARMUP_STEPS, guards=False, do_sample=False)
    started = time.perf_counter()
    short = replace(of.call, n_codes=min(_WARMUP_CODES, of.call.n_codes), options=options)
    run_interleaved([Candidate("warm-up", of.pipeline, short)])
    return time.perf_counter() - started


def _audio_s(of: Candidate) -> float:
    """Seconds of speech of its call."""
    return of.pipeline.n_frames(of.call.n_codes) / of.pipeline.config.audio.frame_rate


def _own_voice(tts: TTS, other: Voice) -> Voice:
    """The pack's own voice, or `other`: with a voice of noise the model may stop at once."""
    return tts.voice() if tts.ready_voices() else other


def _ordered(seconds: dict[str, tuple[float, ...]]) -> Sequence[str]:
    return [name for name in ("enroll", *STAGES) if name in seconds]


def _first_audio_ms(tts: TTS, plan: Plan, voice: Voice) -> float:
    """Milliseconds from the call to the first chunk of a stream, networks loaded."""
    given: dict[str, Any] = {**asdict(plan.options), "n_beams": 1}
    started = time.perf_counter()
    with tts.stream(plan.text, voice, **given) as stream:
        next(iter(stream))
        return (time.perf_counter() - started) * 1e3
