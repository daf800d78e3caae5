"""The figures of the report mean what they are called, and the page holds them."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest
import torch

from quant.report import compare_scores, compare_sounds
from quant.report_page import page

QUALITY = {
    "compared_with": "reference-fp32",
    "sizes": {"gpt": {"before": 4_000_000, "after": 700_000}, "emotion": {"before": 0, "after": 0}},
    "run_mb": 0.7,
    "pack_mb": 0.7,
    "snr_db": {"gpt": {f"gpt.h.{i}.mlp.c_fc.weight": 20.0 + i for i in range(3)} | {"mel_head.weight": 44.0}},
    "gpt": {"kl_mean": 0.01, "kl_median": 0.008, "kl_p99": 0.1, "top1": 0.987, "n_codes": 120},
    "sound": {"mel_distance": 0.01, "waveform_mel_distance": 0.02, "spectral_convergence": 0.03, "n_samples": 2},
}


def test_divergence_of_known_distributions() -> None:
    even = torch.tensor([[0.5, 0.5]]).log()
    biased = torch.tensor([[0.75, 0.25]]).log()
    found = compare_scores([even, even], [even, biased])
    expected = 0.5 * (torch.tensor(0.5 / 0.75).log() + torch.tensor(0.5 / 0.25).log())
    assert found["kl_mean"] == pytest.approx(float(expected) / 2, rel=1e-4)
    assert found["top1"] == 1.0 and found["n_codes"] == 2
    assert compare_scores([biased], [biased.flip(-1)])["top1"] == 0.0


def test_distances_of_known_spectra() -> None:
    mel = torch.zeros(1, 80, 10)
    same = compare_sounds([(mel, mel)], [(mel, mel)])
    assert set(same.values()) == {0.0, 1}
    louder = compare_sounds([(mel, mel)], [(mel + 0.5, mel + torch.tensor(2.0).log())])
    assert louder["mel_distance"] == 0.5 and louder["spectral_convergence"] == pytest.approx(1.0, rel=1e-4)


def test_the_page_is_whole_and_alone() -> None:
    text = page("<Model>", "mine", "A & B", QUALITY)
    assert "&lt;Model&gt;" in text and "A &amp; B" in text and "98.7 %" in text
    assert "<script" not in text and "src=" not in text and "href=" not in text
    pictures = [part.split("</svg>")[0] + "</svg>" for part in text.split("<svg")[1:]]
    assert len(pictures) == 2  # sizes and one component
    for picture in pictures:
        ElementTree.fromstring("<svg" + picture)
    assert "mlp.c_fc: " not in text and "gpt.h.2.mlp.c_fc.weight: 22.0 dB" in text
    assert "Nothing is quantised" in page("m", "r", "d", {**QUALITY, "snr_db": {}})
