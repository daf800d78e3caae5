"""Attempts at one segment: their seeds, which one to keep, and the error if words are missing in all of them.

In: the codes of each seed, and the guards' verdict on them. Out: the next seed, the attempt to synthesize, or a
GenerationError. Knows no networks.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from edgetts.decoding.guards import NOTHING_LACKS, Lacking, Problem
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

    @property
    def loss(self) -> tuple[bool, Lacking]:
        """Sort key, smaller is better: whether words are certainly missing, and how many seem missing or unclear."""
        return self.is_loss, NOTHING_LACKS if self.problem is None else self.problem.lacking


class Attempts:
    """The attempts at one segment: `for attempt_seed in attempts.seeds(): attempts.add(...)`, at least one.

    kept: the latest one of those in which the fewest words are missing, and of these the fewest unclear. number: how
    many were made.
    """

    kept: Attempt
    latest: Attempt

    def __init__(self, seed: int, most: int) -> None:
        self._seed = seed
        self._most = most
        self.number = 0

    def seeds(self) -> Iterator[int]:
        """Seeds derived from the segment's seed, one per attempt, until no guard objects; at most `most`."""
        while self.number == 0 or (self.number < self._most and self.latest.problem is not None):
            yield derive_seed(self._seed, self.number)

    def add(self, new: Attempt) -> None:
        """Record the attempt made with the latest seed."""
        if new.problem is not None:
            logger.info("seed %d, %d codes: %s", new.seed, len(new.codes), new.problem)
        if self.number == 0 or new.loss <= self.kept.loss:
            self.kept = new
        self.latest = new
        self.number += 1


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
