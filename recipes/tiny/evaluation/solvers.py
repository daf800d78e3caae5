"""Compares faster flow settings: solvers, guidance, time grids, short prompts, presets.

In: a pack and recordings of voices. Out: a table, and all metrics as JSON. All rows use the same codes and noise (same
seed and GPT settings); only S2Mel's settings differ. The distance is the mean difference of log-mels from the first
row, which has upstream's settings.

    python -m recipes.tiny.evaluation.solvers --voices DIR [--pack PACK] [--limit 24] [--json FILE] [--only NAME ...]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgetts import TTS
from edgetts.audio.io import read_audio
from edgetts.options import PRESETS
from recipes.tiny.evaluation.evaluate import SENTENCES, VoiceEmbedder, recordings_in, words
from recipes.tiny.evaluation.listeners import JUDGE_RATE, Listener
from recipes.tiny.mel import mel_of

BEST = {"solver": "euler", "n_steps": 25, "cfg_rate": 0.7, "cfg_until": 1.0, "sway": 0.0, "prompt_s": None}
_FLOWS: dict[str, dict[str, Any]] = {
    "euler 25 (best)": {},
    "euler 12": {"n_steps": 12},
    "euler 8": {"n_steps": 8},
    "heun 6 (12 estimates)": {"solver": "heun", "n_steps": 6},
    "midpoint 6 (12 estimates)": {"solver": "midpoint", "n_steps": 6},
    "ab2 12": {"solver": "ab2", "n_steps": 12},
    "ab2 8": {"solver": "ab2", "n_steps": 8},
    "ab2 8, sway -0.5": {"solver": "ab2", "n_steps": 8, "sway": -0.5},
    "ab2 8, guidance to 0.5": {"solver": "ab2", "n_steps": 8, "cfg_until": 0.5},
    "ab2 8, no guidance": {"solver": "ab2", "n_steps": 8, "cfg_rate": 0.0},
    "ab2 8, prompt 3 s": {"solver": "ab2", "n_steps": 8, "prompt_s": 3.0},
    "ab2 8, sway -1": {"solver": "ab2", "n_steps": 8, "sway": -1.0},
    "ab2 6, sway -0.5": {"solver": "ab2", "n_steps": 6, "sway": -0.5},
    "ab2 5, sway -0.5": {"solver": "ab2", "n_steps": 5, "sway": -0.5},
    "ab2 5, guidance to 0.5": {"solver": "ab2", "n_steps": 5, "cfg_until": 0.5},
    "ab2 5, sway -0.5, guidance to 0.5": {"solver": "ab2", "n_steps": 5, "sway": -0.5, "cfg_until": 0.5},
    "euler 8, sway -0.5": {"n_steps": 8, "sway": -0.5},
    "midpoint 4, sway -0.5 (8 estimates)": {"solver": "midpoint", "n_steps": 4, "sway": -0.5},
}
_PRESETS: dict[str, dict[str, Any]] = {
    f"preset {name}": {k: v for k, v in PRESETS[name].items() if k != "n_beams"} for name in ("balanced", "fast")
}
ROWS = _FLOWS | _PRESETS


def measure(tts: TTS, recordings: Mapping[str, Path], limit: int, only: list[str] | None) -> dict[str, Any]:
    """The metrics of each row; the first row is always measured."""
    import jiwer

    listener, embedder = Listener(), VoiceEmbedder()
    names = list(recordings)
    voices = {n: tts.enroll(path, name=n, adapt_steps=0) for n, path in recordings.items()}
    embeddings = {n: embedder(read_audio(p, JUDGE_RATE, 15.0).samples, JUDGE_RATE) for n, p in recordings.items()}
    sentences = SENTENCES.read_text(encoding="utf-8").splitlines()[:limit]
    exact: list[np.ndarray] = []
    figures: dict[str, Any] = {}
    for row, changes in ROWS.items():
        if only and exact and row not in only:
            continue
        said, heard, likeness, distances, rtfs = [], [], [], [], []
        for k, sentence in enumerate(sentences):
            name = names[k % len(names)]
            audio = tts.say(sentence, voices[name], seed=k, **{**BEST, **changes})
            mel = mel_of(torch.from_numpy(audio.samples)[None])[0].numpy()
            if len(exact) < len(sentences):
                exact.append(mel)
            distances.append(float(np.abs(mel - exact[k]).mean()))
            rtfs.append(audio.compute_seconds / audio.seconds)
            said.append(words(sentence))
            heard.append(words(listener(audio.samples, audio.sample_rate)))
            likeness.append(float(embedder(audio.samples, audio.sample_rate) @ embeddings[name]))
        figures[row] = {
            "log_mel": statistics.fmean(distances),
            "word_error_rate": jiwer.wer(said, heard),
            "similarity": statistics.fmean(likeness),
            "rtf": statistics.median(rtfs),
        }
        f = figures[row]
        print(
            f"| {row} | {f['log_mel']:.3f} | {f['word_error_rate']:.1%} | {f['similarity']:.3f} | {f['rtf']:.3f} |",
            flush=True,
        )
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", type=Path, default=None)
    parser.add_argument("--voices", type=Path, required=True, help="folder with one recording per voice")
    parser.add_argument("--limit", type=int, default=24, help="number of sentences")
    parser.add_argument("--only", nargs="*", help="rows to run besides the first")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    print("| flow | log-mel | WER | similarity | RTF |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as home:
        tts = TTS.load(args.pack, device="cpu", home=Path(home))
        figures = measure(tts, recordings_in(args.voices), args.limit, args.only)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
