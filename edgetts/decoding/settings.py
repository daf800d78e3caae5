"""Settings of decoding and of the flow solver, with their ranges. Imports no torch, so that the command line can
check them before anything slow is loaded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, Literal, get_args

from edgetts.errors import UsageError
from edgetts.pack.plain_json import shown

MAX_BEAMS = 16
MAX_WHOLE = 2**53  # integers up to here are exact as floats; upper bound of settings without another
MAX_TEMPERATURE = 10.0
MAX_REPETITION_PENALTY = 100.0
MAX_LENGTH_PENALTY = 10.0

Compute = Literal["reference", "exact", "fast"]
"""How to compute. reference: plain PyTorch in fp32. exact: fp32 with faster kernels of equal results. fast: the number
types that are fast on the device (`backends.numbers`), on the CPU with 8-bit activations for the GPT's quantized
weights.
"""
COMPUTE = "compute"  # key in the defaults of a pack or recipe
DEFAULT_COMPUTE: Compute = "exact"
"""For checks and measurements of weights. Synthesis uses `backends.numbers.default_compute`."""

Solver = Literal["euler", "heun", "midpoint", "ab2"]
EVALS_PER_STEP: dict[str, int] = {"euler": 1, "heun": 2, "midpoint": 2, "ab2": 1}
MAX_STEPS = 1000
MAX_CFG_RATE = 10.0
MAX_NOISE_SCALE = 2.0
MIN_SWAY = -1.0
MAX_SWAY = 2 / (math.pi - 2)  # beyond it the grid is not monotonic


def check_compute(name: str) -> None:
    """Raises UsageError unless `name` is one of `Compute`."""
    if name not in get_args(Compute):
        *others, last = sorted(get_args(Compute))
        raise UsageError(f"Unknown compute mode {name!r}: use {', '.join(others)} or {last}.")


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
        settle_types(self)
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
        settle_types(self)
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


def settle_types(settings: Any) -> None:
    """Convert every field of a settings dataclass to its declared type; numpy scalars are accepted.

    Integers are accepted as float; bools and strings are not numbers. Raises UsageError, naming the field.
    """
    for field in fields(settings):
        kind, optional, _ = str(field.type).partition(" | None")
        value = _plain(getattr(settings, field.name))
        if value is None and optional:
            continue
        if kind == "float" and isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_WHOLE:
            value = float(value)
        if type(value) is not _KINDS.get(kind, str):
            raise UsageError(f"{field.name} is {shown(value)}; it must be of type {kind}{optional}.")
        object.__setattr__(settings, field.name, value)  # the dataclass is frozen


_KINDS: dict[str, type] = {"bool": bool, "int": int, "float": float}


def _plain(value: Any) -> Any:
    """numpy scalars and subclasses of int, float and str as plain values, without importing numpy."""
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        value = value.item()
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def _check(fine: bool, name: str, value: float, allowed: str) -> None:
    if not fine:  # NaN fails every comparison, too
        raise UsageError(f"{name} is {shown(value)}; allowed is {allowed}.")
