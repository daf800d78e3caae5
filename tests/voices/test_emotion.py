"""Emotion arithmetic against hand-made numbers; parity with upstream is in test_parity."""

from __future__ import annotations

import pytest
import torch

from edgetts.errors import UsageError
from edgetts.voices.emotion import EMOTIONS, Emotion, matrix_rows, merge_vectors, mix_weights, parse_weights


def test_parse_weights() -> None:
    assert parse_weights("happy=0.4, sad=0.2") == {"happy": 0.4, "sad": 0.2}


@pytest.mark.parametrize("text", ["", "happy", "happy=", "happy=x", "happy=1,happy=1", ",", "happy=nan"])
def test_parse_refuses(text: str) -> None:
    with pytest.raises(UsageError, match="emotion|Emotion"):
        parse_weights(text)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"weights": {"joyful": 1.0}},
        {"weights": {"happy": -0.1}},
        {"weights": {"happy": float("inf")}},
        {"weights": {"happy": 0.5}, "alpha": 1.5},
        {"weights": {"happy": 0.5}, "recording": "a.wav"},
        {"recording": "a.wav", "cap": True},
        {"recording": "a.wav", "alpha": float("nan")},
    ],
)
def test_emotion_refuses(arguments: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Emotion(**arguments)  # type: ignore[arg-type]


def test_weights_are_scaled_and_cut_to_four_decimals_only_below_full_alpha() -> None:
    assert Emotion({"happy": 0.33333}).effective_weights()[0] == 0.33333
    weights = Emotion({"happy": 0.33333, "calm": 0.5}, alpha=0.7).effective_weights()
    assert weights[EMOTIONS.index("happy")] == 0.2333
    assert weights[EMOTIONS.index("calm")] == 0.35


def test_cap_biases_and_bounds_the_sum() -> None:
    weights = Emotion({"happy": 1.0, "surprised": 1.0}, cap=True).effective_weights()
    assert sum(weights) == pytest.approx(0.8)
    assert weights[0] / weights[6] == pytest.approx(0.9375 / 0.6875)
    assert Emotion({"sad": 0.5}, cap=True).effective_weights()[2] == 0.5


def test_rows_come_from_the_most_similar_speaker_of_each_group() -> None:
    speakers = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.1], [0.5, 5.0]])
    emotions = torch.arange(12.0).view(4, 3)
    indices, rows = matrix_rows(torch.tensor([[0.0, 2.0]]), speakers, emotions, (2, 2))
    assert indices.tolist() == [1, 1]
    assert torch.equal(rows, emotions[[1, 3]])


def test_mixing() -> None:
    base, rows = torch.tensor([[1.0, 2.0]]), torch.tensor([[10.0, 0.0], [0.0, 10.0]])
    assert torch.allclose(mix_weights(base, rows, (0.5, 0.25)), torch.tensor([[5.25, 3.0]]))
    assert torch.allclose(merge_vectors(base, torch.tensor([[3.0, 0.0]]), 0.5), torch.tensor([[2.0, 1.0]]))
