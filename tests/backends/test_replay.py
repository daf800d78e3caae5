"""Units that are replayed compute what is computed without them, on fixed addresses, and are taken between two calls."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from edgetts import pipeline as pipeline_module
from edgetts.backends import networks
from edgetts.backends.dit_replay import LENGTH_BUCKET, estimate_key
from edgetts.backends.fast_dit import FastDiT
from edgetts.backends.fast_vocoder import FastVocoder
from edgetts.backends.kernels import relative_error
from edgetts.backends.replay import EagerUnits, Replays, Unit
from edgetts.backends.runners import sound_runner
from edgetts.backends.step_watch import NotReplayable, WatchedUnits
from edgetts.bench.stages import voice_of_length
from edgetts.decoding.settings import FlowSettings
from edgetts.pack.load import open_pack
from edgetts.pipeline import Pipeline
from edgetts.voices.speaker import Speaker, make_speaker

CPU = torch.device("cpu")
FLOW = FlowSettings(n_steps=3, solver="euler", cfg_rate=0.7, cfg_until=0.5)  # two branches, then one
PROMPT_S = 2.0
SAME = 1e-5  # other sums: the last layer begins at a multiple of the bucket


class Refusing(EagerUnits):
    """As where a capture fails."""

    def run(self, unit: Unit) -> bool:
        self.notices.append("No graphs here.")
        return False


def pipeline_with(runner: Any, pack: Path, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    monkeypatch.setattr(networks, "sound_runner", lambda device, compute, name: runner)
    return Pipeline(open_pack(pack), CPU, compute="exact")


def speaker_of(pipeline: Pipeline) -> Speaker:
    return make_speaker(pipeline.networks, voice_of_length(pipeline.pack, PROMPT_S))


def n_for_a_bucket(speaker: Speaker, more: int = 0) -> int:
    """New frames with which prompt and speech are a multiple of the bucket, and `more` of them."""
    return -speaker.reference_mel.shape[-1] % LENGTH_BUCKET + LENGTH_BUCKET + more


@torch.inference_mode()
def mel_of(pipeline: Pipeline, speaker: Speaker, n_frames: int, seed: int = 1, should_stop: Any = None) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = pipeline.noise(n_frames, generator)
    condition = torch.randn(1, n_frames, speaker.prompt_condition.shape[-1], generator=generator)
    return pipeline.mel(speaker, condition, noise, FLOW, should_stop)


def test_evaluations_are_replayed_from_the_second_solution_on(mini_pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a read, a copy from the host, memory that stays or an address that moves."""
    plain = pipeline_with(None, mini_pack, monkeypatch)
    runner = WatchedUnits()
    replayed = pipeline_with(runner, mini_pack, monkeypatch)
    speaker = speaker_of(plain)
    n_frames = n_for_a_bucket(speaker)
    assert torch.equal(mel_of(replayed, speaker, n_frames), mel_of(plain, speaker, n_frames))
    assert runner.n_runs == 0
    for number, seed in enumerate((2, 3)):
        expected = mel_of(plain, speaker, n_frames, seed)
        assert relative_error(mel_of(replayed, speaker, n_frames, seed), expected) < SAME
        assert runner.n_runs == (number + 1) * FLOW.n_evals


def test_solutions_take_turns_with_a_unit(mini_pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As streams do, which yield between two steps."""
    runner = WatchedUnits()
    pipeline = pipeline_with(runner, mini_pack, monkeypatch)
    speaker = speaker_of(pipeline)
    n_frames = n_for_a_bucket(speaker)
    mel_of(pipeline, speaker, n_frames)
    expected = [mel_of(pipeline, speaker, n_frames, seed) for seed in (2, 3)]
    inner: list[Tensor] = []

    def interrupt() -> bool:
        if not inner:
            inner.append(torch.zeros(0))
        elif len(inner) == 1:  # before the second evaluation
            inner.append(mel_of(pipeline, speaker, n_frames, 3))
        return False

    assert torch.equal(mel_of(pipeline, speaker, n_frames, 2, interrupt), expected[0])
    assert torch.equal(inner[1], expected[1])


@pytest.mark.parametrize("more", [0, 1, 63])
def test_at_most_63_frames_of_the_prompt_are_left_out(
    more: int, mini_pack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[tuple[int, int]] = []
    solve = pipeline_module.solve_flow

    def noted(estimator: Any, noise: Tensor, known: Tensor, *rest: Any, **how: Any) -> Tensor:
        lengths.append((noise.shape[-1], known.shape[-1]))
        return solve(estimator, noise, known, *rest, **how)

    monkeypatch.setattr(pipeline_module, "solve_flow", noted)
    plain, bucketed = (pipeline_with(runner, mini_pack, monkeypatch) for runner in (None, WatchedUnits()))
    speaker = speaker_of(plain)
    n_prompt, n_frames = speaker.reference_mel.shape[-1], n_for_a_bucket(speaker, more)
    whole, shorter = mel_of(plain, speaker, n_frames), mel_of(bucketed, speaker, n_frames)
    assert lengths == [(n_prompt + n_frames, n_prompt), (n_prompt + n_frames - more, n_prompt - more)]
    assert lengths[1][0] % LENGTH_BUCKET == 0
    assert whole.shape == shorter.shape and torch.equal(whole, shorter) == (more == 0)


def test_a_short_prompt_is_kept(mini_pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, bucketed = (pipeline_with(runner, mini_pack, monkeypatch) for runner in (None, WatchedUnits()))
    speaker = make_speaker(plain.networks, voice_of_length(plain.pack, 0.5))  # 43 frames
    n_frames = -speaker.reference_mel.shape[-1] % LENGTH_BUCKET + LENGTH_BUCKET + 30
    assert torch.equal(mel_of(bucketed, speaker, n_frames), mel_of(plain, speaker, n_frames))


def test_windows_are_replayed(mini_pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each longer by earlier frames, and the samples are the same."""
    monkeypatch.setattr(pipeline_module, "VOCODER_WINDOW", 64)
    plain = pipeline_with(None, mini_pack, monkeypatch)
    runner = WatchedUnits()
    replayed = pipeline_with(runner, mini_pack, monkeypatch)
    assert isinstance(replayed.vocoder, FastVocoder)
    mel = torch.randn(1, plain.config.audio.n_mels, 130, generator=torch.Generator().manual_seed(0)) - 5
    with torch.inference_mode():
        expected = plain.waveform(mel)
        for n_runs in (0, 1, 2):
            assert relative_error(replayed.waveform(mel), expected) < SAME
            assert runner.n_runs >= n_runs


def test_where_a_capture_fails_sound_is_made_without_and_it_is_told(
    mini_pack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = pipeline_with(None, mini_pack, monkeypatch)
    refused = pipeline_with(Refusing(), mini_pack, monkeypatch)
    speaker = speaker_of(plain)
    n_frames = n_for_a_bucket(speaker)
    for seed in (1, 2, 3):
        assert torch.equal(mel_of(refused, speaker, n_frames, seed), mel_of(plain, speaker, n_frames, seed))
    assert refused.notices == ("No graphs here.",) and plain.notices == ()


def test_units_end_where_the_compiled_form_takes_over(mini_pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = WatchedUnits()
    pipeline = pipeline_with(runner, mini_pack, monkeypatch)
    speaker, forgotten = speaker_of(pipeline), list[Unit]()
    n_frames = n_for_a_bucket(speaker)
    monkeypatch.setattr(runner, "forget", forgotten.append)
    estimator = pipeline.s2mel.cfm.estimator
    assert isinstance(estimator, FastDiT)
    for _ in range(3):
        mel_of(pipeline, speaker, n_frames)
    before = runner.n_runs
    monkeypatch.setattr(estimator._blocks, "settle", lambda: True)
    mel_of(pipeline, speaker, n_frames)
    assert len(forgotten) == 2 and runner.n_runs == before + FLOW.n_evals  # captured anew


class Counter:
    """A unit of one number."""

    def __init__(self) -> None:
        self.value = torch.zeros(1)

    def __call__(self) -> None:
        self.value.add_(1)

    def tensors(self) -> dict[str, Tensor]:
        return {"value": self.value}


def test_units_are_made_at_the_second_request_and_the_oldest_goes() -> None:
    replays: Replays[int, Counter] = Replays(EagerUnits(), most=2)

    def get(key: int) -> Counter | None:
        return replays.get(key, lambda _: Counter())

    assert get(1) is None
    first = get(1)
    assert first is not None and get(1) is first and replays.run(first) and first.value == 1
    assert get(2) is None and get(2) is not None
    assert get(3) is None  # 1 goes
    assert get(2) is not None and get(1) is None
    replays.forget()
    assert get(2) is None or get(2) is not first


FAULTS: dict[str, tuple[Callable[[Counter], Any], str]] = {
    "a number read": (lambda unit: float(unit.value), "the host reads a value"),
    "an address": (lambda unit: setattr(unit, "value", unit.value.clone()), "moved in a step: value"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_watch_sees(fault: str) -> None:
    body, message = FAULTS[fault]

    class Faulty(Counter):
        def __call__(self) -> None:
            body(self)

    with pytest.raises(NotReplayable, match=message):
        WatchedUnits().run(Faulty())


def test_keys() -> None:
    assert estimate_key(128, 70, 2) == (128, 64, 2)
    assert estimate_key(129, 70, 2) is None
    assert sound_runner(CPU, "fast", "auto") is None
    assert sound_runner(torch.device("cuda"), "exact", "auto") is None
    assert sound_runner(torch.device("cuda"), "fast", "eager") is None


def on_a_gpu(test: Any) -> Any:
    return pytest.mark.gpu(pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")(test))


@on_a_gpu
def test_captured_sound_is_that_of_the_plain_form(mini_pack: Path) -> None:
    device = torch.device("cuda:0")
    captured, plain = (Pipeline(open_pack(mini_pack), device, compute="fast", runner=r) for r in ("graph", "eager"))
    speaker = speaker_of(plain)
    n_frames = n_for_a_bucket(speaker)
    with torch.inference_mode():
        for seed in (1, 2, 3):
            expected = mel_of(plain, speaker, n_frames, seed)
            found = mel_of(captured, speaker, n_frames, seed)
            assert relative_error(found, expected) < 1e-2
            assert relative_error(captured.waveform(found), plain.waveform(found)) < 1e-2
    assert captured.notices == ()
