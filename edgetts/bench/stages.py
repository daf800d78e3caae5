"""Times the stages of one or several candidates, interleaved.

In: loaded pipelines, of one family of models or of several, with a call each. Out: the seconds of every run, by stage.
With several candidates, each stage runs for all of them before the next stage begins, so that other work on the machine
affects all alike: ratios hold even if seconds do not.

The voice is noise of the right shapes, and each candidate renders its own codes: times depend only on lengths.
Knows no rooflines, reports or texts.
"""

from __future__ import annotations

import dataclasses
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor

from edgetts.bench.machine import synchronize
from edgetts.decoding.decode import CodeStream
from edgetts.decoding.prompt import GPTPrompt
from edgetts.decoding.settings import FlowSettings
from edgetts.errors import GenerationError
from edgetts.families import family_of
from edgetts.models.gpt import KVCache
from edgetts.options import SynthesisOptions
from edgetts.pack.config import ModelConfig
from edgetts.pack.load import Pack
from edgetts.pipeline import Pipeline
from edgetts.voices.speaker import Speaker, make_speaker
from edgetts.voices.voice import Voice

STAGES = ("prefill", "decode_per_code", "features", "dit_step", "s2mel", "vocoder", "whole")
"""In order; `dit_step` is part of `s2mel`, `whole` is the complete call."""
_LOG_SILENCE = -5.0  # about the mean of log-mels
_DECODE_TRIES = 8  # seeds, if the model stops at once
_N_STEPS_ALONE = 2  # a DiT step is timed as half of two, since they share the preparation
Result = TypeVar("Result")


@dataclass(frozen=True)
class Call:
    """What a candidate computes."""

    voice: Voice
    text_ids: tuple[int, ...]
    n_codes: int
    options: SynthesisOptions
    seed: int = 0


@dataclass
class Candidate:
    """One pipeline with its call, and its seconds by stage, one per repeat."""

    name: str
    pipeline: Pipeline
    call: Call
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    n_codes: int = 0  # generated in the last repeat

    def time(self, stage: str, work: Callable[[], Result]) -> Result:
        """Run `work` and record its time."""
        device = self.pipeline.device
        synchronize(device)
        started = time.perf_counter()
        result = work()
        synchronize(device)
        self.seconds[stage].append(time.perf_counter() - started)
        return result


def voice_of_length(pack: Pack, prompt_s: float) -> Voice:
    """A voice of `prompt_s` seconds for a pack. Its recording is noise; speaker latents are those of the pack's first
    ready voice, if it has one, so that a trained GPT does not stop at once."""
    config, generator = pack.config, torch.Generator().manual_seed(0)
    n_frames = max(1, round(prompt_s * config.audio.frame_rate))

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    dim = config.gpt.model_dim
    noise = Voice(
        conditioning_latents=normal(1, config.gpt.n_conditioning_latents, dim),
        emotion_vector=normal(1, dim),
        emotion_base=normal(1, dim),
        style=normal(1, config.speaker_encoder.embedding_size),
        **_reference(config, max(1, round(prompt_s * config.feature_rate)), generator),
        reference_mel=normal(1, config.audio.n_mels, n_frames) + _LOG_SILENCE,
        encoder_id=pack.manifest.encoder_id,
        family=pack.manifest.family,
        seconds=prompt_s,
        name="noise",
    )
    ready = pack.manifest.ready_voices()
    if not ready:
        return noise
    speaker = Voice.load(pack.file(next(iter(ready.values()))))
    of_speaker = ("conditioning_latents", "emotion_vector", "emotion_base", "style")
    return dataclasses.replace(noise, **{name: getattr(speaker, name) for name in of_speaker})


def _reference(config: ModelConfig, n_features: int, generator: torch.Generator) -> dict[str, Any]:
    """The field of a voice that the prompt condition is computed from, as noise."""
    name = family_of(config).voice_reference
    if name == "reference_codes":
        return {name: torch.randint(config.semantic_codec.codebook_size, (1, n_features), generator=generator)}
    return {name: torch.randn((1, n_features, config.semantic_codec.hidden_size), generator=generator)}


@torch.inference_mode()
def run_interleaved(candidates: Sequence[Candidate]) -> None:
    """One repeat of every stage for every candidate; adds the times to the candidates."""
    turns = [(each, make_speaker(each.pipeline.networks, each.call.voice)) for each in candidates]
    for each, speaker in turns:
        _prefill(each, speaker)
    prompts = [each.pipeline.prompt(speaker, each.call.text_ids) for each, speaker in turns]
    made = [_decode(each, prompt) for each, prompt in zip(candidates, prompts, strict=True)]
    features = [
        each.time("features", lambda e=each, p=prompt, c=codes: e.pipeline.features(p, c))  # type: ignore[misc]
        for each, prompt, codes in zip(candidates, prompts, made, strict=True)
    ]
    for (each, speaker), own in zip(turns, features, strict=True):
        alone = dataclasses.replace(each.call.options.flow_settings(), n_steps=_N_STEPS_ALONE)
        _mel(each, "dit_step", speaker, own, alone)
        each.seconds["dit_step"][-1] /= alone.n_evals
    mels = [
        _mel(each, "s2mel", speaker, own, each.call.options.flow_settings())
        for (each, speaker), own in zip(turns, features, strict=True)
    ]
    for each, mel, codes in zip(candidates, mels, made, strict=True):
        each.time("vocoder", lambda e=each, m=mel: e.pipeline.waveform(m))  # type: ignore[misc]
        each.n_codes = len(codes)
        each.seconds["whole"].append(_whole(each))


def _prefill(each: Candidate, speaker: Speaker) -> None:
    """All positions in front of the codes, and the logits of the first code."""
    gpt, device = each.pipeline.gpt, each.pipeline.device

    def run() -> Tensor:
        prefix = each.pipeline.prompt(speaker, each.call.text_ids).embeddings
        cache = KVCache.allocate(gpt.config, prefix.shape[1], device=device, dtype=prefix.dtype)
        return gpt.logits(gpt(prefix, cache)[:, -1:])

    each.time("prefill", run)


def _decode(each: Candidate, prompt: GPTPrompt) -> list[int]:
    """Codes one after the other as a call makes them; the time of each but the first, which has the prefill."""
    call = each.call
    for attempt in range(_DECODE_TRIES):
        codes, steps = _decode_once(each, prompt, call.seed + attempt)
        if steps:
            break
    else:
        raise GenerationError("The model stopped at once: give another text with text=.")
    each.seconds["decode_per_code"] += steps
    each.seconds["decode"].append(sum(steps) * (call.n_codes - 1) / len(steps))
    # Pad codes of an early end: times depend only on lengths.
    return [codes[i % len(codes)] for i in range(call.n_codes)]


def _decode_once(each: Candidate, prompt: GPTPrompt, seed: int) -> tuple[list[int], list[float]]:
    """Codes, and the seconds that each but the first took."""
    call = each.call
    stream = CodeStream(
        each.pipeline.gpt,
        prompt,
        dataclasses.replace(call.options.decode_settings(call.n_codes), n_beams=1),
        torch.Generator().manual_seed(seed),
        stepper=each.pipeline.stepper,
        decoders=each.pipeline.decoders,
    )
    codes: list[int] = []
    times: list[float] = []
    for new in stream:
        synchronize(each.pipeline.device)
        if new:  # the stop code is none
            codes += new
            times.append(time.perf_counter())
    return codes, [after - before for before, after in pairwise(times)]


def _mel(each: Candidate, stage: str, speaker: Speaker, features: Tensor, settings: FlowSettings) -> Tensor:
    pipeline = each.pipeline

    def run() -> Tensor:
        condition = pipeline.condition(features)
        noise = pipeline.noise(condition.shape[1], torch.Generator().manual_seed(0))
        return pipeline.mel(speaker, condition, noise, settings)

    return each.time(stage, run)


def _whole(each: Candidate) -> float:
    """Sum of the stages' times in this repeat."""
    return sum(each.seconds[stage][-1] for stage in ("prefill", "decode", "features", "s2mel", "vocoder"))
