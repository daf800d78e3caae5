"""Renders recordings with another vocoder: training data of a vocoder at the frame rate for a full-size pack.

In: recordings and a pack with the published spectrogram, whose vocoder is the teacher (BigVGAN). Out: a cached corpus
with `wav`, the teacher's output for the mel of each recording, and `pitch`. With the recordings themselves it is
a second corpus for `train_pitch` and `train_vocoder_istft`, and `swap_vocoder` puts the result into the pack:

    python -m recipes.tiny.corpus.pitch --recordings DIR --out CACHE
    python -m recipes.tiny.corpus.vocoded --pack FULL.pack --corpus CACHE --out VOCODED
    python -m recipes.tiny.stages.train_pitch --work WORK --corpus CACHE --corpus VOCODED
    python -m recipes.tiny.stages.train_vocoder_istft --work WORK --corpus CACHE --corpus VOCODED --minutes 90
    python -m recipes.tiny.stages.swap_vocoder --pack FULL.pack --work WORK --out FAST.pack --int8

It does not know what is trained.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from torch import nn

from edgetts.backends.prepare import prepare_vocoder
from edgetts.compute import Compute
from edgetts.errors import UsageError
from edgetts.models import registry
from edgetts.pack.load import Pack, open_pack
from recipes.tiny import dims
from recipes.tiny.corpus.data import Corpus
from recipes.tiny.corpus.excerpts import PCM_SCALE
from recipes.tiny.corpus.pitch import add_pitch
from recipes.tiny.mel import mel_of

CPU = torch.device("cpu")
MAX_FRAMES = 400  # rendered at once; longer recordings in parts that overlap
OVERLAP_FRAMES = 24  # dropped on either side of an inner part


def check_spectrogram(pack: Pack) -> None:
    """Raises UsageError if the pack's spectrogram is not the one that the stages train for."""
    if pack.config.audio != dims.AUDIO:
        raise UsageError(
            f"The pack {pack.path} has the spectrogram {pack.config.audio}, and the stages train for {dims.AUDIO}: "
            "give a pack with the published one."
        )


@torch.inference_mode()
def rendered(vocoder: nn.Module, wave: torch.Tensor) -> np.ndarray:
    """The vocoder's samples (S,) int16 for the mel of a recording (S,); S a multiple of the hop."""
    mel = mel_of(wave[None])
    n_frames = mel.shape[-1]
    parts = []
    for start in range(0, n_frames, MAX_FRAMES):
        end = min(start + MAX_FRAMES, n_frames)
        first, last = max(0, start - OVERLAP_FRAMES), min(n_frames, end + OVERLAP_FRAMES)
        made = vocoder(mel[:, :, first:last]).flatten()
        parts.append(made[(start - first) * dims.HOP : (end - first) * dims.HOP])
    samples: np.ndarray = (torch.cat(parts).clamp(-1, 1) * (PCM_SCALE - 1)).round().short().numpy()
    return samples


def make(pack: Pack, corpus: Corpus, target: Path, limit: int | None, compute: Compute = "fast") -> Corpus:
    """At most `limit` recordings, evenly over the corpus."""
    check_spectrogram(pack)
    n = len(corpus) if limit is None else min(limit, len(corpus))
    chosen = np.unique(np.linspace(0, len(corpus) - 1, n).astype(int)).tolist()
    vocoder, _ = prepare_vocoder(registry.VOCODER.load(pack), compute, CPU)
    target.mkdir(parents=True, exist_ok=True)
    (target / "items.json").write_text(json.dumps([corpus.items[i] for i in chosen]))
    made = Corpus(target)
    waves = []
    for i in track(chosen, description="recordings"):
        wave = corpus.get("wav", i).float() / PCM_SCALE
        waves.append(rendered(vocoder, wave[: len(wave) // dims.HOP * dims.HOP]))
    made.put("wav", waves)
    add_pitch(made)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, required=True, help="cached corpus (`recipes.tiny.corpus.pitch`)")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int, help="recordings, evenly over the corpus; default: all")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    try:
        print(f"{len(make(open_pack(args.pack), Corpus(args.corpus), args.out, args.limit))} recordings in {args.out}")
    except UsageError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
