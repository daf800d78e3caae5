"""Attempts at one segment: seeds, which attempt to keep, and the error if words are missing in all of them.

In: a function that makes codes of a seed, and the guards' verdict on them. Out: the attempt to synthesize, or a
GenerationError. Knows no networks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from edgetts.decoding.guards import Problem
from edgetts.errors import GenerationError

logger = logging.getLogger(__name__)

_MAX_SHOWN_CHARS = 60


@dataclass(frozen=True)
class SegmentSpeech:
    """One synthesized segment."""

    waveform: torch.Tensor  # (S,) float32 in [-1, 1], on the CPU
    codes: tuple[int, ...]
    seed: int  # of the kept attempt
    attempts: int
    notices: tuple[str, ...]  # of the networks, and a guard's objection to the kept attempt


@dataclass(frozen=True)
class Attempt:
    """Codes of one seed, and the problem that a guard found in them."""

    codes: list[int]
    seed: int
    problem: Problem | None

    @property
    def is_loss(self) -> bool:
        return self.problem is not None and self.problem.is_loss


@dataclass(frozen=True)
class Attempts:
    """What was made until no guard objected or no further attempt was allowed."""

    kept: Attempt  # the latest one, unless words are missing in it and not in an earlier one
    latest: Attempt
    number: int


def make_attempts(make: Callable[[int, int], Attempt | None], seed: int, most: int) -> Attempts:
    """Attempts under seeds derived from `seed`, until no guard objects; `most` is at least 1.

    make: the codes of a seed and the number of the attempt, from 1 on; None if there can be no further one (from 2 on).
    """
    attempts: Attempts | None = None
    for number in range(1, most + 1):
        new = make(derive_seed(seed, number - 1), number)
        if new is None:
            break
        if new.problem is not None:
            logger.info("seed %d, %d codes: %s", new.seed, len(new.codes), new.problem)
        kept = new if attempts is None or attempts.kept.is_loss or not new.is_loss else attempts.kept
        attempts = Attempts(kept, new, number)
        if new.problem is None:
            break
    assert attempts is not None
    return attempts


def derive_seed(seed: int, *path: int) -> int:
    """A seed of its own for a part (segment, attempt) of a call, the same on every machine."""
    return int(np.random.SeedSequence(seed, spawn_key=path).generate_state(1, np.uint64)[0] >> 1)


def words_missing(problem: Problem | None, n_attempts: int, text: str = "") -> GenerationError:
    """The error if no attempt has all words of a text."""
    tries = "one try" if n_attempts == 1 else f"{n_attempts} tries"
    what = f" {shown(text)}" if text else " the text"
    why = f" ({problem})" if problem is not None else ""
    return GenerationError(
        f"The model did not say all of{what} in {tries}{why}: try another with seed=, or more tries with retries=."
    )


def shown(text: str) -> str:
    """A text for a message: quoted and shortened."""
    return repr(text if len(text) <= _MAX_SHOWN_CHARS else text[:_MAX_SHOWN_CHARS] + "…")
