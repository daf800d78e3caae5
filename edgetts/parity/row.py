"""One comparison of two tensors that should be the same, and the tolerances."""

from __future__ import annotations

from dataclasses import dataclass

import torch

# Largest error allowed, in standard deviations of the expected tensor (fp32), by the number type that is computed in
# or that weights are stored in. A half-precision pack is judged as a whole, with errors that its rounding alone
# explains. bfloat16 has an eighth of float16's precision; only `fast` and kernels given by name use it.
# int16 and int8 are activations of the compiled GPT kernels, in 15 and 8 bits with a scale per group.
TOLERANCES = {"float32": 1e-3, "int16": 5e-3, "float16": 5e-2, "bfloat16": 2e-1, "int8": 5e-1}


@dataclass(frozen=True)
class Row:
    """One compared tensor. `error` is in standard deviations; for codes and texts the number that differ."""

    stage: str
    tensor: str
    error: float
    tolerance: float
    detail: str = ""

    @property
    def passed(self) -> bool:
        return self.error <= self.tolerance  # False for NaN too


def compare(stage: str, name: str, ours: torch.Tensor, golden: torch.Tensor, limit: float) -> Row:
    """The largest error in standard deviations of `golden`; for whole numbers the number that differ; none may."""
    ours = ours.detach().cpu()
    if ours.shape != golden.shape:
        return Row(stage, name, float("inf"), limit, f"shape {tuple(ours.shape)}, golden {tuple(golden.shape)}")
    if not golden.is_floating_point():
        return Row(stage, name, float((ours != golden).sum()), 0.0, f"{golden.numel()} values, must be equal")
    error = (ours.double() - golden.double()).abs().max() / golden.double().std()
    return Row(stage, name, float(error), limit, f"shape {tuple(golden.shape)}")
