"""The flow solver: upstream's mel from injected noise, the order of the solvers, guidance, cancelling."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, get_args

import pytest
import torch
from helpers.checkpoint import component_tensors
from helpers.folding import fill
from helpers.paths import DATA, GOLDEN
from helpers.s2mel_config import s2mel_config
from safetensors.torch import load_file
from torch import Tensor

from edgetts.decoding.flow import Estimator, solve_flow
from edgetts.decoding.settings import MAX_SWAY, FlowSettings, Solver
from edgetts.errors import Cancelled, UsageError
from edgetts.models.s2mel import EXPECTED_EXTRAS, LatentS2Mel


def flow_inputs(length: int = 9, prompt: int = 4) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """noise, ref_mel, condition, style"""
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(1, 3, length, generator=generator),
        torch.randn(1, 3, prompt, generator=generator),
        torch.randn(1, length, 5, generator=generator),
        torch.randn(1, 2, generator=generator),
    )


def growth(x: Tensor, prompt: Tensor, t: Tensor, style: Tensor, condition: Tensor) -> Tensor:
    """dx/dt = x, solved by x(0) e^t."""
    return x


def test_the_noise_is_scaled_and_not_touched() -> None:
    noise, ref_mel, condition, style = flow_inputs()
    before = noise.clone()
    whole = solve_flow(growth, noise, ref_mel, condition, style, FlowSettings(3, "euler", 0.0))
    half = solve_flow(growth, noise, ref_mel, condition, style, FlowSettings(3, "euler", 0.0, noise_scale=0.5))
    assert torch.equal(noise, before)
    torch.testing.assert_close(half, whole / 2)


def test_euler_matches_upstream() -> None:
    with torch.device("meta"):
        module = LatentS2Mel(s2mel_config(DATA / "config/mini/config.yaml"))
    fill(module, component_tensors("s2mel"), EXPECTED_EXTRAS)
    golden = load_file(GOLDEN / "s2mel.safetensors")
    condition = torch.cat([golden["prompt_condition"], golden["target_condition"]], dim=1)
    settings = FlowSettings(int(golden["steps"]), "euler", float(golden["cfg_rate"]))
    noise = golden["noise"].clone()
    with torch.inference_mode():
        mel = solve_flow(module.estimator, noise, golden["ref_mel"], condition, golden["style"], settings)
    prompt_length = golden["ref_mel"].shape[-1]
    assert torch.equal(noise, golden["noise"])
    assert not mel[..., :prompt_length].any()
    expected = golden["mel"]
    assert (mel[..., prompt_length:] - expected).abs().max() <= 1e-4 * expected.std()


@pytest.mark.parametrize("sway", [0.0, -0.8, 0.5])
@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2), ("midpoint", 2), ("ab2", 2)])
def test_order_of_the_solver(solver: Solver, order: int, sway: float) -> None:
    given = flow_inputs()
    exact = given[0][..., 4:] * math.e

    def error(n_steps: int) -> float:
        mel = solve_flow(growth, *given, FlowSettings(n_steps, solver, 0.0, sway=sway))
        return float((mel[..., 4:] - exact).abs().max())

    assert error(12) / error(24) == pytest.approx(2**order, rel=0.2)


def test_a_multistep_solver_asks_once_a_step_and_beats_euler() -> None:
    given = flow_inputs()
    exact = given[0][..., 4:] * math.e
    settings = {solver: FlowSettings(10, solver, 0.0) for solver in get_args(Solver)}
    assert settings["ab2"].n_evals == settings["euler"].n_evals == 10
    mels = {solver: solve_flow(growth, *given, each) for solver, each in settings.items()}
    errors = {solver: float((mel[..., 4:] - exact).abs().max()) for solver, mel in mels.items()}
    assert errors["ab2"] < errors["euler"] / 5


@pytest.mark.parametrize("solver", get_args(Solver))
def test_guidance_on_a_part_of_the_way(solver: Solver) -> None:
    """Velocities 2 and 3: 1.3 with guidance and 2 without, whatever the solver."""
    rows: list[int] = []

    def branches(x: Tensor, prompt: Tensor, t: Tensor, style: Tensor, condition: Tensor) -> Tensor:
        rows.append(x.shape[0])
        assert {y.shape[0] for y in (prompt, t, style, condition)} == {x.shape[0]}
        return torch.stack([torch.full_like(row, 2.0 if c.any() else 3.0) for row, c in zip(x, condition, strict=True)])

    noise, *others = flow_inputs()
    settings = FlowSettings(10, solver, 0.7, cfg_until=0.5)
    mel = solve_flow(branches, noise, *others, settings)
    assert rows.count(2) == settings.n_guided and len(rows) == settings.n_evals
    assert settings.rows_per_eval == pytest.approx(sum(rows) / len(rows))
    half_step = 0.1 / 2 * 0.7 if solver == "heun" else 0.0  # its step across the end sees both sides
    expected = noise[..., 4:] + 0.5 * 1.3 + 0.5 * 2.0 + half_step
    torch.testing.assert_close(mel[..., 4:], expected)


def test_the_end_of_the_grid_is_the_end_of_the_flow_and_sway_bends_it() -> None:
    for sway in (-1.0, -0.5, 0.0, 1.0, MAX_SWAY):
        grid = FlowSettings(7, "euler", 0.0, sway=sway).grid()
        assert grid[0] == 0.0 and grid[-1] == 1.0 and grid == sorted(set(grid))
        assert (grid[1] < 1 / 7) == (sway < 0) and (grid[-2] < 6 / 7) == (sway < 0)


def test_an_estimator_may_prepare() -> None:
    noise, ref_mel, condition, style = flow_inputs()
    asked: list[tuple[int, int]] = []

    class Prepared:
        def prepare(
            self, prompt: Tensor, style: Tensor, condition: Tensor, times: Sequence[float], start: int = 0
        ) -> Callable[[Tensor, int, int], Tensor]:
            assert start == ref_mel.shape[-1]
            assert len(prompt) == len(style) == len(condition) == 2 and condition[0].any() and not condition[1].any()

            def velocity(x: Tensor, index: int, n_rows: int) -> Tensor:
                asked.append((index, n_rows))
                return x * times[index] + torch.arange(n_rows).view(-1, 1, 1)

            return velocity

    def plain(x: Tensor, prompt: Tensor, t: Tensor, style: Tensor, condition: Tensor) -> Tensor:
        return x * t.view(-1, 1, 1) + torch.arange(len(x)).view(-1, 1, 1)

    settings = FlowSettings(4, "midpoint", 0.7, cfg_until=0.5)
    given = (noise, ref_mel, condition, style, settings)
    torch.testing.assert_close(solve_flow(Prepared(), *given), solve_flow(plain, *given))
    assert asked == [(i, 2 if i < 4 else 1) for i in range(8)]


def test_prompt_region_is_zero_at_every_estimate_and_padding_is_zero() -> None:
    noise, ref_mel, condition, style = flow_inputs()

    def watching(x: Tensor, prompt: Tensor, t: Tensor, style: Tensor, condition: Tensor) -> Tensor:
        assert not x[..., :4].any() and x[..., 4:].all()
        assert torch.equal(prompt[:1, :, :4], ref_mel) and not prompt[..., 4:].any()
        return torch.ones_like(x)

    for solver in get_args(Solver):
        mel = solve_flow(watching, noise, ref_mel, condition, style, FlowSettings(3, solver, 0.5))
        assert not mel[..., :4].any()
        torch.testing.assert_close(mel[..., 4:], noise[..., 4:] + 1)


def test_guidance_is_one_batch_of_both_branches() -> None:
    noise, ref_mel, condition, style = flow_inputs()
    batches: list[int] = []

    def branches(x: Tensor, prompt: Tensor, t: Tensor, style: Tensor, condition: Tensor) -> Tensor:
        batches.append(x.shape[0])
        assert t.shape == (x.shape[0],) and t.dtype == torch.float32
        assert torch.equal(x[:1], x[-1:])
        null = [not (prompt[i].any() or style[i].any() or condition[i].any()) for i in range(len(x))]
        assert null == [False, True][: len(x)]
        return torch.stack([torch.full_like(x[0], 3.0 if is_null else 2.0) for is_null in null])

    mel = solve_flow(branches, noise, ref_mel, condition, style, FlowSettings(2, "euler", 0.7))
    torch.testing.assert_close(mel[..., 4:], noise[..., 4:] + 1.7 * 2 - 0.7 * 3)
    mel = solve_flow(branches, noise, ref_mel, condition, style, FlowSettings(2, "euler", 0.0))
    torch.testing.assert_close(mel[..., 4:], noise[..., 4:] + 2)
    assert batches == [2, 2, 1, 1]


def test_state_stays_in_fp32_when_the_estimator_is_half() -> None:
    noise, ref_mel, condition, style = flow_inputs()

    def half(x: Tensor, prompt: Tensor, t: Tensor, style: Tensor, condition: Tensor) -> Tensor:
        assert {y.dtype for y in (x, prompt, style, condition)} == {torch.bfloat16}
        return torch.full_like(x, 2.0**-10)  # would vanish in a bf16 state

    mel = solve_flow(half, noise, ref_mel, condition.bfloat16(), style, FlowSettings(8, "euler", 0.0))
    torch.testing.assert_close(mel[..., 4:], noise[..., 4:] + 2.0**-10, rtol=0, atol=1e-6)


@pytest.mark.parametrize("solver", get_args(Solver))
def test_cancelled_before_the_next_estimate(solver: Solver) -> None:
    calls = 0

    def counting(*args: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return args[0]

    with pytest.raises(Cancelled):
        solve_flow(counting, *flow_inputs(), FlowSettings(5, solver, 0.0), should_stop=lambda: calls == 3)
    assert calls == 3


@pytest.mark.parametrize("solver", get_args(Solver))
def test_estimates_are_counted_right(solver: Solver) -> None:
    calls = 0

    def counting(*args: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return args[0]

    settings = FlowSettings(5, solver, 0.7)
    solve_flow(counting, *flow_inputs(), settings)
    assert calls == settings.n_evals


@pytest.mark.parametrize(
    ("n_steps", "solver", "cfg_rate", "named"),
    [
        (0, "euler", 0.7, "0 flow steps"),
        (1001, "euler", 0.7, "1001 flow steps"),
        (2.5, "euler", 0.7, "2.5"),
        (True, "euler", 0.7, "True"),
        (25, "rk4", 0.7, "rk4"),
        (25, "euler", -0.1, "-0.1"),
        (25, "euler", math.nan, "nan"),
        (25, "heun", 11.0, "11.0"),
    ],
)
def test_bad_settings_are_refused(n_steps: int, solver: Solver, cfg_rate: float, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        FlowSettings(n_steps, solver, cfg_rate)


@pytest.mark.parametrize(
    "given", [{"cfg_until": -0.1}, {"cfg_until": 1.5}, {"sway": -1.1}, {"sway": math.nan}, {"noise_scale": 3.0}]
)
def test_bad_extras_are_refused(given: dict[str, Any]) -> None:
    ((name, value),) = given.items()
    with pytest.raises(UsageError, match=f"{name} is {value}"):
        FlowSettings(25, "euler", 0.7, **given)


def test_lengths_and_types_that_do_not_fit_are_refused() -> None:
    noise, ref_mel, condition, style = flow_inputs()
    settings = FlowSettings(2, "euler", 0.0)
    estimator: Estimator = growth
    with pytest.raises(UsageError, match="8"):
        solve_flow(estimator, noise, ref_mel, condition[:, :8], style, settings)
    with pytest.raises(UsageError, match="prompt of 10"):
        solve_flow(estimator, noise, torch.zeros(1, 3, 10), condition, style, settings)
    with pytest.raises(UsageError, match="float16"):
        solve_flow(estimator, noise.half(), ref_mel, condition, style, settings)
