"""A warm-up prepares every bucket of keys and every length of sound that speech will need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from edgetts.backends import networks
from edgetts.backends.decode_step import DecodeStep
from edgetts.backends.runners import EagerRunner
from edgetts.backends.step_watch import WatchedUnits
from edgetts.bench import warm as warming
from edgetts.bench.stages import voice_of_length
from edgetts.options import SynthesisOptions
from edgetts.pack.load import open_pack
from edgetts.pipeline import Pipeline
from edgetts.voices.speaker import make_speaker

CPU = torch.device("cpu")
IDS = tuple(range(5, 15))


def test_all_that_speech_needs_is_prepared(mini_pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner, buckets = WatchedUnits(), set[tuple[int, int]]()

    def prepare(self: EagerRunner, step: DecodeStep, bucket: int) -> None:
        buckets.add((step.kind.n_rows, bucket))

    monkeypatch.setattr(EagerRunner, "prepare", prepare)
    monkeypatch.setattr(networks, "sound_runner", lambda device, compute, name: runner)
    monkeypatch.setattr(warming, "SOUND_S", 1.0)  # two lengths without context, one with it
    monkeypatch.setattr(warming, "VOCODER_WINDOW", 0)
    monkeypatch.setattr(warming, "reach", lambda config: 32)  # one window
    pipeline = Pipeline(open_pack(mini_pack), CPU, compute="exact", runner="eager")
    with torch.inference_mode():
        speaker = make_speaker(pipeline.networks, voice_of_length(pipeline.pack, 2.0))
        n_keys = warming.prepare_decoding(pipeline, speaker, IDS)
        n_lengths = warming.prepare_sound(pipeline, speaker)
    beams = {n_rows for n_rows, _ in buckets}
    assert beams == {1, SynthesisOptions.of(pipeline.pack.manifest.defaults, {}).n_beams}
    assert all({b for n, b in buckets if n == rows} >= {256, 512} for rows in beams)
    assert n_keys == len(buckets) and n_lengths == 2 + 1 + 1
    n_before, settings = runner.n_runs, SynthesisOptions(n_steps=1).flow_settings()
    mel = torch.zeros(1, pipeline.config.audio.n_mels, 64)
    with torch.inference_mode():
        for n_frames in (70, 100, 120):  # the first solution of these lengths after it
            condition = torch.zeros(1, n_frames, speaker.prompt_condition.shape[-1])
            pipeline.mel(speaker, condition, torch.zeros(1, mel.shape[1], n_frames), settings)
        pipeline.waveform(mel)
    assert runner.n_runs == n_before + 3 * settings.n_evals + 1


def test_nothing_is_prepared_where_nothing_is_replayed(mini_pack: Path) -> None:
    pipeline: Any = Pipeline(open_pack(mini_pack), CPU, compute="exact")
    with torch.inference_mode():
        speaker = make_speaker(pipeline.networks, voice_of_length(pipeline.pack, 1.0))
        assert warming.prepare_decoding(pipeline, speaker, IDS) + warming.prepare_sound(pipeline, speaker) == 0
