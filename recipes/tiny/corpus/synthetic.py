"""A corpus of synthetic buzzes instead of speech, to run the whole recipe without a teacher.

In: a seed. Out: a corpus folder for `prepare`. Each letter is a vowel-like sound with its own two resonances, each
voice has a pitch. It only tests that the stages fit together.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile as sf

from recipes.tiny import dims

LETTERS = "abdefgiklmnoprstuvwz"
VOICES = {"buzz_low": 110.0, "buzz_mid": 150.0, "buzz_high": 210.0}  # Hz
LETTER_S = (0.07, 0.13)
LEVEL = 0.2


def buzz(text: str, pitch: float, generator: np.random.Generator) -> np.ndarray:
    """Samples (S,) of a text; spaces and marks are pauses."""
    parts = []
    for letter in text.lower():
        n = int(generator.uniform(*LETTER_S) * dims.SAMPLE_RATE)
        time = np.arange(n) / dims.SAMPLE_RATE
        if letter not in LETTERS:
            parts.append(np.zeros(n // 2))
            continue
        k = LETTERS.index(letter)
        resonances = (300 + 35 * k, 1000 + 97 * ((7 * k) % len(LETTERS)))
        harmonics = pitch * np.arange(1, int(4000 / pitch))
        low, high = (1 / (1 + ((harmonics - r) / 120) ** 2) for r in resonances)
        weights = low + high
        wave = (weights[:, None] * np.sin(2 * np.pi * harmonics[:, None] * time)).sum(0)
        parts.append(wave * np.hanning(n))
    wave = np.concatenate(parts)
    samples: np.ndarray = (LEVEL * wave / np.abs(wave).max()).astype(np.float32)
    return samples


def make(folder: Path, n: int = 96, seed: int = 0) -> Path:
    """Write `n` recordings and their metadata."""
    generator = np.random.default_rng(seed)
    (folder / "wav").mkdir(parents=True, exist_ok=True)
    lines = []
    for i in range(n):
        words = ["".join(generator.choice(list(LETTERS), generator.integers(2, 5))) for _ in range(6)]
        text = " ".join(words)
        voice = list(VOICES)[i % len(VOICES)]
        wave = buzz(text, VOICES[voice] * generator.uniform(0.95, 1.05), generator)
        name = f"{i:05d}_{voice}"
        sf.write(folder / "wav" / f"{name}.wav", wave, dims.SAMPLE_RATE)
        lines.append(f"{name}\t{voice}\t1.0\t{len(wave) / dims.SAMPLE_RATE:.2f}\t{text}\t{text.capitalize()}.")
    (folder / "metadata.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
