"""Every runner makes the codes of the plain step, and the step does nothing that could not be replayed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers.runner_cases import codes_by, kinds, settings_of, watched_step
from helpers.small_gpt import small_gpt, small_prompt

from edgetts.backends.decode_step import DecodeStep
from edgetts.backends.device_decoder import DeviceDecoder, DeviceDecoders, device_decoders
from edgetts.backends.runners import EagerRunner, GraphRunner, check_runner, runner_maker
from edgetts.backends.step_state import KEY_BUCKET
from edgetts.backends.step_watch import NotReplayable, WatchedRunner
from edgetts.decoding.bursts import BURST
from edgetts.decoding.decode import CodeStream, generate_codes
from edgetts.errors import UsageError

CPU = torch.device("cpu")


# --- what a step does ----------------------------------------------------------------------------------


@kinds
def test_two_hundred_codes_without_a_read_a_copy_or_an_allocation(n_beams: int, do_sample: bool) -> None:
    gpt, settings, runner = small_gpt(), settings_of(n_beams, do_sample, 201), WatchedRunner()
    found = codes_by(gpt, settings, lambda: runner)
    assert runner.n_steps == 200
    assert len(found.codes) == 201
    assert found == codes_by(gpt, settings, None)


KEPT: list[Any] = []
FAULTS: dict[str, tuple[Callable[[DecodeStep], Any], str]] = {
    "a number read": (lambda step: float(step.state.scores[0]), "the host reads a value"),
    "a branch": (lambda step: bool(step.state.finite.all()), "the host reads a value"),
    "a comparison": (lambda step: torch.equal(step.state.codes, step.state.codes), "the host reads a value"),
    "a selection": (lambda step: step.state.seen[step.state.seen], "depends on data"),
    "places": (lambda step: step.state.seen.nonzero(), "depends on data"),
    "an upload": (lambda step: torch.tensor([1, 2]), "host data is copied"),
    "a copy to another device": (lambda step: step.state.codes.to("meta"), "several devices, cpu, meta"),
    "a copy from another device": (
        lambda step: torch.empty(1, dtype=torch.int64, device="meta").copy_(step.state.codes),
        "several devices, cpu, meta",
    ),
    "memory that stays": (lambda step: KEPT.append(step.state.codes + 1), "keeps memory that it allocated: add"),
    "a state that moves": (lambda step: step.state.codes.set_(step.state.codes.clone()), "moved in a step: codes"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_watch_sees(fault: str) -> None:
    _, run = watched_step()
    body, message = FAULTS[fault]
    with pytest.raises(NotReplayable, match=message):
        run(body)
    KEPT.clear()


def test_the_watch_lets_a_step_pass_and_sees_a_state_that_moved_between_two() -> None:
    step, _ = watched_step()
    runner = WatchedRunner()
    with torch.inference_mode():
        runner.run(step, KEY_BUCKET)
        step.state.codes.set_(step.state.codes.clone())
        with pytest.raises(NotReplayable, match="moved before a step: codes"):
            runner.run(step, KEY_BUCKET)
        runner.forget()
        runner.run(step, KEY_BUCKET)


# --- CUDA graphs ---------------------------------------------------------------------------------------


class FailingCapture(GraphRunner):
    """Spoils the state and fails, as a capture may that warmed up."""

    def _capture(self, step: DecodeStep, bucket: int, small: Any) -> Any:
        step(bucket)
        raise RuntimeError("operation not permitted when stream is capturing\nCompile with ...")


@kinds
def test_where_a_capture_fails_the_step_runs_as_it_is_and_says_so(n_beams: int, do_sample: bool) -> None:
    gpt, settings = small_gpt(), settings_of(n_beams, do_sample, 30)
    pool = DeviceDecoders(gpt, lambda: FailingCapture(None))
    generator = torch.Generator().manual_seed(1) if do_sample else None
    found = generate_codes(gpt, small_prompt(gpt), settings, generator, decoders=pool)
    assert found == codes_by(gpt, settings, None)
    assert len(pool.notices) == 1
    assert "CUDA graph (operation not permitted when stream is capturing)" in pool.notices[0]


class Recorded:
    """In place of a graph: replays by running the step."""

    def __init__(self, step: DecodeStep, bucket: int) -> None:
        self.step, self.bucket = step, bucket

    def replay(self) -> None:
        self.step(self.bucket)


class Recording(GraphRunner):
    """Captures as a GPU would: the state is warmed up on, put back, and what was captured is kept."""

    captured: list[tuple[int, bool, int]]

    def _capture(self, step: DecodeStep, bucket: int, small: list[torch.Tensor]) -> Any:
        step(bucket)
        for tensor, before in zip(step.state.small(), small, strict=True):
            tensor.copy_(before)
        self.captured.append((step.kind.n_rows, step.kind.sampled, bucket))
        return Recorded(step, bucket)


@kinds
def test_one_capture_for_each_kind_and_bucket(n_beams: int, do_sample: bool) -> None:
    """However many texts; anew where the state had to become larger."""
    gpt, runner = small_gpt(), Recording(None)
    runner.captured = []
    pool = DeviceDecoders(gpt, lambda: runner)
    settings = settings_of(n_beams, do_sample, 270 // n_beams)
    expected = codes_by(gpt, settings, None)
    for _ in range(2):
        generator = torch.Generator().manual_seed(1) if do_sample else None
        assert generate_codes(gpt, small_prompt(gpt), settings, generator, decoders=pool) == expected
        assert runner.captured == [(n_beams, do_sample, KEY_BUCKET), (n_beams, do_sample, 2 * KEY_BUCKET)]
    more = settings_of(n_beams, do_sample, 600)
    with contextlib.closing(CodeStream(gpt, small_prompt(gpt), more, torch.Generator(), decoders=pool)) as stream:
        while len(runner.captured) < 3:
            next(stream)
    assert runner.captured[2:] == [(n_beams, do_sample, KEY_BUCKET)]


def test_preparing_captures_all_buckets_and_changes_no_codes() -> None:
    gpt, runner = small_gpt(), Recording(None)
    runner.captured = []
    pool, settings = DeviceDecoders(gpt, lambda: runner), settings_of(1, False, 20)
    decoder = pool.take(1)
    decoder.prepare(settings, small_prompt(gpt).embeddings, 3 * KEY_BUCKET)
    pool.give_back(decoder)
    assert [bucket for *_, bucket in runner.captured] == [KEY_BUCKET, 2 * KEY_BUCKET, 3 * KEY_BUCKET]
    assert generate_codes(gpt, small_prompt(gpt), settings, None, decoders=pool) == codes_by(gpt, settings, None)
    assert len(runner.captured) == 3


# --- names ---------------------------------------------------------------------------------------------


def test_names() -> None:
    assert runner_maker("auto", CPU) is None and runner_maker("host", CPU) is None
    assert device_decoders(small_gpt(), CPU, "auto") is None
    makers = {name: runner_maker(name, CPU) for name in ("eager", "compile")}
    assert {name: maker().name for name, maker in makers.items() if maker is not None} == {n: n for n in makers}
    with pytest.raises(UsageError, match="Unknown runner 'fast': use one of auto, host, eager, compile"):
        check_runner("fast", CPU)
    with pytest.raises(UsageError, match="The runner graph needs a CUDA device, and the device is cpu"):
        check_runner("graph", CPU)


# --- on a GPU ------------------------------------------------------------------------------------------


def on_a_gpu(test: Any) -> Any:
    return pytest.mark.gpu(pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")(test))


@on_a_gpu
@kinds
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_captured_codes_are_those_of_the_plain_step(n_beams: int, do_sample: bool, dtype: torch.dtype) -> None:
    gpt, settings = small_gpt("cuda", dtype), settings_of(n_beams, do_sample, 300)
    runner = GraphRunner(torch.cuda.graph_pool_handle())
    pool = DeviceDecoders(gpt, lambda: runner)
    expected = codes_by(gpt, settings, EagerRunner)
    for _ in range(2):
        generator = torch.Generator().manual_seed(1) if do_sample else None
        assert generate_codes(gpt, small_prompt(gpt), settings, generator, decoders=pool) == expected
    assert not pool.notices


@on_a_gpu
@kinds
def test_codes_in_fp32_are_those_of_the_cpu(n_beams: int, do_sample: bool) -> None:
    settings = settings_of(n_beams, do_sample, 100)
    pool = DeviceDecoders(small_gpt("cuda"), lambda: GraphRunner(torch.cuda.graph_pool_handle()))
    generator = torch.Generator().manual_seed(1) if do_sample else None
    gpt = small_gpt("cuda")
    found = generate_codes(gpt, small_prompt(gpt), settings, generator, decoders=pool)
    assert found == codes_by(small_gpt(), settings, None)


@on_a_gpu
@pytest.mark.slow
@kinds
def test_compiled_and_captured_codes(n_beams: int, do_sample: bool) -> None:
    """In fp32: compiled sums of half precision round at other places."""
    gpt, settings = small_gpt("cuda"), settings_of(n_beams, do_sample, 100)
    runner = GraphRunner(torch.cuda.graph_pool_handle(), compiled=True)
    assert codes_by(gpt, settings, lambda: runner) == codes_by(gpt, settings, EagerRunner)
    assert not runner.notices


@pytest.mark.parametrize("n_beams", [1, 3])
def test_what_is_prepared_is_enough_for_a_text(n_beams: int) -> None:
    """A state that grows moves, and everything that was captured for it is lost."""
    gpt, settings = small_gpt("cpu"), settings_of(n_beams, False, 400)
    prompt, pool = small_prompt(gpt), DeviceDecoders(gpt, EagerRunner)
    pool.prepare(prompt.embeddings, settings)
    decoder = pool.take(n_beams)
    state = decoder.state
    decoder.prefill(prompt, settings, None)
    assert state is not None and decoder.state is state


@on_a_gpu
@kinds
def test_a_burst_neither_waits_nor_allocates(n_beams: int, do_sample: bool) -> None:
    gpt, settings = small_gpt("cuda", torch.bfloat16), settings_of(n_beams, do_sample, 400)
    decoder = DeviceDecoder(gpt, n_beams, GraphRunner(torch.cuda.graph_pool_handle()))
    prompt = small_prompt(gpt)
    # As many slots as `prefill` asks for: with fewer the state moves, and its graphs are captured again.
    n_slots = prompt.embeddings.shape[1] + 1 + n_beams * (settings.max_codes - 1)
    decoder.prepare(settings, prompt.embeddings, n_slots)
    decoder.prefill(prompt, settings, torch.Generator().manual_seed(1))
    allocated = torch.cuda.memory_stats()["allocation.all.allocated"]
    n_read = 0
    while n_read < 1 + 100:
        torch.cuda.set_sync_debug_mode("error")
        try:
            decoder.launch(BURST)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        n_read += len(decoder.poll())
    assert torch.cuda.memory_stats()["allocation.all.allocated"] == allocated


@on_a_gpu
@kinds
def test_the_watch_finds_nothing_on_a_gpu(n_beams: int, do_sample: bool) -> None:
    gpt, settings = small_gpt("cuda"), settings_of(n_beams, do_sample, 40)
    assert codes_by(gpt, settings, WatchedRunner) == codes_by(gpt, settings, EagerRunner)
