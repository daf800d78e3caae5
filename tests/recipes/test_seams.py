"""The click detector finds planted clicks and no others; seam measures tell a bad seam from a good one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from recipes.tiny.evaluation.seams import find_clicks, report

RATE = 22050


def voiced(seconds: float, seed: int) -> np.ndarray:
    """Pulses through formants, with a moving pitch, a level that comes and goes, and some breath."""
    random = np.random.default_rng(seed)
    n = int(seconds * RATE)
    pitch = 120 + 30 * np.sin(2 * np.pi * 0.7 * np.arange(n) / RATE)
    phase = np.cumsum(pitch / RATE)
    source = np.diff(np.floor(phase), prepend=0) + 0.03 * random.standard_normal(n)
    source = lfilter([1], [1, -0.9], source)
    for frequency, width in ((600, 90), (1300, 120), (2600, 200)):
        radius = np.exp(-np.pi * width / RATE)
        source = lfilter([1], [1, -2 * radius * np.cos(2 * np.pi * frequency / RATE), radius**2], source)
    level = 0.55 + 0.45 * np.sin(2 * np.pi * 2.1 * np.arange(n) / RATE + seed)
    return (0.4 * source / np.abs(source).max() * level).astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
def test_planted_clicks_are_found(seed: int) -> None:
    clean = voiced(3.0, seed)
    assert find_clicks(clean, RATE) == []
    places = [12_000, 27_500, 44_100]
    impulses, jump = clean.copy(), clean.copy()
    for place in places:
        impulses[place] += 0.12
        # A jump as a hard cut makes it: the speech goes on from another moment.
        jump[place:] = np.roll(clean, 97 * (places.index(place) + 1))[place:] + 0.05
    found = find_clicks(impulses, RATE)
    assert [min(abs(f - p) for f in found) < 30 for p in places] == [True] * 3 and len(found) == 3
    found = find_clicks(jump, RATE)
    assert sum(any(abs(f - p) < 30 for f in found) for p in places) >= 2


def test_a_hard_cut_stands_out_and_no_cut_does_not() -> None:
    clean = voiced(12.0, 5)
    seams = list(range(20_000, 250_000, 9_000))
    good = report(clean, RATE, seams)
    assert good.n_seams == len(seams) and not good.clicks
    assert good.flux_above <= 0.2 and good.step_above <= 0.2
    cut = clean.copy()
    for seam in seams:
        cut[seam : seam + 40] += 0.2
    bad = report(cut, RATE, seams)
    assert bad.step_above > 0.8 and bad.clicks
