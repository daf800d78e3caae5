"""Stage `vocoder_istft`: the iSTFT vocoder, mel spectrogram to waveform.

In: corpora with `wav`; `pitch` is added. Out: `WORK/vocoder_istft/last.pt` (vocoder, its moving average,
discriminators). First spectral losses only, for minutes, then also discriminators (`recipes.tiny.stages.adversarial`).
The sources use the recordings' pitch and a random initial phase. The pitch network is trained separately
(`train_pitch`), before or after; `with_pitch_net` combines both.

The budget counts CPU time. Evaluation: spectral distances of held-out excerpts, with the recordings' pitch.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgetts.models.istft_vocoder import NUMBER, PHASE, SILENT_PITCH, IstftVocoder, pitch_rows, source_reach
from edgetts.pack.config import IstftVocoderConfig
from recipes.tiny import dims, istft_dims
from recipes.tiny.common import (
    Run,
    adamw,
    autocast,
    average_into,
    computing_time,
    stage_arguments,
    stage_parser,
    stage_weights,
)
from recipes.tiny.corpus.data import Corpus
from recipes.tiny.corpus.excerpts import KIND, Drawn, Excerpts
from recipes.tiny.corpus.pitch import add_pitch
from recipes.tiny.mel import mel_of
from recipes.tiny.stages.adversarial import (
    Discriminators,
    adversarial_loss,
    judge_loss,
    matching_loss,
    stft_loss,
)

STAGE = "vocoder_istft"
EDGE = source_reach(istft_dims.VOCODER) + 1  # frames on either side with incomplete sources
BETAS = (0.8, 0.99)
ADVERSARIAL_FROM = 0.2  # of the budget
MEL_WEIGHT, STFT_WEIGHT, ADVERSARIAL_WEIGHT, FEATURE_WEIGHT = 10.0, 3.0, 1.0, 0.5
# Generated speech has its own phase, so features of the period discriminators do not match sample by sample.
PERIOD_MATCHING, RESOLUTION_MATCHING = 0.2, 1.0
AVERAGE_DECAY = 0.998
LARGEST_GRADIENT, LARGEST_JUDGE_GRADIENT = 10.0, 5.0
EVALUATE_EVERY = 250
N_EVALUATED = 64  # excerpts
LONGEST_START = 1 << 14  # frames: random offset of the noise


@dataclass(frozen=True)
class Plan:
    """Sizes that depend on the machine."""

    batch: int
    n_frames: int  # per excerpt; the outermost are excluded from losses
    periods: tuple[int, ...]
    period_widths: tuple[int, ...]
    resolutions: tuple[int, ...]
    resolution_widths: tuple[int, ...]
    resolution_strides: tuple[tuple[int, int], ...]  # frames, bins
    lr: float = 8e-4
    judge_lr: float = 4e-4

    def discriminators(self) -> Discriminators:
        return Discriminators(
            self.periods,
            self.resolutions,
            period_widths=self.period_widths,
            resolution_widths=self.resolution_widths,
            resolution_strides=self.resolution_strides,
        )


CPU_PLAN = Plan(
    batch=10,
    n_frames=48,
    periods=(2, 3, 5),
    period_widths=(16, 32, 64, 96),
    resolutions=(512, 1024, 2048),
    resolution_widths=(16, 24, 32, 32),
    resolution_strides=((1, 2), (2, 2), (1, 2), (1, 2)),
)


def frames_of(drawn: Drawn, generator: np.random.Generator) -> Tensor:
    """The input of `IstftVocoder.render`, from the recordings' pitch and a random phase."""
    voiced = drawn.pitch > 0
    rows = pitch_rows(torch.where(voiced, drawn.pitch, SILENT_PITCH), voiced.float())
    n, device = len(rows), rows.device
    phase = torch.from_numpy(generator.random((n, 1))).float().to(device)
    first = torch.from_numpy(generator.integers(LONGEST_START, size=(n, 1))).float().to(device)
    rows[:, PHASE] = (rows[:, PHASE] + phase).remainder(1.0)
    rows[:, NUMBER] += first
    return torch.cat([drawn.mel, rows], dim=1)


def judged(wave: Tensor) -> Tensor:
    """Cut off the incomplete edges."""
    edge = EDGE * dims.HOP
    return wave[..., edge:-edge]


class Trainer:
    """Vocoder, discriminators and their optimizers; `step` is one batch."""

    def __init__(self, plan: Plan, device: torch.device, config: IstftVocoderConfig = istft_dims.VOCODER) -> None:
        self.plan, self.device = plan, device
        self.vocoder = istft_dims.fresh(config).to(device)
        self.vocoder.pitch_net.requires_grad_(False)
        self.average = copy.deepcopy(self.vocoder)
        self.judges = plan.discriminators().to(device)
        self.made_by = adamw([self.vocoder], plan.lr, betas=BETAS)
        self.judged_by = adamw([self.judges], plan.judge_lr, betas=BETAS)
        self.modules = {"vocoder": self.vocoder, "average": self.average, "judges": self.judges}
        self.optimizers = {"vocoder": self.made_by, "judges": self.judged_by}
        self.weights = (PERIOD_MATCHING,) * len(plan.periods) + (RESOLUTION_MATCHING,) * len(plan.resolutions)

    def step(self, i: int, drawn: Drawn, generator: np.random.Generator, *, adversarial: bool) -> dict[str, Tensor]:
        """Train on one batch; returns the losses. i: step number, from 0."""
        real = judged(drawn.wave)
        with autocast(self.device.type):
            made = judged(self.vocoder.render(frames_of(drawn, generator)))
        mel, stft = F.l1_loss(mel_of(made), mel_of(real)), stft_loss(made, real)
        loss, losses = MEL_WEIGHT * mel + STFT_WEIGHT * stft, {"mel": mel, "stft": stft}
        if adversarial:
            found = self._judge(real, made)
            loss = loss + ADVERSARIAL_WEIGHT * found["adversarial"] + FEATURE_WEIGHT * found["matching"]
            losses |= found
        self.made_by.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.vocoder.parameters(), LARGEST_GRADIENT)
        self.made_by.step()
        average_into(self.average, self.vocoder, min(AVERAGE_DECAY, (i + 1) / (i + 20)))
        return {name: value.detach() for name, value in losses.items()}

    def _judge(self, real: Tensor, made: Tensor) -> dict[str, Tensor]:
        """Train the discriminators, then return the adversarial losses of the vocoder."""
        of_real, of_made = self.judges(real), self.judges(made.detach())
        verdict = judge_loss(of_real, of_made)
        self.judged_by.zero_grad(set_to_none=True)
        torch.autograd.backward(verdict)
        nn.utils.clip_grad_norm_(self.judges.parameters(), LARGEST_JUDGE_GRADIENT)
        self.judged_by.step()
        self.judges.requires_grad_(False)
        of_made = self.judges(made)
        self.judges.requires_grad_(True)
        matching = matching_loss([[f.detach() for f in d] for d in of_real], of_made, self.weights)
        return {"judges": verdict, "adversarial": adversarial_loss(of_made), "matching": matching}

    @torch.no_grad()
    def distances(self, drawn: Drawn, frames: Tensor) -> dict[str, float]:
        """Evaluation figures of the moving average."""
        made, real = judged(self.average.render(frames)), judged(drawn.wave)
        return {"mel": float(F.l1_loss(mel_of(made), mel_of(real))), "stft": float(stft_loss(made, real))}


def train(
    work: Path,
    corpora: Sequence[Corpus],
    minutes: float,
    *,
    plan: Plan = CPU_PLAN,
    adversarial_from: float = ADVERSARIAL_FROM,
    predicted: float = 0.0,
) -> None:
    """predicted: share of excerpts with S2Mel's mel, if the corpus has it."""
    torch.manual_seed(0)
    for corpus in corpora:
        add_pitch(corpus)
    generator = np.random.default_rng()
    trainer = Trainer(plan, torch.device("cpu"))
    run = Run(work, STAGE, minutes, trainer.modules, trainer.optimizers, clock=computing_time)
    training = Excerpts(corpora, plan.n_frames, held=False, predicted=predicted)
    held = Excerpts(corpora[:1], plan.n_frames, held=True)
    fixed = held.draw(N_EVALUATED, np.random.default_rng(0), gain=False)
    fixed_frames = frames_of(fixed, np.random.default_rng(1))

    def evaluate() -> None:
        run.write_log({"eval": {k: round(v, 4) for k, v in trainer.distances(fixed, fixed_frames).items()}})

    for step in run:
        drawn = training.draw(plan.batch, generator)
        run.log(**trainer.step(step, drawn, generator, adversarial=run.progress >= adversarial_from))
        if step % EVALUATE_EVERY == EVALUATE_EVERY - 1:
            evaluate()
    evaluate()


def with_pitch_net(work: Path) -> IstftVocoder:
    """The trained vocoder with the trained pitch network, for inference."""
    vocoder = IstftVocoder(istft_dims.VOCODER)
    vocoder.load_state_dict(stage_weights(work, STAGE)["average"])
    vocoder.pitch_net.load_state_dict(stage_weights(work, "pitch")["average"])
    return vocoder.eval()


def main() -> None:
    parser = stage_parser(__doc__, minutes=90)
    parser.add_argument("--adversarial-from", type=float, default=ADVERSARIAL_FROM, help="share of the budget")
    parser.add_argument("--predicted", type=float, default=0.0, help="share of excerpts with S2Mel's mel")
    args = stage_arguments(parser)
    corpora = [Corpus(c) for c in args.corpus]
    if args.predicted and not any(c.has(KIND) for c in corpora):
        parser.error("no corpus has predicted mels: make them with `python -m recipes.tiny.corpus.predicted_mels`")
    train(
        args.work,
        corpora,
        args.minutes,
        adversarial_from=args.adversarial_from,
        predicted=args.predicted,
    )


if __name__ == "__main__":
    main()
