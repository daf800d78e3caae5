"""Emotion: how a second recording or eight named weights change the emotion vector of a voice.

In: the voice's own emotion vector (1, C), its style (1, D) and the pack's two matrices. Out: the vector
(1, C) that the GPT adds to every conditioning latent. The rules are upstream's (`infer_v2.py`, and for
`cap` its web page). Knows no networks or files.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgetts.errors import UsageError
from edgetts.pack.plain_json import shown

if TYPE_CHECKING:
    from pathlib import Path

    import torch

EMOTIONS = ("happy", "angry", "sad", "afraid", "disgusted", "melancholic", "surprised", "calm")

# Upstream's web page reduces emotions that give strange results, and bounds their sum.
_CAP_BIAS = (0.9375, 0.875, 1.0, 1.0, 0.9375, 0.9375, 0.6875, 0.5625)
_CAP_SUM = 0.8
_WEIGHT_DECIMALS = 10_000  # weights scaled by alpha are truncated to four decimals
_MAX_WEIGHT = 2.0


@dataclass(frozen=True)
class Emotion:
    """What to mix into a voice: either `weights` or a `recording`, scaled by `alpha`.

    weights: emotion name (see EMOTIONS) to weight, each from 0 to 2.
    recording: a sound file with the emotion.
    alpha: 0 (none) to 1 (full). With a recording, values up to 2 exaggerate.
    cap: apply the bias and the bound of 0.8 on the sum that upstream's web page applies to weights.
    """

    weights: Mapping[str, float] = field(default_factory=dict)
    recording: str | Path | None = None
    alpha: float = 1.0
    cap: bool = False

    def __post_init__(self) -> None:
        if self.weights and self.recording is not None:
            raise UsageError("An emotion is either weights or a recording, not both: leave one out.")
        if not self.weights and self.recording is None:
            raise UsageError("An emotion needs weights such as happy=0.4 or a recording.")
        if not isinstance(self.weights, Mapping):
            raise UsageError(f"Emotion weights are a {type(self.weights).__name__}: give such as {{'happy': 0.4}}.")
        for name, weight in self.weights.items():
            if name not in EMOTIONS:
                raise UsageError(f"Unknown emotion {name!r}: known are {', '.join(EMOTIONS)}.")
            if isinstance(weight, bool) or not isinstance(weight, numbers.Real):
                raise UsageError(f"Emotion weight {name} is {weight!r}; allowed is a number from 0 to {_MAX_WEIGHT:g}.")
            if not 0.0 <= weight <= _MAX_WEIGHT:  # NaN fails, too
                raise UsageError(f"Emotion weight {name}={shown(weight)}; allowed is from 0 to {_MAX_WEIGHT:g}.")
        if isinstance(self.alpha, bool) or not isinstance(self.alpha, numbers.Real):
            raise UsageError(f"Emotion alpha is {self.alpha!r}; allowed is a number.")
        limit = 1.0 if self.weights else _MAX_WEIGHT
        if not 0.0 <= self.alpha <= limit:
            raise UsageError(f"Emotion alpha is {shown(self.alpha)}; allowed is from 0 to {limit:g}.")
        if self.cap and not self.weights:
            raise UsageError("The emotion cap applies to weights only: give weights such as happy=0.4 or drop it.")

    def effective_weights(self) -> tuple[float, ...]:
        """The eight weights in the order of EMOTIONS after cap and alpha."""
        weights = [float(self.weights.get(name, 0.0)) for name in EMOTIONS]
        if self.cap:
            weights = [w * bias for w, bias in zip(weights, _CAP_BIAS, strict=True)]
            total = sum(weights)
            if total > _CAP_SUM:
                weights = [w * (_CAP_SUM / total) for w in weights]
        if self.alpha != 1.0:
            weights = [int(w * self.alpha * _WEIGHT_DECIMALS) / _WEIGHT_DECIMALS for w in weights]
        return tuple(weights)


def as_emotion(given: Emotion | Mapping[str, float] | str | None) -> Emotion | None:
    """An `Emotion` from an Emotion, weights by name, a string like "happy=0.4,sad=0.2", or None.

    Raises UsageError for anything else.
    """
    if given is None or isinstance(given, Emotion):
        return given
    if isinstance(given, str):
        return Emotion(weights=parse_weights(given))
    if not isinstance(given, Mapping):
        raise UsageError(
            f"The emotion is of type {type(given).__name__}: give weights such as {{'happy': 0.4}}, or an Emotion."
        )
    return Emotion(weights=given)


def parse_weights(text: str) -> dict[str, float]:
    """Parse `"happy=0.4,sad=0.2"`. Raises UsageError for anything else."""
    weights: dict[str, float] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, equals, value = (p.strip() for p in part.partition("="))
        try:
            number = float(value) if equals else math.nan
        except ValueError:
            number = math.nan
        if math.isnan(number):
            raise UsageError(f"Emotion {part!r} is not name=weight; write for example happy=0.4,sad=0.2.")
        if name in weights:
            raise UsageError(f"Emotion {name} is given twice in {text!r}: give each once.")
        weights[name] = number
    if not weights:
        raise UsageError(f"Emotion {text!r} names no weights; write for example happy=0.4,sad=0.2.")
    return weights


def merge_vectors(base: torch.Tensor, emotion: torch.Tensor, alpha: float) -> torch.Tensor:
    """Interpolate from a voice's emotion vector (1, C) to that of an emotion recording (1, C)."""
    return base + alpha * (emotion - base)


def matrix_rows(
    style: torch.Tensor, speaker_matrix: torch.Tensor, emotion_matrix: torch.Tensor, group_sizes: tuple[int, ...]
) -> tuple[torch.Tensor, torch.Tensor]:
    """For each emotion, the row whose speaker is most similar to `style` (1, D).

    speaker_matrix (N, D) and emotion_matrix (N, C) hold sum(group_sizes) rows, grouped by emotion.
    Returns row indices within their groups (8,) and the rows (8, C).
    """
    import torch
    from torch.nn import functional as F

    similarity = F.cosine_similarity(style.float(), speaker_matrix.float(), dim=1)  # (N,)
    indices = torch.stack([group.argmax() for group in torch.split(similarity, list(group_sizes))])
    rows = [group[i] for group, i in zip(torch.split(emotion_matrix, list(group_sizes)), indices, strict=True)]
    return indices, torch.stack(rows)


def mix_weights(base: torch.Tensor, rows: torch.Tensor, weights: tuple[float, ...]) -> torch.Tensor:
    """`sum(w_i * row_i) + (1 - sum(w)) * base`, with rows (8, C) and base (1, C)."""
    import torch

    w = torch.tensor(weights, dtype=rows.dtype, device=rows.device)
    return (w.unsqueeze(1) * rows).sum(0, keepdim=True) + (1 - w.sum()) * base
