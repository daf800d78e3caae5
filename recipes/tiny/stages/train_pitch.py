"""Stage `pitch`: trains the pitch network of the iSTFT vocoder, which predicts pitch and voicing from the mel.

In: corpora with `wav`; the stage adds `pitch`. Out: `WORK/pitch/last.pt`. Losses: cross-entropy of pitch classes with
blurred targets in voiced frames, and binary cross-entropy of voicing. Augmentation: random levels, and blurred or noisy
mels, which resemble predicted ones. Evaluation on held-out recordings: fraction of voiced frames off by half a semitone
or more, mean error of the other voiced frames in cents, and fraction of frames with wrong voicing.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgetts.models.istft_vocoder import PitchNet
from recipes.tiny import dims
from recipes.tiny.common import Run, adamw, average_into, computing_time, stage_arguments, stage_parser
from recipes.tiny.corpus.data import Corpus
from recipes.tiny.corpus.excerpts import ExcerptBatch, Excerpts
from recipes.tiny.dims import PITCH

STAGE = "pitch"
BATCH, FRAMES = 24, 96
PEAK_LR = 2e-3
AVERAGE_DECAY = 0.995
BLUR_CLASSES = 1.2  # standard deviation of the target distribution, in classes
SMOOTHED_SHARE, NOISY_SHARE, NOISE = 0.25, 0.5, 0.15
LARGEST_GRADIENT = 5.0
EVALUATE_EVERY = 250
N_EVALUATED = 128  # excerpts
WRONG_CENTS = 50.0


def targets_of(pitch: Tensor) -> Tensor:
    """Pitch in periods per frame (B, T) -> target probabilities (B, T, classes)."""
    place = PITCH.classes_per_octave * (pitch.clamp_min(PITCH.lowest) / PITCH.lowest).log2()
    away = torch.arange(PITCH.n_classes, device=pitch.device) - place[..., None]
    return (-0.5 * (away / BLUR_CLASSES).square()).softmax(-1)


def pitch_loss(logits: Tensor, pitch: Tensor) -> Tensor:
    """Loss of logits (B, T, classes + 1), the last of them voicing, for a pitch (B, T), 0 where unvoiced."""
    voiced = pitch > 0
    classes = -(targets_of(pitch) * logits[..., :-1].log_softmax(-1)).sum(-1)
    voicing = F.binary_cross_entropy_with_logits(logits[..., -1], voiced.float())
    return (classes * voiced).sum() / voiced.sum().clamp_min(1) + voicing


def augmented(mel: Tensor, generator: np.random.Generator) -> Tensor:
    """Mels (B, M, T) with random augmentation: blur over time in some rows, noise in some."""
    smooth = F.avg_pool1d(mel, 3, 1, 1, count_include_pad=False)
    rows = len(mel)
    blurred = torch.from_numpy(generator.random(rows) < SMOOTHED_SHARE)
    noise = torch.from_numpy((generator.random(rows) < NOISY_SHARE) * generator.random(rows) * NOISE).float()
    blurred, noise = (x.to(mel.device)[:, None, None] for x in (blurred, noise))
    return torch.where(blurred, smooth, mel) + noise * torch.randn_like(mel)


class PitchTrainer:
    """The network, its moving average and optimizer; `step` trains on one batch."""

    def __init__(self, device: torch.device) -> None:
        self.net = PitchNet(dims.N_MELS, PITCH).to(device)
        self.average = copy.deepcopy(self.net)
        self.optimizer = adamw([self.net], PEAK_LR)
        self.modules = {"pitch": self.net, "average": self.average}
        self.optimizers = {"pitch": self.optimizer}

    def step(self, i: int, drawn: ExcerptBatch, generator: np.random.Generator) -> dict[str, Tensor]:
        """Train on one batch; returns the loss. i: step number, from 0."""
        loss = pitch_loss(self.net(augmented(drawn.mel, generator)), drawn.pitch)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.net.parameters(), LARGEST_GRADIENT)
        self.optimizer.step()
        average_into(self.average, self.net, min(AVERAGE_DECAY, (i + 1) / (i + 20)))
        return {"loss": loss.detach()}

    @torch.no_grad()
    def errors(self, drawn: ExcerptBatch) -> dict[str, float]:
        """Evaluation metrics of the moving average."""
        found, voicing = self.average.pitch(drawn.mel)
        voiced = drawn.pitch > 0
        both = voiced & (voicing > 0.5)
        cents = 1200 * (found[both] / drawn.pitch[both]).log2().abs()
        right = cents[cents < WRONG_CENTS]
        return {
            "off": float((cents >= WRONG_CENTS).float().mean()),
            "cents": float(right.mean()),
            "voicing": float(((voicing > 0.5) != voiced).float().mean()),
        }


def train(work: Path, corpora: Sequence[Corpus], minutes: float) -> None:
    from recipes.tiny.corpus.pitch import add_pitch  # imports audio libraries that `vocoder_gpu` does not need

    torch.manual_seed(0)
    for corpus in corpora:
        add_pitch(corpus)
    generator = np.random.default_rng()
    trainer = PitchTrainer(torch.device("cpu"))
    run = Run(work, STAGE, minutes, trainer.modules, trainer.optimizers, clock=computing_time)
    training, held = Excerpts(corpora, FRAMES, held=False), Excerpts(corpora[:1], FRAMES, held=True)
    fixed = held.draw(N_EVALUATED, np.random.default_rng(0), gain=False)

    def evaluate() -> None:
        run.write_log({"eval": {k: round(v, 4) for k, v in trainer.errors(fixed).items()}})

    for step in run:
        run.log(**trainer.step(step, training.draw(BATCH, generator), generator))
        if step % EVALUATE_EVERY == EVALUATE_EVERY - 1:
            evaluate()
    evaluate()


def main() -> None:
    parser = stage_parser(__doc__, minutes=10)
    args = stage_arguments(parser)
    train(args.work, [Corpus(c) for c in args.corpus], args.minutes)


if __name__ == "__main__":
    main()
