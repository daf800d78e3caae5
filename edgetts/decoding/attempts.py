"""Attempts at one segment: which one to keep, and the error if words are missing in all of them.

In: codes of each attempt and the guards' verdict. Out: the attempt to synthesize, or a GenerationError. Knows no
networks and makes no attempts itself.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from edgetts.decoding.guards import Problem
from edgetts.errors import GenerationError

logger = logging.getLogger(__name__)

_MAX_SHOWN_CHARS = 60


@dataclass(frozen=True)
class Attempt:
    """Codes of one seed, and the problem that a guard found in them."""

    codes: list[int]
    seed: int
    problem: Problem | None

    @property
    def is_loss(self) -> bool:
        return self.problem is not None and self.problem.is_loss


def better(kept: Attempt | None, new: Attempt) -> Attempt:
    """The attempt to keep: the newer one, unless words are missing in it and not in the other."""
    if new.problem is not None:
        logger.info("seed %d, %d codes: %s", new.seed, len(new.codes), new.problem)
    return new if kept is None or kept.is_loss or not new.is_loss else kept


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
