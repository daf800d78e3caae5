"""Measures whether the seams between chunks of streamed speech differ from the rest, and detects clicks.

In: a waveform and the positions of its seams. Out: for each of two measures, the fraction of seams above the 95th
percentile of the interior of the same speech (5 % if they do not differ), and the positions of clicks. Needs only NumPy
and SciPy.

Both measures are maxima over short windows, at seams and elsewhere: the largest step between two samples relative to
the local level, and the largest change of the spectrum between two frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter1d, uniform_filter1d
from scipy.signal import lfilter

Samples = npt.NDArray[np.float32]

HOP_S = 0.0029  # between spectra
FRAME_S = 0.0116
WINDOW_S = 0.12  # extent of a seam: the cross-fade and the first new frames
PERCENTILE = 95.0
QUIET = 1e-3  # of full scale: below it, steps and spectra are noise

LPC_ORDER = 16
LPC_BLOCK_S = 0.03
CLICK_RATIO = 14.0  # prediction error relative to its local level; glottal pulses stay below
CLICK_GAP_S = 0.005  # gap beside a click before the level is measured
CLICK_AROUND_S = 0.02


@dataclass(frozen=True)
class SeamReport:
    """Fractions of seams above the interior's 95th percentile, and the positions of clicks at seams, in samples."""

    n_seams: int
    flux_above: float
    step_above: float
    clicks: tuple[int, ...]


def sample_steps(samples: Samples, rate: int) -> npt.NDArray[np.float64]:
    """Step to the next sample relative to the local level, (S - 1,)."""
    x = samples.astype(np.float64)
    level = np.sqrt(uniform_filter1d(x * x, max(1, int(WINDOW_S * rate)))) + QUIET
    steps: npt.NDArray[np.float64] = np.abs(np.diff(x)) / level[1:]
    return steps


def spectral_flux(samples: Samples, rate: int) -> npt.NDArray[np.float64]:
    """Change of the log spectrum around each hop of HOP_S, (T,): root mean square over frequency, in nepers."""
    size, hop = int(FRAME_S * rate), int(HOP_S * rate)
    if len(samples) < size + hop:
        return np.zeros(0)
    frames = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), size)[::hop]  # (T, size)
    spectra = np.log(np.abs(np.fft.rfft(frames * np.hanning(size))) + QUIET * size / 4)
    flux: npt.NDArray[np.float64] = np.sqrt(np.mean(np.diff(spectra, axis=0) ** 2, axis=1))
    return flux


def find_clicks(samples: Samples, rate: int) -> list[int]:
    """Sample positions of clicks: impulses and jumps where the error of linear prediction peaks."""
    x = samples.astype(np.float64)
    if len(x) < 4 * LPC_ORDER:
        return []
    error = np.abs(_prediction_error(x, int(LPC_BLOCK_S * rate)))
    around = int(CLICK_AROUND_S * rate)
    # The level before and after, without the position itself, so that a click does not raise its own reference.
    level = uniform_filter1d(error, around)
    gap = max(1, int(CLICK_GAP_S * rate))
    before = np.concatenate([np.full(gap, level[0]), level[:-gap]])
    after = np.concatenate([level[gap:], np.full(gap, level[-1])])
    score = error / (np.minimum(before, after) + QUIET / 10)
    # A click disturbs the prediction of its neighborhood: keep the strongest position only.
    spoiled = 4 * int(LPC_BLOCK_S * rate) + 1
    peaks = np.flatnonzero((score == maximum_filter1d(score, spoiled)) & (score > CLICK_RATIO))
    loud = [int(p) for p in peaks if error[p] > 5 * QUIET]
    return loud


def report(samples: Samples, rate: int, seams: list[int]) -> SeamReport:
    """Compare windows at `seams` (sample positions) with windows of mostly speech that are away from all seams."""
    window = int(WINDOW_S * rate)
    steps, flux, hop = sample_steps(samples, rate), spectral_flux(samples, rate), int(HOP_S * rate)
    speech = np.abs(samples) > QUIET
    interior = [
        at
        for at in range(0, len(samples) - window, window // 2)
        if all(abs(at - seam) > window for seam in seams) and speech[at : at + window].mean() > 0.5
    ]
    there = [s for s in seams if s + window < len(samples)]

    def above(values: npt.NDArray[np.float64], per: int) -> float:
        def peak(at: int) -> float:
            part = values[at // per : (at + window) // per]
            return float(part.max()) if len(part) else 0.0

        if not interior or not there:
            return 0.0
        limit = np.percentile([peak(at) for at in interior], PERCENTILE)
        return float(np.mean([peak(seam) > limit for seam in there]))

    near = tuple(c for c in find_clicks(samples, rate) if any(0 <= c - seam < window for seam in seams))
    return SeamReport(len(there), above(flux, hop), above(steps, 1), near)


def _prediction_error(x: npt.NDArray[np.float64], block: int) -> npt.NDArray[np.float64]:
    """Residual of blockwise linear prediction, (S,)."""
    error = np.zeros_like(x)
    for start in range(0, len(x), block):
        around = x[max(0, start - block) : start + 2 * block]
        spectrum = np.fft.rfft(around * np.hanning(len(around)), 2 * len(around))
        correlation = np.fft.irfft(np.abs(spectrum) ** 2)[: LPC_ORDER + 1]
        correlation[0] = correlation[0] * (1 + 1e-6) + 1e-9
        index = np.abs(np.subtract.outer(np.arange(LPC_ORDER), np.arange(LPC_ORDER)))
        weights = np.linalg.solve(correlation[index], correlation[1:])
        filter_taps = np.concatenate([[1.0], -weights])
        lead = max(0, start - LPC_ORDER)
        error[start : start + block] = lfilter(filter_taps, [1.0], x[lead : start + block])[start - lead :]
    error[:LPC_ORDER] = 0
    return error
