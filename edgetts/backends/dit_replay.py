"""One evaluation of the DiT as a replayable unit, for each total length of prompt and speech.

In: the evaluation as a function of tensors, and its specialization (`EstimateKey`). Out: an `EstimateUnit`, whose
inputs are copied to its own addresses before it runs. Several ODE solutions can share one unit. Lengths are multiples
of `LENGTH_BUCKET`; `Pipeline.mel` drops the prompt's oldest frames for that.

Shapes: R rows, T frames of prompt and speech, C channels, M mels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from edgetts.backends.frame_ops import Rope
from edgetts.models.dit import AdaLNModulation

LENGTH_BUCKET = 64
"""Frames. The prompt loses at most one less than this: 0.73 s with the published model."""

Behind = Callable[[Tensor, Tensor, AdaLNModulation, Rope, int, int], Tensor]
"""x (1, M, T) fp32, static (R, T, C), conditions of one flow time, rope, begin, first -> velocity (R, M, T - first)
fp32; the last layer is computed from `begin` on."""


class EstimateKey(NamedTuple):
    """Everything that determines which operations run."""

    length: int  # T
    begin: int  # first frame that the last layer computes, a multiple of LENGTH_BUCKET
    n_rows: int


def estimate_key(length: int, reached: int, n_rows: int) -> EstimateKey | None:
    """The key of a solution whose last layer is needed from frame `reached` on; None if its length is no bucket's."""
    if length % LENGTH_BUCKET:
        return None
    return EstimateKey(length, reached // LENGTH_BUCKET * LENGTH_BUCKET, n_rows)


class EstimateUnit:
    """One evaluation of the DiT on tensors at fixed addresses."""

    def __init__(self, behind: Behind, key: EstimateKey, static: Tensor, times: AdaLNModulation, rope: Rope) -> None:
        """static, times: with the shapes and dtypes of the inputs."""
        self._behind = behind
        self._key = key
        self._rope = rope
        self._owner: object = None
        self.static = torch.zeros(key.n_rows, *static.shape[1:], dtype=static.dtype, device=static.device)
        self.times = AdaLNModulation(*(torch.zeros_like(part) for part in times))
        self.x: Tensor | None = None
        self.velocity: Tensor | None = None

    def fill(self, x: Tensor, static: Tensor, times: AdaLNModulation, owner: object) -> None:
        """Copy the inputs. owner: the solution, whose `static` stays until another one's is copied."""
        if self.x is None or self.velocity is None:
            self.x = torch.zeros_like(x)
            n_frames = self._key.length - self._key.begin
            self.velocity = torch.zeros(self._key.n_rows, x.shape[1], n_frames, dtype=x.dtype, device=x.device)
        self.x.copy_(x)
        if owner is not self._owner:
            self.static.copy_(static)
            self._owner = owner
        for mine, given in zip(self.times, times, strict=True):
            mine.copy_(given)

    def __call__(self) -> None:
        assert self.x is not None and self.velocity is not None
        begin = self._key.begin
        self.velocity.copy_(self._behind(self.x, self.static, self.times, self._rope, begin, begin))

    def tensors(self) -> dict[str, Tensor]:
        """By name."""
        assert self.x is not None and self.velocity is not None
        return {"x": self.x, "static": self.static, "velocity": self.velocity, **self.times._asdict()}

    def from_frame(self, start: int) -> Tensor:
        """The velocity (R, M, T - start) as a view, valid until the next run."""
        assert self.velocity is not None
        return self.velocity[:, :, start - self._key.begin :]
