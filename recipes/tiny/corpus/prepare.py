"""Stage `prepare`: recordings and texts to cached arrays for all other stages.

In: a corpus folder: `metadata.tsv` (name, voice, speed, seconds, IPA phones, text) and `wav/NAME.ogg|wav|flac`. Out: a
cache folder (`recipes.tiny.corpus.data`) with `sem`, `fbank`, `mel` and `wav`. With `--resampled` every recording is
also pitched down or up by resampling with a random factor, which adds voices.

Features are those of the runtime (`edgetts.audio.features`).
"""

from __future__ import annotations

import argparse
import json
import math
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import soxr
import torch
from rich.progress import track

from edgetts.audio import features
from edgetts.audio.io import resample
from recipes.tiny import dims
from recipes.tiny.corpus.data import Corpus
from recipes.tiny.mel import mel_of

ENCODER_RATE = 16_000
RESAMPLED_BY = (0.05, 0.17)  # logarithm of the factor, either way
LONGEST_S = 15.0
Item = dict[str, Any]


def read_metadata(folder: Path) -> list[Item]:
    items = []
    for line in (folder / "metadata.tsv").read_text(encoding="utf-8").splitlines():
        name, voice, _speed, _seconds, phones, text = line.split("\t")
        path = next((folder / "wav").glob(f"{name}.*"))
        items.append({"name": name, "path": str(path), "voice": voice, "phones": phones, "text": text, "factor": 1.0})
    return items


def analyze(item: Item, *, speech: bool = True) -> list[np.ndarray]:
    """`sem`, `fbank` and, with `speech`, `mel` and `wav` of one recording."""
    torch.set_num_threads(1)
    # Not `read_audio`: it refuses recordings under a second, which are fine for training.
    samples, rate = sf.read(item["path"], dtype="float32")
    samples = resample(samples, rate, dims.SAMPLE_RATE)[: int(LONGEST_S * dims.SAMPLE_RATE)]
    if item["factor"] != 1.0:
        samples = soxr.resample(samples, dims.SAMPLE_RATE, dims.SAMPLE_RATE * item["factor"]).astype(np.float32)
    heard = torch.from_numpy(soxr.resample(samples, dims.SAMPLE_RATE, ENCODER_RATE).astype(np.float32))
    semantic, _ = features.semantic_features(heard)
    arrays = [semantic[0].half().numpy(), features.kaldi_fbank(heard).half().numpy()]
    if speech:
        mel = mel_of(torch.from_numpy(samples)[None])
        arrays += [mel[0].T.half().numpy(), (samples.clip(-1, 1) * 32767).astype(np.int16)]
    return arrays


def prepare(items: list[Item], target: Path, workers: int) -> Corpus:
    target.mkdir(parents=True, exist_ok=True)
    (target / "items.json").write_text(json.dumps(items))
    with ProcessPoolExecutor(workers) as pool:
        made = list(track(pool.map(analyze, items, chunksize=8), total=len(items), description="features"))
    corpus = Corpus(target)
    for kind, arrays in zip(("sem", "fbank", "mel", "wav"), zip(*made, strict=True), strict=True):
        corpus.put(kind, arrays)
    return corpus


def resampled(items: list[Item], seed: int = 0) -> list[Item]:
    """The same recordings, each pitched down or up by a random factor."""
    generator = np.random.default_rng(seed)
    return [{**it, "factor": math.exp(generator.choice([-1, 1]) * generator.uniform(*RESAMPLED_BY))} for it in items]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="folder with metadata.tsv and wav/")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--resampled", action="store_true")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    items = read_metadata(args.corpus)
    prepare(resampled(items) if args.resampled else items, args.out, args.workers)


if __name__ == "__main__":
    main()
