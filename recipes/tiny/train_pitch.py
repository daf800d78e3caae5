"""Stage `pitch`: the network that reads pitch and voicing from a mel, for the vocoder at the frame rate.

In: a corpus with `wav` and `pitch`. Out: `WORK/pitch/last.pt`. Learns classes of pitch, blurred over their neighbors,
where the recording is voiced, and voicing everywhere; at changing levels, and from mels that are blurred or noisy, as
predicted ones are. Evaluates itself on held-out recordings: the share of voiced frames off by more than half a
semitone, their mean error in cents, the share of frames with wrong voicing.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from edgetts.models.istft_vocoder import PitchNet
from recipes.tiny import dims
from recipes.tiny.common import Run, adamw, average_into, computing_time
from recipes.tiny.data import Corpus
from recipes.tiny.excerpts import Excerpts
from recipes.tiny.istft_dims import PITCH

BATCH, FRAMES = 24, 96
PEAK_LR = 2e-3
AVERAGE_DECAY = 0.995
BLUR_CLASSES = 1.2  # deviation of the target
SMOOTHED_SHARE, NOISY_SHARE, NOISE = 0.25, 0.5, 0.15
EVALUATE_EVERY = 250
WRONG_CENTS = 50.0


def targets_of(pitch: Tensor) -> Tensor:
    """Periods per frame (B, T) -> probabilities (B, T, classes)."""
    place = PITCH.classes_per_octave * (pitch.clamp_min(PITCH.lowest) / PITCH.lowest).log2()
    away = torch.arange(PITCH.n_classes) - place[..., None]
    return (-0.5 * (away / BLUR_CLASSES).square()).softmax(-1)


def pitch_loss(logits: Tensor, pitch: Tensor) -> Tensor:
    voiced = pitch > 0
    classes = -(targets_of(pitch) * logits[..., :-1].log_softmax(-1)).sum(-1)
    voicing = F.binary_cross_entropy_with_logits(logits[..., -1], voiced.float())
    return (classes * voiced).sum() / voiced.sum().clamp_min(1) + voicing


def worsened(mel: Tensor, generator: np.random.Generator) -> Tensor:
    """Some rows blurred over frames, some with noise."""
    smooth = F.avg_pool1d(mel, 3, 1, 1, count_include_pad=False)
    rows = len(mel)
    blurred = torch.from_numpy(generator.random(rows) < SMOOTHED_SHARE)[:, None, None]
    noisy = torch.from_numpy((generator.random(rows) < NOISY_SHARE) * generator.random(rows) * NOISE).float()
    return torch.where(blurred, smooth, mel) + noisy[:, None, None] * torch.randn_like(mel)


def errors(net: PitchNet, mel: Tensor, pitch: Tensor) -> dict[str, float]:
    with torch.no_grad():
        found, voicing = net.pitch(mel)
    voiced = pitch > 0
    both = voiced & (voicing > 0.5)
    cents = 1200 * (found[both] / pitch[both]).log2().abs()
    right = cents[cents < WRONG_CENTS]
    return {
        "off": float((cents >= WRONG_CENTS).float().mean()),
        "cents": float(right.mean()),
        "voicing": float(((voicing > 0.5) != voiced).float().mean()),
    }


def train(work: Path, corpora: Sequence[Corpus], minutes: float) -> None:
    torch.manual_seed(0)
    generator = np.random.default_rng()
    net = PitchNet(dims.N_MELS, PITCH)
    average = copy.deepcopy(net)
    optimiser = adamw([net], PEAK_LR)
    run = Run(work, "pitch", minutes, {"pitch": net, "average": average}, {"pitch": optimiser}, clock=computing_time)
    training, held = Excerpts(corpora, FRAMES, held=False), Excerpts(corpora[:1], FRAMES, held=True)
    fixed = held.draw(128, np.random.default_rng(0), gain=False)
    for step in run:
        drawn = training.draw(BATCH, generator)
        loss = pitch_loss(net(worsened(drawn.mel, generator)), drawn.pitch)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimiser.step()
        average_into(average, net, min(AVERAGE_DECAY, (step + 1) / (step + 20)))
        run.log(loss=loss.detach())
        if step % EVALUATE_EVERY == EVALUATE_EVERY - 1:
            run.write_log({"eval": {k: round(v, 4) for k, v in errors(average, fixed.mel, fixed.pitch).items()}})
    run.write_log({"eval": {k: round(v, 4) for k, v in errors(average, fixed.mel, fixed.pitch).items()}})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, action="append", required=True)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    train(args.work, [Corpus(c) for c in args.corpus], args.minutes)


if __name__ == "__main__":
    main()
