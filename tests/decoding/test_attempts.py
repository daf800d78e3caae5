"""Attempts at one segment: seeds, when they end, which one is kept."""

from __future__ import annotations

import pytest

from edgetts.decoding.attempts import Attempt, Attempts, derive_seed
from edgetts.decoding.guards import Lacking, Problem

FINE = None
LOSS, FLAW = Problem("too short", is_loss=True), Problem("a long silence", is_loss=False)
ONE, TWO = (Problem("words may be missing", is_loss=False, lacking=Lacking(n, n)) for n in (1, 2))
UNCLEAR, MORE_UNCLEAR = (Problem("unclear", is_loss=False, lacking=Lacking(0, n)) for n in (1, 3))


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
        ([TWO, ONE, TWO], 3, 2, 3),
        ([ONE, TWO, FINE], 3, 3, 3),
        ([ONE, ONE], 2, 2, 2),
        ([LOSS, TWO], 2, 2, 2),
        ([TWO, LOSS], 2, 1, 2),
        ([UNCLEAR, MORE_UNCLEAR], 2, 1, 2),
        ([MORE_UNCLEAR, ONE], 2, 1, 2),
        ([ONE, MORE_UNCLEAR, UNCLEAR, ONE], 4, 3, 4),
        ([UNCLEAR, FINE], 3, 2, 2),
    ],
)
def test_the_latest_with_the_fewest_missing_words_is_kept(problems: list, most: int, kept: int, latest: int) -> None:
    asked: list[int] = []
    attempts = Attempts(5, most)
    for seed, problem in zip(attempts.seeds(), problems, strict=False):
        asked.append(seed)
        if problem == "no further one":
            break
        attempts.add(Attempt([attempts.number + 1], seed, problem))
    assert attempts.kept.codes == [kept] and attempts.latest.codes == [latest] and attempts.number == latest
    assert attempts.kept.seed == derive_seed(5, kept - 1)
    assert asked == [derive_seed(5, i) for i in range(len(asked))]


def test_seeds_of_parts_differ() -> None:
    assert len({derive_seed(1), derive_seed(1, 0), derive_seed(1, 1), derive_seed(2, 0), derive_seed(1, 0, 0)}) == 5
