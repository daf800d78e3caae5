"""Pitch of recorded speech, one value per mel frame: what the vocoder's pitch network learns from.

In: a waveform. Out: periods per mel frame, 0 where nothing is voiced. Slow and careful, for training only; while
speaking the network reads the pitch from the mel.

The autocorrelation of windowed frames, divided by that of the window, peaks at the period; the best path through the
peaks of all frames is found by dynamic programming, with a price on jumps and on changes of voicing.

Source: Boersma 1993, "Accurate short-term analysis of the fundamental frequency and the harmonics-to-noise ratio of a
sampled sound".
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recipes.tiny import dims

LOWEST_HZ, HIGHEST_HZ = 65.0, 500.0
WINDOW = 1024  # samples: three periods of the lowest pitch
STATES_PER_OCTAVE = 48
UNVOICED_STRENGTH = 0.45  # of a frame's autocorrelation: below, nothing is voiced
SILENT_LEVEL = 0.03  # of the loudest frame
OCTAVE_PRICE = 0.02  # per octave that a pitch is lower: of equal peaks, the shortest period
JUMP_PRICE = 0.5  # per octave between frames
VOICING_PRICE = 0.14  # for each beginning and end
WIDEST_JUMP = 12  # states between two frames

Frames = npt.NDArray[np.float64]


def pitch_of(waveform: npt.NDArray[np.float32], hop: int = dims.HOP, rate: int = dims.SAMPLE_RATE) -> Frames:
    """Waveform (S,) -> periods per frame (S // hop,), 0 where unvoiced. Frame t is centered on its hop."""
    n_frames = len(waveform) // hop
    if n_frames == 0:
        return np.zeros(0)
    margin = WINDOW // 2 - hop // 2
    padded = np.pad(waveform.astype(np.float64), (margin, margin + hop))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[: n_frames * hop : hop]
    window = np.hanning(WINDOW)
    frames = (frames - frames.mean(1, keepdims=True)) * window
    n_states = int(STATES_PER_OCTAVE * np.log2(HIGHEST_HZ / LOWEST_HZ))
    lags = rate / (LOWEST_HZ * 2 ** (np.arange(n_states) / STATES_PER_OCTAVE))
    correlation = np.fft.irfft(np.abs(np.fft.rfft(frames, 2 * WINDOW)) ** 2)[:, : int(lags[0]) + 2]
    of_window = np.fft.irfft(np.abs(np.fft.rfft(window, 2 * WINDOW)) ** 2)[: correlation.shape[1]]
    power = correlation[:, :1]
    correlation = correlation / (power + 1e-9) * (of_window[0] / of_window)
    level = np.sqrt(power[:, 0])
    lower = lags.astype(int)
    share = lags - lower
    strength = correlation[:, lower] * (1 - share) + correlation[:, lower + 1] * share  # (T, states)
    score = strength - OCTAVE_PRICE * np.log2(lags / lags[-1])
    silent = level < SILENT_LEVEL * level.max()
    unvoiced = UNVOICED_STRENGTH + np.where(silent, 2.0, 0.0)
    path = _best_path(score, unvoiced)
    pitch = np.zeros(n_frames)
    voiced = np.flatnonzero(path >= 0)
    lag = _refined(correlation[voiced], np.rint(lags[path[voiced]]).astype(int))
    pitch[voiced] = hop / lag
    return pitch


def _best_path(score: Frames, unvoiced: Frames) -> npt.NDArray[np.int64]:
    """The state (T,) of each frame on the best path, -1 where unvoiced."""
    n_frames, n_states = score.shape
    jumps = np.arange(-WIDEST_JUMP, WIDEST_JUMP + 1)
    price = JUMP_PRICE * np.abs(jumps) / STATES_PER_OCTAVE
    best, silent = score[0].copy(), float(unvoiced[0])
    came_from = np.zeros((n_frames, n_states + 1), np.int64)
    for t in range(1, n_frames):
        around = np.lib.stride_tricks.sliding_window_view(
            np.pad(best, WIDEST_JUMP, constant_values=-np.inf), len(jumps)
        )
        offers = around - price
        choice = offers.argmax(1)
        stayed = offers[np.arange(n_states), choice]
        begins = silent - VOICING_PRICE > stayed
        came_from[t, :n_states] = np.where(begins, -1, np.arange(n_states) + jumps[choice])
        loudest = int(best.argmax())
        ends = best[loudest] - VOICING_PRICE
        came_from[t, n_states] = loudest if ends > silent else -1
        best = np.where(begins, silent - VOICING_PRICE, stayed) + score[t]
        silent = max(float(ends), silent) + float(unvoiced[t])
    path = np.empty(n_frames, np.int64)
    path[-1] = int(best.argmax()) if best.max() > silent else -1
    for t in range(n_frames - 1, 0, -1):
        path[t - 1] = came_from[t, path[t]]  # -1 is the last column
    return path


def _refined(correlation: Frames, lag: npt.NDArray[np.int64]) -> Frames:
    """The top of the parabola through the highest point near each lag (N,)."""
    rows = np.arange(len(lag))
    near = lag[:, None] + np.arange(-2, 3)
    near = near.clip(1, correlation.shape[1] - 2)
    lag = near[rows, correlation[rows[:, None], near].argmax(1)]
    before, at, after = (correlation[rows, lag + k] for k in (-1, 0, 1))
    bend = before - 2 * at + after
    shift = np.where(bend < 0, 0.5 * (before - after) / np.where(bend < 0, bend, 1), 0.0)
    return lag + shift.clip(-1, 1)
