"""A small corpus for the tests of the vocoder's training, and sounds of known pitch."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch

from recipes.tiny import dims
from recipes.tiny.corpus import pitch, synthetic
from recipes.tiny.corpus.data import Corpus
from recipes.tiny.stages.train_vocoder_istft import CPU_PLAN

CPU = torch.device("cpu")
SMALL = dataclasses.replace(CPU_PLAN, batch=2, n_frames=24)
N_RECORDINGS = 41  # the first that is held out, and one more
RATE = dims.SAMPLE_RATE


def make_corpus(folder: Path) -> Corpus:
    """Recordings of buzzes with their pitch."""
    folder = synthetic.make(folder, n=N_RECORDINGS)
    return pitch.cache(folder, folder / "cache", workers=1)


def time_of(seconds: float) -> np.ndarray:
    return np.arange(int(seconds * RATE)) / RATE


def harmonics(phase: np.ndarray, n: int = 20) -> np.ndarray:
    made: np.ndarray = 0.1 * sum(np.cos(2 * np.pi * k * phase) / k for k in range(1, n))
    return made.astype(np.float32)
