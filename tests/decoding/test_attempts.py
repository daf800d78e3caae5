"""Attempts at one segment: seeds, when they end, which one is kept."""

from __future__ import annotations

import pytest

from edgetts.decoding.attempts import Attempt, derive_seed, make_attempts
from edgetts.decoding.guards import Problem

FINE = None
LOSS, FLAW = Problem("too short", is_loss=True), Problem("a long silence", is_loss=False)


@pytest.mark.parametrize(
    ("problems", "most", "kept", "latest"),
    [
        ([FINE, LOSS], 3, 1, 1),
        ([FLAW, FINE], 3, 2, 2),
        ([FLAW, FLAW], 2, 2, 2),
        ([FLAW, LOSS], 2, 1, 2),
        ([LOSS, FLAW], 2, 2, 2),
        ([LOSS, LOSS], 2, 2, 2),
        ([FLAW, LOSS, LOSS], 3, 1, 3),
        ([FLAW, FINE], 1, 1, 1),
        ([FLAW, "no further one", FINE], 3, 1, 1),
    ],
)
def test_the_latest_is_kept_unless_words_are_missing(problems: list, most: int, kept: int, latest: int) -> None:
    asked: list[tuple[int, int]] = []

    def make(seed: int, number: int) -> Attempt | None:
        asked.append((seed, number))
        problem = problems[number - 1]
        return None if problem == "no further one" else Attempt([number], seed, problem)

    attempts = make_attempts(make, 5, most)
    assert attempts.kept.codes == [kept] and attempts.latest.codes == [latest] and attempts.number == latest
    assert attempts.kept.seed == derive_seed(5, kept - 1)
    assert asked == [(derive_seed(5, i), i + 1) for i in range(len(asked))]


def test_seeds_of_parts_differ() -> None:
    assert len({derive_seed(1), derive_seed(1, 0), derive_seed(1, 1), derive_seed(2, 0), derive_seed(1, 0, 0)}) == 5
