"""Pitch tracking, one value per mel frame: the training target of the vocoder's pitch network.

In: a waveform, or a cached corpus. Out: periods per mel frame, 0 where unvoiced. Slow and accurate, for training only;
at synthesis the network estimates the pitch from the mel.

    python -m recipes.tiny.corpus.pitch --recordings DIR --out CACHE    # only the arrays of the vocoder's stages

The autocorrelation of windowed frames, divided by that of the window, peaks at the period. Dynamic programming finds
the best path through the peaks of all frames, with costs for jumps and changes of voicing.

Source: Boersma 1993, "Accurate short-term analysis of the fundamental frequency and the harmonics-to-noise ratio of a
sampled sound".
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile as sf
from rich.progress import track

from edgetts.audio.io import resample
from recipes.tiny import dims
from recipes.tiny.corpus.data import Corpus
from recipes.tiny.corpus.prepare import LONGEST_S, read_metadata

LOWEST_HZ, HIGHEST_HZ = 65.0, 500.0
WINDOW = 1024  # samples: three periods of the lowest pitch
STATES_PER_OCTAVE = 48
UNVOICED_STRENGTH = 0.45  # normalized autocorrelation below which a frame is unvoiced
SILENT_LEVEL = 0.03  # relative to the loudest frame
SILENCE_STRENGTH = 2.0  # above any autocorrelation: silent frames are unvoiced
OCTAVE_COST = 0.02  # per octave of lower pitch: prefers the shortest period among equal peaks
JUMP_COST = 0.5  # per octave between frames
VOICING_COST = 0.14  # for each onset and offset
MAX_JUMP = 12  # states between two frames

PCM_SCALE = 32768
Frames = npt.NDArray[np.float64]


def pitch_of(waveform: npt.NDArray[np.float32], hop: int = dims.HOP, rate: int = dims.SAMPLE_RATE) -> Frames:
    """Waveform (S,) -> periods per frame (S // hop,), 0 where unvoiced. Frame t is centered on its hop."""
    correlation, lag, _ = _voiced(waveform, hop, rate)
    pitch = np.zeros(len(correlation))
    pitch[lag > 0] = hop / lag[lag > 0]
    return pitch


def strength_of(waveform: npt.NDArray[np.float32], hop: int = dims.HOP, rate: int = dims.SAMPLE_RATE) -> Frames:
    """Waveform (S,) -> normalized autocorrelation peak of each voiced frame, 0 where unvoiced."""
    return _voiced(waveform, hop, rate)[2]


def add_pitch(corpus: Corpus, workers: int = 1) -> None:
    """Add the array `pitch` to the corpus if it lacks it."""
    if corpus.has("pitch"):
        return
    with ProcessPoolExecutor(workers) as pool:
        jobs = pool.map(partial(_pitch_in, corpus.folder), range(len(corpus)), chunksize=8)
        corpus.put("pitch", list(track(jobs, total=len(corpus), description="pitch")))


def _pitch_in(folder: Path, i: int) -> npt.NDArray[np.float32]:
    waveform = Corpus(folder).get("wav", i).numpy().astype(np.float32) / np.float32(PCM_SCALE)
    return pitch_of(waveform).astype(np.float32)


def _samples_of(path: str) -> npt.NDArray[np.int16]:
    samples, rate = sf.read(path, dtype="float32")
    samples = resample(samples, rate, dims.SAMPLE_RATE)[: int(LONGEST_S * dims.SAMPLE_RATE)]
    pcm: npt.NDArray[np.int16] = np.rint(samples.clip(-1, 1) * (PCM_SCALE - 1)).astype(np.int16)
    return pcm


def cache(recordings: Path, target: Path, workers: int) -> Corpus:
    """A cached corpus with only `wav` and `pitch`, from recordings, or from `metadata.tsv` and `wav/`."""
    if (recordings / "metadata.tsv").exists():
        items = read_metadata(recordings)
    else:
        items = [{"name": p.stem, "path": str(p), "voice": ""} for p in sorted(recordings.iterdir()) if p.is_file()]
    target.mkdir(parents=True, exist_ok=True)
    (target / "items.json").write_text(json.dumps(items))
    corpus = Corpus(target)
    with ProcessPoolExecutor(workers) as pool:
        jobs = pool.map(_samples_of, [it["path"] for it in items], chunksize=8)
        corpus.put("wav", list(track(jobs, total=len(items), description="recordings")))
    add_pitch(corpus, workers)
    return corpus


def _voiced(waveform: npt.NDArray[np.float32], hop: int, rate: int) -> tuple[Frames, Frames, Frames]:
    """Autocorrelation (T, lags), the period in samples (T,) and its peak (T,); 0 where unvoiced."""
    n_frames = len(waveform) // hop
    if n_frames == 0:
        return np.zeros((0, 1)), np.zeros(0), np.zeros(0)
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
    score = strength - OCTAVE_COST * np.log2(lags / lags[-1])
    unvoiced = UNVOICED_STRENGTH + np.where(level < SILENT_LEVEL * level.max(), SILENCE_STRENGTH, 0.0)
    path = _best_path(score, unvoiced)
    voiced = np.flatnonzero(path >= 0)
    lag, peak = np.zeros(n_frames), np.zeros(n_frames)
    lag[voiced], peak[voiced] = _refined(correlation[voiced], np.rint(lags[path[voiced]]).astype(int))
    return correlation, lag, peak


def _best_path(score: Frames, unvoiced: Frames) -> npt.NDArray[np.int64]:
    """The state (T,) of each frame on the best path, -1 where unvoiced."""
    n_frames, n_states = score.shape
    jumps = np.arange(-MAX_JUMP, MAX_JUMP + 1)
    cost = JUMP_COST * np.abs(jumps) / STATES_PER_OCTAVE
    best, silent = score[0].copy(), float(unvoiced[0])
    came_from = np.zeros((n_frames, n_states + 1), np.int64)
    for t in range(1, n_frames):
        around = np.lib.stride_tricks.sliding_window_view(np.pad(best, MAX_JUMP, constant_values=-np.inf), len(jumps))
        scores = around - cost
        choice = scores.argmax(1)
        stayed = scores[np.arange(n_states), choice]
        begins = silent - VOICING_COST > stayed
        came_from[t, :n_states] = np.where(begins, -1, np.arange(n_states) + jumps[choice])
        loudest = int(best.argmax())
        ends = best[loudest] - VOICING_COST
        came_from[t, n_states] = loudest if ends > silent else -1
        best = np.where(begins, silent - VOICING_COST, stayed) + score[t]
        silent = max(float(ends), silent) + float(unvoiced[t])
    path = np.empty(n_frames, np.int64)
    path[-1] = int(best.argmax()) if best.max() > silent else -1
    for t in range(n_frames - 1, 0, -1):
        path[t - 1] = came_from[t, path[t]]  # -1 is the last column
    return path


def _refined(correlation: Frames, lag: npt.NDArray[np.int64]) -> tuple[Frames, Frames]:
    """Parabolic interpolation: position and height of the peak near each lag (N,)."""
    rows = np.arange(len(lag))
    near = lag[:, None] + np.arange(-2, 3)
    near = near.clip(1, correlation.shape[1] - 2)
    lag = near[rows, correlation[rows[:, None], near].argmax(1)]
    before, at, after = (correlation[rows, lag + k] for k in (-1, 0, 1))
    bend = before - 2 * at + after
    shift = np.where(bend < 0, 0.5 * (before - after) / np.where(bend < 0, bend, 1), 0.0).clip(-1, 1)
    return lag + shift, at - 0.25 * (before - after) * shift


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    cache(args.recordings, args.out, args.workers)


if __name__ == "__main__":
    main()
