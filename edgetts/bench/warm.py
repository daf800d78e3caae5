"""Warm-up: does the work of the first call ahead of time.

In: the engine that streams share. Out: chosen and compiled kernels, touched memory, and a stored latency model, so that
the first stream on this machine is scheduled like later ones. It measures two lengths, to separate fixed cost and cost
per unit. Durations of speech are not learned from noise. It runs what a call runs and does not know what is compiled.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from edgetts.bench.stages import Call, Candidate, run_in_turn, voice_of_length
from edgetts.options import SynthesisOptions
from edgetts.streaming.engine import Engine

LENGTHS_S = (0.5, 2.0)  # of speech: a first chunk and a usual one
PROMPT_S = 5.0  # of a usual voice
_STEPS = 1


@dataclass(frozen=True)
class WarmUp:
    """Seconds of the first call, including background compilation, and of the same call afterwards."""

    cold_s: float
    warm_s: float
    total_s: float  # of all calls


def warm(engine: Engine, text_ids: Sequence[int]) -> WarmUp:
    """Run calls of two lengths, store the latency model, and return the times."""
    pipeline = engine.pipeline
    options = SynthesisOptions(n_beams=1, n_steps=_STEPS, seed=0, guards=False)
    settings = options.flow_settings()
    voice = voice_of_length(pipeline.pack, PROMPT_S)
    total, run_s = 0.0, list[float]()
    # The first call compiles and allocates, and is not measured.
    for seconds, counts in ((LENGTHS_S[0], False), *((length, True) for length in LENGTHS_S)):
        n_codes = max(2, round(seconds * pipeline.config.code_rate))
        candidate = Candidate("warm-up", pipeline)
        started = time.perf_counter()
        run_in_turn([candidate], Call(voice, tuple(text_ids), n_codes, options))
        if not counts:
            pipeline.networks.wait_for_compilers()
            run_s.append(time.perf_counter() - started)
        elif len(run_s) == 1:
            run_s.append(time.perf_counter() - started)
        took = {stage: runs[-1] for stage, runs in candidate.seconds.items()}
        total += took["whole"] + took["dit_step"]
        if not counts:
            continue
        n_frames = pipeline.n_frames(n_codes)
        rows = settings.rows_per_eval * (voice.reference_mel.shape[-1] + n_frames)
        engine.speeds.add("codes", n_codes - 1, took["decode"])
        engine.speeds.add("features", n_codes, took["features"])
        engine.speeds.add("flow", rows, took["dit_step"])
        engine.speeds.add("vocoder", n_frames, took["vocoder"])
    if engine.speeds_path is not None:
        engine.speeds.save(engine.speeds_path)
    return WarmUp(run_s[0], run_s[1], total)
