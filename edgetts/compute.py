"""The ways to compute, by name. What they mean is in `backends.numbers` and `backends.prepare`.

Imports no torch, so that the command line can check names before anything slow is loaded.
"""

from __future__ import annotations

from typing import Literal, get_args

from edgetts.errors import UsageError

Compute = Literal["reference", "exact", "fast"]
"""How to compute. reference: plain PyTorch in fp32. exact: fp32 with faster kernels, equal up to rounding. fast: the
number types that are fast on the device (`backends.numbers`), on the CPU with 8-bit activations for the GPT's
quantized weights.
"""
COMPUTE = "compute"  # key in the defaults of a pack or recipe
DEFAULT_COMPUTE: Compute = "exact"
"""For checks and measurements of weights. Synthesis uses `backends.numbers.default_compute`."""


def check_compute(name: str) -> None:
    """Raises UsageError unless `name` is one of `Compute`."""
    if name not in get_args(Compute):
        *others, last = sorted(get_args(Compute))
        raise UsageError(f"Unknown compute mode {name!r}: use {', '.join(others)} or {last}.")
