"""Flow matching: integrates the estimator's velocity from noise to mel.

In: noise, the reference mel as prompt, condition and style. Out: the mel. The ODE state stays in fp32, whatever dtype
the estimator computes in. The prompt region of the state is always zero: the estimator sees the reference mel only
through `prompt`. With guidance the conditional and the null branch run as one batch.

Knows no network, vocoder or length of speech, and draws no random numbers: the caller passes the noise.

Source: Lipman et al. 2023, "Flow matching for generative modeling"; Ho & Salimans 2022, "Classifier-free
diffusion guidance"; upstream `indextts/s2mel/modules/flow_matching.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from edgetts.decoding.settings import EVALS_PER_STEP, FlowSettings
from edgetts.errors import Cancelled, UsageError

Estimator = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
"""`(x (B,M,T), prompt (B,M,T), t (B,) fp32, style (B,C), condition (B,T,C)) -> velocity (B,M,T)`, all but the
time in the dtype of the condition."""


@runtime_checkable
class Preparable(Protocol):
    """An estimator that computes once what is constant over a solution."""

    def prepare(
        self, prompt: Tensor, style: Tensor, condition: Tensor, times: Sequence[float], start: int = 0
    ) -> Callable[[Tensor, int, int], Tensor]:
        """Returns a function `(x (B,M,T) fp32, index of the flow time, rows R) -> velocity (R,M,T) fp32`.

        With classifier-free guidance the arguments have 2 B rows: conditional, then null. R = 2 B computes both from
        the same x; R = B only the conditional ones. The velocity of frames before `start` is not used.
        """
        ...


def solve_flow(
    estimator: Estimator | Preparable,
    noise: Tensor,
    ref_mel: Tensor,
    condition: Tensor,
    style: Tensor,
    settings: FlowSettings,
    should_stop: Callable[[], bool] | None = None,
) -> Tensor:
    """Integrate from noise (flow time 0) to mel (flow time 1).

    noise (B, M, T) fp32, unit variance (T counts prompt and target); ref_mel (B, M, Tp) with Tp <= T;
    condition (B, T, C) of prompt and target; style (B, C). Returns the mel (B, M, T) in fp32; its first Tp
    frames, where the prompt is, are zero.

    `should_stop` is called before every evaluation; Cancelled is raised when it returns True. Raises UsageError if the
    lengths contradict each other.
    """
    prompt_length, length = ref_mel.shape[-1], noise.shape[-1]
    if condition.shape[1] != length or prompt_length > length:
        raise UsageError(
            f"Noise of {length} frames, a condition of {condition.shape[1]} and a prompt of {prompt_length} "
            "do not match; noise and condition must have the same length, prompt included."
        )
    if noise.dtype != torch.float32:
        raise UsageError(f"The flow is solved in float32, not {noise.dtype}; pass noise of that type.")
    estimate = _guided(estimator, ref_mel, condition, style, length, settings)

    def velocity(x: Tensor, index: int) -> Tensor:
        if should_stop is not None and should_stop():
            raise Cancelled("The synthesis was cancelled while the mel was being computed.")
        v = estimate(x, index)
        v[..., :prompt_length] = 0.0  # keeps the prompt region of the state at zero
        return v

    x = noise * settings.noise_scale
    x[..., :prompt_length] = 0.0
    return _integrate(velocity, x, settings)


def _integrate(velocity: Callable[[Tensor, int], Tensor], x: Tensor, settings: FlowSettings) -> Tensor:
    """From flow time 0 to 1. `velocity` gets the state and the index of the flow time in `settings.times()`."""
    per_step = EVALS_PER_STEP[settings.solver]
    before: tuple[float, Tensor, bool] | None = None  # of the previous step: size, velocity, guidance
    for i, (t, t_next) in enumerate(pairwise(settings.grid())):
        dt = t_next - t
        slope = velocity(x, i * per_step)
        if settings.solver == "heun":
            slope = (slope + velocity(x.add(slope, alpha=dt), i * per_step + 1)) / 2
        elif settings.solver == "midpoint":
            slope = velocity(x.add(slope, alpha=dt / 2), i * per_step + 1)
        elif settings.solver == "ab2":
            found = slope
            # The velocity jumps where guidance ends, so the previous velocity is of no use there.
            if before is not None and before[2] == settings.is_guided(t):
                slope = torch.lerp(before[1], found, 1 + dt / (2 * before[0]))
            before = (dt, found, settings.is_guided(t))
        x = x.add(slope, alpha=dt)
    return x


def _guided(
    estimator: Estimator | Preparable,
    ref_mel: Tensor,
    condition: Tensor,
    style: Tensor,
    length: int,
    settings: FlowSettings,
) -> Callable[[Tensor, int], Tensor]:
    """The guided estimator as a function of the state and the index of the flow time.

    It returns a new fp32 tensor (B, M, T).
    """
    dtype, rate, times = condition.dtype, settings.cfg_rate, settings.times()
    guided = [settings.is_guided(t) for t in times]
    batch = condition.shape[0]
    prompt = torch.nn.functional.pad(ref_mel.to(dtype), (0, length - ref_mel.shape[-1]))  # (B, M, T)
    style = style.to(dtype)
    if any(guided):  # rows: conditional branch, then null branch
        prompt, style, condition = (torch.cat([y, torch.zeros_like(y)]) for y in (prompt, style, condition))
    prepared = None
    if isinstance(estimator, Preparable):
        prepared = estimator.prepare(prompt, style, condition, times, start=ref_mel.shape[-1])

    def estimate(x: Tensor, index: int) -> Tensor:
        n_rows = 2 * batch if guided[index] else batch
        if prepared is not None:
            v = prepared(x, index, n_rows)
        else:
            assert not isinstance(estimator, Preparable)
            rows = (torch.cat([x, x]) if guided[index] else x).to(dtype)
            t = torch.full((n_rows,), times[index], dtype=torch.float32, device=x.device)
            v = estimator(rows, prompt[:n_rows], t, style[:n_rows], condition[:n_rows])
        if not guided[index]:
            return v.to(torch.float32, copy=True)
        conditional, null = v.float().chunk(2)
        return (1.0 + rate) * conditional - rate * null

    return estimate
