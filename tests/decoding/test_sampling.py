"""Score processors against plain definitions, draws against probabilities, settings against nonsense."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from helpers.mini_gpt import mini_config
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetts.decoding.sampling import filter_logits, keep_top_k, keep_top_p, penalize_repetition, sample, start_seen
from edgetts.decoding.settings import DecodeSettings
from edgetts.errors import UsageError

# Scores that differ by far more than rounding, so that the plain definitions have one answer.
SCORES = st.lists(st.integers(-400, 400), min_size=4, max_size=12, unique=True).map(
    lambda values: [v / 32 for v in values]
)


def softmax(scores: list[float]) -> list[float]:
    top = max(scores)
    weights = [math.exp(s - top) for s in scores]
    return [w / sum(weights) for w in weights]


def kept(scores: torch.Tensor) -> set[int]:
    assert scores.shape[0] == 1
    return {i for i, s in enumerate(scores[0].tolist()) if s > -math.inf}


@settings(deadline=None)
@given(SCORES, st.integers(1, 20), st.integers(1, 2))
def test_top_k_keeps_the_k_best(scores: list[float], k: int, min_kept: int) -> None:
    best = sorted(range(len(scores)), key=lambda i: -scores[i])[: max(k, min_kept)]
    filtered = keep_top_k(torch.tensor([scores]), k, min_kept)
    assert kept(filtered) == set(best)
    assert [filtered[0, i].item() for i in best] == [scores[i] for i in best]


@settings(deadline=None)
@given(SCORES, st.floats(0.05, 0.99), st.integers(1, 2))
def test_top_p_keeps_the_smallest_sufficient_set(scores: list[float], p: float, min_kept: int) -> None:
    probabilities = softmax(scores)
    best_first = sorted(range(len(scores)), key=lambda i: -scores[i])
    before, expected, on_the_edge = 0.0, set(), False
    for rank, i in enumerate(best_first):
        if before < p or rank < min_kept:
            expected.add(i)
        on_the_edge |= abs(before - p) < 1e-5
        before += probabilities[i]
    if not on_the_edge:
        assert kept(keep_top_p(torch.tensor([scores]), p, min_kept)) == expected


@settings(deadline=None)
@given(SCORES, st.data(), st.floats(0.2, 20))
def test_penalty_moves_seen_codes_only(scores: list[float], data: st.DataObject, penalty: float) -> None:
    seen = data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores)))
    expected = [(s * penalty if s < 0 else s / penalty) if used else s for s, used in zip(scores, seen, strict=True)]
    ours = penalize_repetition(torch.tensor([scores]), torch.tensor([seen]), penalty)[0].tolist()
    assert ours == pytest.approx(expected, rel=1e-6)


def test_ties_with_the_last_kept_score_stay() -> None:
    assert kept(keep_top_k(torch.tensor([[3.0, 1.0, 1.0, 0.0]]), 2, 1)) == {0, 1, 2}


def test_each_row_is_filtered_by_itself() -> None:
    rows = torch.tensor([[3.0, 2.0, 1.0, 0.0], [0.0, 1.0, 2.0, 3.0]])
    together = filter_logits(rows, DecodeSettings(top_k=3, top_p=0.7, n_beams=1))
    alone = torch.cat([filter_logits(row[None], DecodeSettings(top_k=3, top_p=0.7, n_beams=1)) for row in rows])
    assert torch.equal(together, alone)


def test_order_is_temperature_then_top_k_then_top_p() -> None:
    scores = torch.tensor([[2.0, 1.5, 1.0, 0.5]])
    # Over the two that top-k leaves, the first holds 0.62 of the probability (over all four 0.45), and
    # at a temperature of 0.25 it holds 0.88.
    assert kept(filter_logits(scores, DecodeSettings(temperature=1.0, top_k=2, top_p=0.6, n_beams=1))) == {0}
    assert kept(filter_logits(scores, DecodeSettings(temperature=1.0, top_k=0, top_p=0.6, n_beams=1))) == {0, 1}
    assert kept(filter_logits(scores, DecodeSettings(temperature=0.25, top_k=0, top_p=0.8, n_beams=1))) == {0}
    assert kept(filter_logits(scores, DecodeSettings(temperature=0.25, top_k=0, top_p=0.8, n_beams=2))) == {0, 1}


def test_what_the_penalty_sees_before_the_first_code() -> None:
    seen = start_seen(mini_config(), 2, torch.device("cpu"))
    assert [row.nonzero().flatten().tolist() for row in seen] == [[1, 8192], [1, 8192]]


def test_draws_follow_the_probabilities() -> None:
    scores = torch.tensor([[0.0, 1.0, 2.0, -math.inf, 0.5]])
    generator = torch.Generator().manual_seed(3)
    n = 4000
    draws = torch.tensor([int(sample(scores, 1, generator)) for _ in range(n)])
    share = torch.bincount(draws, minlength=5) / n
    torch.testing.assert_close(share, scores[0].softmax(dim=0), atol=0.03, rtol=0)
    assert share[3] == 0


def test_draws_are_without_replacement_in_the_right_order_of_probability() -> None:
    scores = torch.tensor([[0.0, 1.0, 2.0]]).log_softmax(dim=-1)
    p = scores.exp()[0].tolist()
    generator = torch.Generator().manual_seed(4)
    n = 4000
    pairs = [tuple(sample(scores, 2, generator)[0].tolist()) for _ in range(n)]
    for a in range(3):
        for b in range(3):
            expected = 0.0 if a == b else p[a] * p[b] / (1 - p[a])
            assert pairs.count((a, b)) / n == pytest.approx(expected, abs=0.03)


def test_same_seed_same_draws() -> None:
    scores = torch.zeros(2, 1000)
    first, again, other = (sample(scores, 5, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 0.0),
        ("temperature", 10.5),
        ("temperature", math.nan),
        ("top_k", -1),
        ("top_k", 2.5),
        ("top_k", True),
        ("top_p", 0.0),
        ("top_p", 1.01),
        ("repetition_penalty", 0),
        ("repetition_penalty", math.inf),
        ("length_penalty", 11.0),
        ("length_penalty", "long"),
        ("n_beams", 0),
        ("n_beams", 17),
        ("n_beams", 1.0),
        ("max_codes", 0),
        ("do_sample", 1),
        ("do_sample", None),
    ],
)
def test_settings_out_of_range_are_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=rf"^{name} is .*(allowed is|must be of type)"):
        DecodeSettings(**{name: value})


def test_whole_numbers_are_numbers() -> None:
    assert DecodeSettings(temperature=1, top_p=1, repetition_penalty=1, length_penalty=-10).top_p == 1
