"""A cached corpus to train S2Mel on, whose arrays have no meaning."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from recipes.tiny import dims
from recipes.tiny.corpus.data import Corpus

N, VOICES, SOUNDS = 56, ("a", "b", "c"), 39


def made_corpus(folder: Path) -> Corpus:
    """Frame f of recording i has the level of `level(i, f)` in all bands."""
    items = [{"name": str(i), "voice": VOICES[i % 3], "factor": (1.0, 1.1, 0.9)[i % 9 // 3]} for i in range(N)]
    (folder / "items.json").write_text(json.dumps(items))
    made, draw = Corpus(folder), np.random.default_rng(0)
    n_codes = [120 + i for i in range(N)]
    made.put("mel", [np.repeat(level(i, int(n * dims.FRAMES_PER_CODE)), 80, 1) for i, n in enumerate(n_codes)])
    made.put("fbank", [draw.normal(size=(100, 80)).astype(np.float16) for n in n_codes])
    made.put("feat", [draw.normal(size=(50, dims.SEMANTIC)).astype(np.float16) for n in n_codes])
    made.put("text", [draw.integers(37, 70, 20) for _ in range(N)])
    made.put("codes", [np.arange(n, dtype=np.int16) for n in n_codes])
    made.put("heard", [np.arange(n, dtype=np.int16) + 7 for n in n_codes])
    made.put("phone", [np.arange(n, dtype=np.int16) % SOUNDS for n in n_codes])
    return made


def level(i: int, n: int) -> np.ndarray:
    """(n, 1): rises by 0.01 a frame; recordings differ by a tenth."""
    levels: np.ndarray = (-8 + 0.01 * np.arange(n) + 0.1 * (i % 7)).astype(np.float16)[:, None]
    return levels
