"""Settings of decoding and of the flow solver, with their ranges. Imports no torch, so that the command line can
check them before anything slow is loaded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

from edgetts.errors import UsageError
from edgetts.pack.plain_fields import MAX_WHOLE, coerce_types
from edgetts.pack.plain_json import shown

MAX_BEAMS = 16
MAX_TEMPERATURE = 10.0
MAX_REPETITION_PENALTY = 100.0
MAX_LENGTH_PENALTY = 10.0

Solver = Literal["euler", "heun", "midpoint", "ab2"]
EVALS_PER_STEP: dict[str, int] = {"euler": 1, "heun": 2, "midpoint": 2, "ab2": 1}
MAX_STEPS = 1000
MAX_CFG_RATE = 10.0
MAX_NOISE_SCALE = 2.0
MIN_SWAY = -1.0
MAX_SWAY = 2 / (math.pi - 2)  # beyond it the grid is not monotonic


@dataclass(frozen=True)
class DecodeSettings:
    """How codes are generated. The defaults are upstream's. Raises UsageError for a value out of range.

    do_sample: sample from the distribution; False takes the most likely code, and temperature, top_k and top_p
      have no effect.
    temperature: above 0 up to 10; below 1 sharpens the distribution.
    top_k: number of codes kept; 0 keeps all.
    top_p: above 0 up to 1; the smallest set of codes with this probability is kept, 1 keeps all.
    repetition_penalty: above 0 up to 100; 1: no penalty.
    length_penalty: -10 to 10, exponent of the length that a beam's score is divided by; one beam ignores it.
    n_beams: 1 to 16.
    max_codes: at least 1; the model's positions set the upper bound (`max_codes_limit`).
    """

    do_sample: bool = True
    temperature: float = 0.8
    top_k: int = 30
    top_p: float = 0.8
    repetition_penalty: float = 10.0
    length_penalty: float = 0.0
    n_beams: int = 3
    max_codes: int = 1500

    def __post_init__(self) -> None:
        coerce_types(self)
        _check(0 < self.temperature <= MAX_TEMPERATURE, "temperature", self.temperature, "above 0 up to 10")
        _check(0 <= self.top_k <= MAX_WHOLE, "top_k", self.top_k, "0 (keep all) or more")
        _check(0 < self.top_p <= 1, "top_p", self.top_p, "above 0 up to 1")
        penalty = self.repetition_penalty
        _check(0 < penalty <= MAX_REPETITION_PENALTY, "repetition_penalty", penalty, "above 0 up to 100")
        _check(
            -MAX_LENGTH_PENALTY <= self.length_penalty <= MAX_LENGTH_PENALTY,
            "length_penalty",
            self.length_penalty,
            "-10 to 10",
        )
        _check(1 <= self.n_beams <= MAX_BEAMS, "n_beams", self.n_beams, f"1 to {MAX_BEAMS}")
        _check(1 <= self.max_codes <= MAX_WHOLE, "max_codes", self.max_codes, "1 or more")


@dataclass(frozen=True)
class FlowSettings:
    """How to solve. Raises UsageError for a value out of range.

    n_steps: 1 to MAX_STEPS, on a grid over flow time 0..1.
    solver: euler: one evaluation a step, first order. heun, midpoint: two, second order. ab2: one, second order, with
    the
      velocity of the previous step (Adams-Bashforth; for a straight flow equal to the second-order multistep solvers of
      diffusion models).
    cfg_rate: r in (1 + r) * conditional - r * null, 0 to MAX_CFG_RATE; 0: no null branch.
    cfg_until: flow time from 0 to 1 at which guidance ends; after it the null branch is not computed.
    sway: bends the grid, MIN_SWAY to MAX_SWAY. 0: uniform; below: small steps first; above: small steps last.
    noise_scale: scale of the initial noise, 0 to MAX_NOISE_SCALE (upstream's `temperature` of the flow). 1 is
    upstream's
      default; a pack may have another. Lower values give cleaner, less lively speech.

    Source of `sway`: Chen et al. 2024, "F5-TTS" (sway sampling); of `cfg_until`: Kynkäänniemi et al. 2024,
    "Applying guidance in a limited interval".
    """

    n_steps: int
    solver: Solver
    cfg_rate: float
    cfg_until: float = 1.0
    sway: float = 0.0
    noise_scale: float = 1.0

    def __post_init__(self) -> None:
        coerce_types(self)
        if not 1 <= self.n_steps <= MAX_STEPS:
            raise UsageError(f"{shown(self.n_steps)} flow steps are not possible; choose 1 to {MAX_STEPS}.")
        if self.solver not in get_args(Solver):
            allowed = ", ".join(get_args(Solver))
            raise UsageError(f"Unknown flow solver {shown(self.solver)}: use one of {allowed}.")
        if not (math.isfinite(self.cfg_rate) and 0.0 <= self.cfg_rate <= MAX_CFG_RATE):
            raise UsageError(
                f"A guidance rate of {self.cfg_rate} is not possible; choose 0 (no guidance) to {MAX_CFG_RATE:g}."
            )
        _check(0.0 <= self.cfg_until <= 1.0, "cfg_until", self.cfg_until, "0 to 1")
        _check(MIN_SWAY <= self.sway <= MAX_SWAY, "sway", self.sway, f"{MIN_SWAY:g} to {MAX_SWAY:.2f}")
        _check(0.0 <= self.noise_scale <= MAX_NOISE_SCALE, "noise_scale", self.noise_scale, f"0 to {MAX_NOISE_SCALE:g}")

    @property
    def n_evals(self) -> int:
        """Number of function evaluations (NFE) of one solution."""
        return self.n_steps * EVALS_PER_STEP[self.solver]

    @property
    def n_guided(self) -> int:
        """Number of evaluations with both branches of guidance."""
        return sum(self.is_guided(t) for t in self.times())

    @property
    def rows_per_eval(self) -> float:
        """Average batch rows per evaluation: 2 with guidance, 1 without."""
        return 1 + self.n_guided / self.n_evals

    def is_guided(self, t: float) -> bool:
        """Whether there is guidance at flow time `t`."""
        return self.cfg_rate > 0.0 and t < self.cfg_until

    def grid(self) -> list[float]:
        """Flow times of the steps: n_steps + 1 of them, rising from 0 to 1."""
        uniform = [i / self.n_steps for i in range(self.n_steps + 1)]
        if self.sway == 0.0:
            return uniform
        bent = [u + self.sway * (math.cos(math.pi / 2 * u) - 1 + u) for u in uniform]
        return [0.0, *bent[1:-1], 1.0]

    def times(self) -> list[float]:
        """Flow times of all evaluations, in order."""
        found: list[float] = []
        for t, t_next in pairwise(self.grid()):
            second = {"heun": t_next, "midpoint": (t + t_next) / 2}.get(self.solver)
            found += [t] if second is None else [t, second]
        return found


def _check(fine: bool, name: str, value: float, allowed: str) -> None:
    if not fine:  # NaN fails every comparison, too
        raise UsageError(f"{name} is {shown(value)}; allowed is {allowed}.")
