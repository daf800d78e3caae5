"""The figures of the report mean what they are called, and the page holds them."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
import torch

from edgetts.quant.report import compare_scores, compare_sounds
from edgetts.quant.report_page import page
from edgetts.quant.tensor_file import MAX_SNR

PIXELS_OF_A_LETTER, PIXELS_OF_A_LINE = 6.5, 12
QUALITY = {
    "compared_with": "reference-fp32",
    "sizes": {"gpt": {"before": 2_031_623_456, "after": 290_700_000}, "emotion": {"before": 0, "after": 0}},
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
        check_picture(ElementTree.fromstring("<svg" + picture))
    assert "mlp.c_fc: " not in text and "gpt.h.2.mlp.c_fc.weight: 22.0 dB" in text
    assert "<td>mel_head.weight</td><td class=n>44.0 dB" in text and "word error rate" not in text
    assert "Nothing is quantized" in page("m", "r", "d", {**QUALITY, "snr_db": {}})
    judged = page("m", "r", "d", {**QUALITY, "judged": {"word_error_rate": 0.125}})
    assert "<td>word error rate</td><td class=n>0.125</td>" in judged


@pytest.mark.parametrize("tensors", [{"a.weight": 30.0}, {f"h.{i}.k{i % 9}": 199.0 - i for i in range(60)}])
def test_a_plot_of_one_tensor_or_of_many_kinds(tensors: dict[str, float]) -> None:
    text = page("m", "r", "d", {**QUALITY, "snr_db": {"gpt": tensors}})
    picture = "<svg" + text.split("<svg")[2].split("</svg>")[0] + "</svg>"
    check_picture(ElementTree.fromstring(picture))
    legend = ["a"] if len(tensors) == 1 else ["k0", "k1", "k2", "k3", "k4", "k5", "others"]
    assert [w for w in re.findall(r">([^<>]+)</text>", picture) if not re.search(r" dB|^\d+$|^–$", w)] == legend
    assert picture.count("<title>") == len(tensors)


def test_what_did_not_change_does_not_flatten_the_plot() -> None:
    text = page("m", "r", "d", {**QUALITY, "snr_db": {"gpt": {"h.0.a": 20.0, "h.1.a": 21.0, "b": MAX_SNR}}})
    assert "<p>1 tensors are unchanged.</p>" in text and text.count("<title>") == 1 + 2 and "200 dB" not in text
    assert page("m", "r", "d", {**QUALITY, "snr_db": {"gpt": {"b": MAX_SNR}}}).count("<svg") == 1


def check_picture(picture: ElementTree.Element) -> None:
    """Everything lies inside, and no two words lie on each other."""
    _, _, width, height = map(float, picture.attrib["viewBox"].split())
    words = []
    for mark in picture:
        at = {
            k: float(v) for k, v in mark.attrib.items() if k in ("x", "y", "cx", "cy", "x1", "x2", "y1", "y2", "width")
        }
        x = at.get("x", at.get("cx", at.get("x2", 0.0)))
        y = at.get("y", at.get("cy", at.get("y2", 0.0)))
        assert 0 <= x <= width and 0 <= y <= height and x + at.get("width", 0) <= width
        if mark.tag == "text":
            long = PIXELS_OF_A_LETTER * len(mark.text or "")
            start = x - {"start": 0.0, "middle": long / 2, "end": long}[mark.attrib.get("text-anchor", "start")]
            assert start >= 0 and start + long <= width, mark.text
            words.append((start, start + long, y, mark.text))
    for i, (start, end, y, text) in enumerate(words):
        for other_start, other_end, other_y, other in words[:i]:
            apart = abs(y - other_y) >= PIXELS_OF_A_LINE or end <= other_start or other_end <= start
            assert apart, (text, other)
