"""The beam search against an independent one that keeps whole sequences, over random score tables."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetts.decoding.beam import BeamSearch, Candidate

N_CODES = 5
STOP = 4
Scores = Callable[[tuple[int, ...]], list[float]]


def table(seed: int, stop_bias: float) -> Scores:
    """Log-probabilities of the next code, a fixed function of the codes before it."""

    def scores(history: tuple[int, ...]) -> list[float]:
        rng = random.Random(f"{seed} {history}")
        raw = [rng.gauss(0, 2) + (stop_bias if code == STOP else 0) for code in range(N_CODES)]
        total = math.log(sum(math.exp(r) for r in raw))
        return [r - total for r in raw]

    return scores


def reference(scores: Scores, n_beams: int, penalty: float, max_codes: int) -> tuple[list[int], bool]:
    """The same search over explicit sequences: (codes, ended by the stop code)."""
    open_beams: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    pool: list[tuple[float, tuple[int, ...], bool]] = []

    def offer(score: float, codes: tuple[int, ...], length: int, stopped: bool) -> None:
        pool.append((score / length**penalty, codes, stopped))
        if len(pool) > n_beams:
            pool.remove(min(pool, key=lambda h: h[0]))

    for length in range(1, max_codes + 1):
        options = [(total + s, codes, code) for total, codes in open_beams for code, s in enumerate(scores(codes))]
        options = sorted(options, key=lambda o: -o[0])[: 2 * n_beams]
        following = []
        for rank, (total, codes, code) in enumerate(options):
            if len(following) == n_beams:
                break
            if code != STOP:
                following.append((total, (*codes, code)))
            elif rank < n_beams:
                offer(total, codes, length, True)
        open_beams = following
        if len(pool) == n_beams and min(h[0] for h in pool) >= options[0][0] / length**penalty:
            break
    else:
        for total, codes in open_beams:
            offer(total, codes, max_codes, False)
    _, codes, stopped = max(pool, key=lambda h: h[0])
    return list(codes), stopped


def run(scores: Scores, n_beams: int, penalty: float, max_codes: int) -> tuple[list[int], bool]:
    search = BeamSearch(n_beams, penalty, STOP, max_codes)
    histories: list[tuple[int, ...]] = [()] * n_beams
    settled: list[int] = []
    while not search.done:
        options = [
            Candidate(total + s, code, beam)
            for beam, total in enumerate(search.scores)
            for code, s in enumerate(scores(histories[beam]))
        ]
        options.sort(key=lambda c: -c.score)
        settled += search.step(options[: search.n_candidates])
        added = search.added
        # What a cache may leave uncopied really is shared.
        for beam, c in enumerate(added):
            n = search.n_shared_codes
            assert histories[beam][:n] == histories[c.beam][:n]
        histories = [(*histories[c.beam], c.code) for c in added]
        assert search.done or all(list(h[: len(settled)]) == settled for h in histories)
    winner = search.best()
    assert search.best() == winner  # looking does not change it
    assert winner.codes == settled and winner.stopped == search.stopped
    return winner.codes, winner.stopped


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n_beams=st.integers(2, 3),
    penalty=st.sampled_from([0.0, 1.0, -0.5, 2.0]),
    stop_bias=st.sampled_from([-6.0, -1.0, 0.0, 1.5]),
    max_codes=st.integers(1, 9),
)
def test_equals_the_independent_search(
    seed: int, n_beams: int, penalty: float, stop_bias: float, max_codes: int
) -> None:
    scores = table(seed, stop_bias)
    # With the first step taken from one beam only there must be enough codes to fill all of them.
    assert n_beams < N_CODES
    assert run(scores, n_beams, penalty, max_codes) == reference(scores, n_beams, penalty, max_codes)


def test_the_random_tables_reach_both_endings() -> None:
    endings = {run(table(seed, bias), 3, 0.0, 6)[1] for seed in range(20) for bias in (-6.0, 1.5)}
    assert endings == {True, False}


def test_a_stop_beyond_the_best_n_is_dropped() -> None:
    search = BeamSearch(2, 0.0, STOP, 99)
    search.step([Candidate(-0.1, 0, 0), Candidate(-0.2, 1, 0), Candidate(-0.3, STOP, 0), Candidate(-9.0, 2, 0)])
    assert search.best().codes == [0]
    search = BeamSearch(2, 0.0, STOP, 99)
    search.step([Candidate(-0.1, STOP, 0), Candidate(-0.2, 1, 0), Candidate(-0.3, 2, 0), Candidate(-9.0, 3, 0)])
    assert search.best().codes == []
    assert search.best().stopped


def test_a_dropped_stop_does_not_count_towards_the_end() -> None:
    search = BeamSearch(2, 0.0, STOP, 99)
    search.step([Candidate(-0.1, 0, 0), Candidate(-0.2, 1, 0), Candidate(-0.3, 2, 0), Candidate(-0.4, 3, 0)])
    search.step([Candidate(-0.2, STOP, 0), Candidate(-0.3, 0, 0), Candidate(-0.4, STOP, 1), Candidate(-9.0, 2, 0)])
    search.step([Candidate(-0.5, 0, 0), Candidate(-0.6, 1, 0), Candidate(-0.7, 2, 0), Candidate(-0.8, 3, 0)])
    assert not search.done  # one ending was kept; with the other, both would be out of reach


def test_of_equals_the_later_wins() -> None:
    search = BeamSearch(2, 0.0, STOP, 99)
    search.step([Candidate(-1.0, 0, 0), Candidate(-1.0, 1, 0), Candidate(-2.0, 2, 0), Candidate(-2.0, 3, 0)])
    search.step([Candidate(-2.0, STOP, 0), Candidate(-2.0, STOP, 1), Candidate(-3.0, 0, 0), Candidate(-3.0, 0, 1)])
    assert search.done
    assert search.best().codes == [1]


@pytest.mark.parametrize(("penalty", "winner"), [(0.0, []), (2.0, [0, 0])])
def test_length_penalty_prefers_longer(penalty: float, winner: list[int]) -> None:
    search = BeamSearch(2, penalty, STOP, 99)
    search.step([Candidate(-1.0, STOP, 0), Candidate(-1.1, 0, 0), Candidate(-5.0, 1, 0), Candidate(-9.0, 2, 0)])
    search.step([Candidate(-1.2, 0, 0), Candidate(-6.0, 1, 1), Candidate(-7.0, 2, 0), Candidate(-9.0, 3, 0)])
    assert search.best().codes == winner


def test_codes_are_settled_when_all_beams_agree() -> None:
    search = BeamSearch(2, 0.0, STOP, 99)
    assert (
        search.step([Candidate(-1.0, 1, 0), Candidate(-2.0, 2, 0), Candidate(-9.0, 1, 1), Candidate(-9.0, 2, 1)]) == []
    )
    assert search.step(
        [Candidate(-1.5, 1, 0), Candidate(-1.6, 2, 0), Candidate(-9.0, 1, 1), Candidate(-9.0, 2, 1)]
    ) == [1]
    # A finished sequence may still win: what comes after it is not certain.
    assert (
        search.step([Candidate(-1.7, STOP, 0), Candidate(-1.8, 1, 1), Candidate(-1.9, 2, 1), Candidate(-9.0, 2, 0)])
        == []
    )
    assert (
        search.step([Candidate(-2.0, 2, 0), Candidate(-2.1, 1, 0), Candidate(-9.0, 1, 1), Candidate(-9.0, 2, 1)]) == []
    )
