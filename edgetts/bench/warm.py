"""Warm-up: does the work of the first call ahead of time.

In: the engine that streams share. Out: chosen and compiled kernels, touched memory, and a stored latency model, so that
the first stream on this machine is scheduled like later ones. It measures two lengths, to separate fixed cost and cost
per unit. It does not learn durations of speech, since the voice is noise. It runs what a call runs and does not know
what is compiled.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from edgetts.bench.stages import Call, Candidate, run_interleaved, voice_of_length
from edgetts.decoding.decode import max_codes_limit
from edgetts.decoding.guards import cap_codes
from edgetts.models.vocoder import reach
from edgetts.options import SynthesisOptions
from edgetts.pipeline import VOCODER_WINDOW, Pipeline
from edgetts.streaming.engine import Engine
from edgetts.streaming.renderer import Seams
from edgetts.voices.speaker import Speaker, make_speaker

LENGTHS_S = (0.5, 2.0)  # of speech: a first chunk and a usual one
PROMPT_S = 5.0  # of a usual voice
SOUND_S = 6.0  # of speech in one chunk
_STEPS = 1
_UNTIL_REPLAYED = 3  # the first time plain, the second captured, the third replayed


@dataclass(frozen=True)
class WarmUp:
    """Seconds of the first call, including background compilation, and of the same call afterwards."""

    cold_s: float
    warm_s: float
    total_s: float  # of all calls
    n_buckets: int  # prepared: cache lengths in decoding, and lengths of sound


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
        candidate = Candidate("warm-up", pipeline, Call(voice, tuple(text_ids), n_codes, options))
        started = time.perf_counter()
        run_interleaved([candidate])
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
    n_buckets = 0
    with torch.inference_mode():
        speaker = make_speaker(pipeline.networks, voice)
        n_buckets += prepare_decoding(pipeline, speaker, text_ids) + prepare_sound(pipeline, speaker)
    return WarmUp(run_s[0], run_s[1], total, n_buckets)


def prepare_decoding(pipeline: Pipeline, speaker: Speaker, text_ids: Sequence[int]) -> int:
    """Prepare the steps for all keys that a segment of the usual length may need, with the pack's beams and with one.

    Returns the number of buckets; 0 if the host chooses the codes.
    """
    if pipeline.decoders is None:
        return 0
    usual = SynthesisOptions.of(pipeline.pack.manifest.defaults, {})
    limit = min(usual.max_codes, max_codes_limit(pipeline.config.gpt))
    cap = cap_codes(usual.max_segment_tokens + 1, pipeline.config.code_rate, limit)
    embeddings = pipeline.prompt(speaker, text_ids).embeddings
    all_beams = dict.fromkeys((usual.n_beams, 1))
    return sum(pipeline.decoders.prepare(embeddings, replace(usual, n_beams=n).decode_settings(cap)) for n in all_beams)


def prepare_sound(pipeline: Pipeline, speaker: Speaker) -> int:
    """Solve and render `_UNTIL_REPLAYED` times at every length up to `SOUND_S`, so that later calls replay it.

    Returns the number of lengths; 0 if nothing is replayed.
    """
    bucket, window = pipeline.networks.flow_bucket, pipeline.networks.window_bucket
    frame_rate, n_mels = pipeline.config.audio.frame_rate, pipeline.config.audio.n_mels
    longest = round(SOUND_S * frame_rate)
    usual = SynthesisOptions.of(pipeline.pack.manifest.defaults, {}).flow_settings()
    settings = replace(usual, n_steps=_STEPS)
    on, n_lengths = pipeline.device, 0
    contexts = (0, Seams().context) if bucket > 1 else ()
    for n_context in contexts:
        context = torch.zeros(1, n_mels, n_context, device=on) if n_context else None
        # Leaves out as many frames as allowed: what is captured for that serves calls that leave out fewer.
        n_known = speaker.reference_mel.shape[-1] + n_context
        for n_frames in range(bucket + (bucket - 1 - n_known) % bucket, longest + bucket, bucket):
            condition = torch.zeros(1, n_context + n_frames, speaker.prompt_condition.shape[-1], device=on)
            noise = torch.zeros(1, n_mels, n_frames, device=on)
            for _ in range(_UNTIL_REPLAYED):
                pipeline.mel(speaker, condition, noise, settings, context=context)
            n_lengths += 1
    if window > 1:
        for n_frames in range(window, VOCODER_WINDOW + 2 * reach(pipeline.config.vocoder) + 1, window):
            for _ in range(_UNTIL_REPLAYED):
                pipeline.waveform(torch.zeros(1, n_mels, n_frames, device=on))
            n_lengths += 1
    return n_lengths
