"""The compiled runner makes the codes of the plain step in few compilations, and says so where it cannot."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from helpers.runner_cases import codes_by, kinds, settings_of, watched_step
from helpers.small_gpt import small_gpt, small_prompt
from torch._dynamo.exc import FailOnRecompileLimitHit
from torch._dynamo.testing import CompileCounterWithBackend

from edgetts.backends import step_state
from edgetts.backends.device_decoder import DeviceDecoder, DeviceDecoders
from edgetts.backends.runners import CompiledRunner
from edgetts.backends.step_state import KEY_BUCKET
from edgetts.decoding.decode import generate_codes

MOST_COMPILATIONS = 3  # of a kind of step, over any number of buckets


@pytest.fixture
def no_compiled_code() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def count_of(backend: str) -> Any:
    return CompileCounterWithBackend(backend)


@kinds
@pytest.mark.usefixtures("no_compiled_code")
def test_the_whole_step_is_one_graph_and_ten_lengths_at_most_three(n_beams: int, do_sample: bool) -> None:
    """Traced, not made into machine code. The second is of any length but that of the state."""
    gpt, counter = small_gpt(), count_of("eager")
    settings = settings_of(n_beams, do_sample, 40)
    decoder = DeviceDecoder(gpt, n_beams, (runner := CompiledRunner(counter)))
    decoder.prepare(settings, small_prompt(gpt).embeddings, 10 * KEY_BUCKET)
    assert 1 <= counter.frame_count <= MOST_COMPILATIONS and not runner.notices
    assert codes_by(gpt, settings, lambda: CompiledRunner(counter)) == codes_by(gpt, settings, None)


@pytest.mark.slow
@pytest.mark.parametrize(("n_beams", "do_sample"), [(1, False), (3, True)])
@pytest.mark.usefixtures("no_compiled_code")
def test_codes_compiled_to_machine_code(n_beams: int, do_sample: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over ten buckets of keys, which are small here, as is the network: making machine code takes the time."""
    monkeypatch.setattr(step_state, "KEY_BUCKET", 16)
    gpt, counter = small_gpt(n_layers=1), count_of("inductor")
    n_prefix = small_prompt(gpt).embeddings.shape[1] + 1
    settings = settings_of(n_beams, do_sample, 1 + (10 * 16 - n_prefix) // n_beams)
    runner, buckets = CompiledRunner(counter), set[int]()
    compiled = runner._compiled
    assert compiled is not None
    runner._compiled = lambda *given: (buckets.add(given[-1]), compiled(*given))[1]
    assert codes_by(gpt, settings, lambda: runner) == codes_by(gpt, settings, None)
    assert not runner.notices
    assert len(buckets) >= 8 and max(buckets) == 160
    assert 1 <= counter.frame_count <= MOST_COMPILATIONS


@pytest.mark.usefixtures("no_compiled_code")
def test_what_cannot_be_compiled_runs_as_it_is_and_says_so() -> None:
    def refuse(module: Any, inputs: Any) -> Any:
        raise ValueError("no compiler\nhere")

    gpt, settings = small_gpt(), settings_of(3, True, 20)
    pool = DeviceDecoders(gpt, lambda: CompiledRunner(refuse))
    found = generate_codes(gpt, small_prompt(gpt), settings, torch.Generator().manual_seed(1), decoders=pool)
    assert found == codes_by(gpt, settings, None)
    assert len(pool.notices) == 1
    assert "could not be compiled" in pool.notices[0] and "no compiler" in pool.notices[0]


def test_a_refusal_to_compile_once_more_means_the_eager_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """All models of a process share the compiled step, and torch.compile limits its forms."""
    step, _ = watched_step()
    runner = CompiledRunner()

    def refuse(*_: Any) -> None:
        raise FailOnRecompileLimitHit("recompile limit reached")

    monkeypatch.setattr(runner, "_compiled", refuse)
    before = step.state.n_chosen.clone()
    with torch.inference_mode():
        runner.run(step, KEY_BUCKET)
    assert int(step.state.n_chosen) == int(before) + 1
    assert len(runner.notices) == 1 and "recompile limit reached" in runner.notices[0]


def test_an_error_of_the_step_is_no_error_of_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    step, _ = watched_step()
    runner = CompiledRunner()

    def fail(*_: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(runner, "_compiled", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        runner.run(step, KEY_BUCKET)
    assert not runner.notices
