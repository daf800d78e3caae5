"""Stage `vocoder_istft`: trains the iSTFT vocoder, which converts a mel spectrogram to a waveform.

In: corpora with `wav`; the stage adds `pitch`. Out: `WORK/vocoder_istft/last.pt` (vocoder, its moving average,
discriminators). The first part of the budget uses only spectral losses; then discriminators are added
(`recipes.tiny.stages.adversarial`). The sources use the recordings' pitch and a random initial phase. The pitch network
is trained separately (`train_pitch`), before or after; `with_pitch_net` combines both.

A second stage, `vocoder_predicted`, continues on a mixture of recorded mels and mels predicted by S2Mel
(`predicted_mels`). A predicted mel is smoother than a recorded one and has a pitch contour of its own, so no recording
matches it. Its pitch comes from the pitch network, which must be trained before. The discriminators compare its sound
with recordings, and an L1 loss between blurred mels (`anchor`) keeps it close to S2Mel's prediction.

The budget counts CPU time. Evaluation: spectral distances of held-out excerpts, with the recordings' pitch.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgetts.models.istft_vocoder import (
    NUMBER,
    PHASE,
    SILENT_PITCH,
    IstftVocoder,
    PitchNet,
    pitch_rows,
    source_reach,
)
from edgetts.pack.config import IstftVocoderConfig
from recipes.tiny import dims, fresh_vocoder
from recipes.tiny.common import (
    Run,
    adamw,
    autocast,
    average_into,
    computing_time,
    stage_arguments,
    stage_file,
    stage_parser,
    stage_weights,
)
from recipes.tiny.corpus.data import Corpus
from recipes.tiny.corpus.excerpts import PREDICTED_MEL, ExcerptBatch, Excerpts
from recipes.tiny.mel import mel_of
from recipes.tiny.stages.adversarial import (
    Discriminators,
    Outputs,
    adversarial_loss,
    discriminator_loss,
    matching_loss,
    stft_loss,
)

STAGES = STAGE, PREDICTED_STAGE = ("vocoder_istft", "vocoder_predicted")
EDGE = source_reach(dims.VOCODER) + 1  # frames at either end with incomplete sources
BETAS = (0.8, 0.99)
ADVERSARIAL_FROM = 0.2  # of the budget
PREDICTED_SHARE = 0.6  # of the excerpts
FROZEN_UNTIL = 0.1  # of the second stage's budget, in which only its new discriminators train
MEL_WEIGHT, STFT_WEIGHT, ADVERSARIAL_WEIGHT, FEATURE_WEIGHT = 10.0, 3.0, 1.0, 0.5
ANCHOR_WEIGHT, ANCHOR_BLUR = 10.0, (5, 5)  # blur over mel bands and frames
# Generated speech has its own phase, so features of the period discriminators do not match sample by sample.
PERIOD_MATCHING, RESOLUTION_MATCHING = 0.2, 1.0
AVERAGE_DECAY = 0.996
LARGEST_GRADIENT, LARGEST_JUDGE_GRADIENT = 10.0, 5.0
EVALUATE_EVERY = 250
N_EVALUATED = 64  # excerpts
LONGEST_START = 1 << 14  # frames; range of the random offset of the noise


@dataclass(frozen=True)
class Plan:
    """Sizes and learning rates of a training run, chosen for the machine and the stage."""

    batch: int
    n_frames: int  # per excerpt; those at the edges are excluded from the losses
    periods: tuple[int, ...]
    period_widths: tuple[int, ...]
    resolutions: tuple[int, ...]
    resolution_widths: tuple[int, ...]
    resolution_strides: tuple[tuple[int, int], ...]  # frames, bins
    mel_widths: tuple[int, ...] = ()
    lr: float = 8e-4
    judge_lr: float = 4e-4

    def discriminators(self) -> Discriminators:
        return Discriminators(
            self.periods,
            self.resolutions,
            period_widths=self.period_widths,
            resolution_widths=self.resolution_widths,
            resolution_strides=self.resolution_strides,
            mel_widths=self.mel_widths,
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
# The second stage needs few waveform discriminators: the fine structure is learned, and the remaining defects of
# predicted mels are visible in the mel.
CPU_PLANS = {
    STAGE: CPU_PLAN,
    PREDICTED_STAGE: dataclasses.replace(
        CPU_PLAN, periods=(), resolutions=(1024,), mel_widths=(32, 64, 64), lr=3e-4, judge_lr=6e-4
    ),
}


def frames_of(drawn: ExcerptBatch, generator: np.random.Generator, pitch_net: PitchNet | None = None) -> Tensor:
    """The input of `IstftVocoder.render`: mels, the recordings' pitch, and a random phase.

    pitch_net: gives the pitch of predicted mels; required if there are any.
    """
    voicing = (drawn.pitch > 0).float()
    pitch = torch.where(drawn.pitch > 0, drawn.pitch, SILENT_PITCH)
    if drawn.is_predicted.any():
        assert pitch_net is not None
        with torch.no_grad():
            found, certainty = pitch_net.pitch(drawn.mel)
        own = drawn.is_predicted[:, None]
        pitch, voicing = torch.where(own, found, pitch), torch.where(own, certainty, voicing)
    rows = pitch_rows(pitch, voicing)
    n, device = len(rows), rows.device
    phase = torch.from_numpy(generator.random((n, 1))).float().to(device)
    first = torch.from_numpy(generator.integers(LONGEST_START, size=(n, 1))).float().to(device)
    rows[:, PHASE] = (rows[:, PHASE] + phase).remainder(1.0)
    rows[:, NUMBER] += first
    return torch.cat([drawn.mel, rows], dim=1)


def without_edges(wave: Tensor) -> Tensor:
    """The waveform without the edges whose sources are incomplete."""
    edge = EDGE * dims.HOP
    return wave[..., edge:-edge]


def blurred(mel: Tensor) -> Tensor:
    """Log-mel (B, M, T), averaged over neighboring bands and frames, without padding."""
    return F.avg_pool2d(mel[:, None], ANCHOR_BLUR, 1)[:, 0]


class Trainer:
    """Vocoder, discriminators and their optimizers; `step` trains on one batch."""

    def __init__(self, plan: Plan, device: torch.device, config: IstftVocoderConfig = dims.VOCODER) -> None:
        self.plan, self.device = plan, device
        self.vocoder = fresh_vocoder.fresh(config).to(device)
        self.vocoder.pitch_net.requires_grad_(False)
        self.average = copy.deepcopy(self.vocoder)
        self.judges = plan.discriminators().to(device)
        self.vocoder_optimizer = adamw([self.vocoder], plan.lr, betas=BETAS)
        self.discriminator_optimizer = adamw([self.judges], plan.judge_lr, betas=BETAS)
        self.modules = {"vocoder": self.vocoder, "average": self.average, "judges": self.judges}
        self.optimizers = {"vocoder": self.vocoder_optimizer, "judges": self.discriminator_optimizer}
        self.weights = (
            *(PERIOD_MATCHING,) * len(plan.periods),
            *(RESOLUTION_MATCHING,) * len(plan.resolutions),
            *(RESOLUTION_MATCHING,) * bool(plan.mel_widths),
        )

    def step(
        self, i: int, drawn: ExcerptBatch, generator: np.random.Generator, *, adversarial: bool, frozen: bool = False
    ) -> dict[str, Tensor]:
        """Train on one batch; returns the losses. i: step number, from 0. frozen: train only the discriminators."""
        real = without_edges(drawn.wave)
        with autocast(self.device.type), torch.set_grad_enabled(not frozen):
            made = without_edges(self.vocoder.render(frames_of(drawn, generator, self.vocoder.pitch_net)))
        if frozen:
            return {"judges": self._train_discriminators(self.judges(real), made)}
        loss, losses = self._spectral(drawn, made, real)
        if adversarial:
            found = self._adversarial(real, made, ~drawn.is_predicted)
            loss = loss + ADVERSARIAL_WEIGHT * found["adversarial"] + FEATURE_WEIGHT * found["matching"]
            losses |= found
        self.vocoder_optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.vocoder.parameters(), LARGEST_GRADIENT)
        self.vocoder_optimizer.step()
        average_into(self.average, self.vocoder, min(AVERAGE_DECAY, (i + 1) / (i + 20)))
        return {name: value.detach() for name, value in losses.items()}

    def _spectral(self, drawn: ExcerptBatch, made: Tensor, real: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum and its parts: `mel` and `stft` for recorded mels, `anchor` for predicted ones."""
        loss, losses = torch.zeros((), device=made.device), {}
        mels, predicted = mel_of(made), drawn.is_predicted
        share = predicted.float().mean()
        if not predicted.all():
            losses["mel"] = F.l1_loss(mels[~predicted], mel_of(real[~predicted]))
            losses["stft"] = stft_loss(made[~predicted], real[~predicted])
            loss = loss + (1 - share) * (MEL_WEIGHT * losses["mel"] + STFT_WEIGHT * losses["stft"])
        if predicted.any():
            target = drawn.mel[predicted][..., EDGE:-EDGE]
            losses["anchor"] = F.l1_loss(blurred(mels[predicted]), blurred(target))
            loss = loss + share * ANCHOR_WEIGHT * losses["anchor"]
        return loss, losses

    def _train_discriminators(self, of_real: Outputs, made: Tensor) -> Tensor:
        """One optimizer step of the discriminators; returns their loss."""
        judges_loss = discriminator_loss(of_real, self.judges(made.detach()))
        self.discriminator_optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(judges_loss)
        nn.utils.clip_grad_norm_(self.judges.parameters(), LARGEST_JUDGE_GRADIENT)
        self.discriminator_optimizer.step()
        return judges_loss

    def _adversarial(self, real: Tensor, made: Tensor, paired: Tensor) -> dict[str, Tensor]:
        """Train the discriminators, then return the adversarial losses of the vocoder.

        paired: (B,) bool, rows where `real` is the recording of the same mel; only these use feature matching.
        """
        of_real = self.judges(real)
        judges_loss = self._train_discriminators(of_real, made)
        self.judges.requires_grad_(False)
        of_made = self.judges(made)
        self.judges.requires_grad_(True)
        losses = {"judges": judges_loss, "adversarial": adversarial_loss(of_made)}
        wanted, found = ([[f[paired] for f in d] for d in outputs] for outputs in (of_real, of_made))
        losses["matching"] = torch.zeros((), device=made.device)
        if paired.any():
            wanted = [[f.detach() for f in d] for d in wanted]
            losses["matching"] = matching_loss(wanted, found, self.weights)
        return losses

    @torch.no_grad()
    def distances(self, drawn: ExcerptBatch, frames: Tensor) -> dict[str, float]:
        """Evaluation metrics of the moving average."""
        made, real = without_edges(self.average.render(frames)), without_edges(drawn.wave)
        return {"mel": float(F.l1_loss(mel_of(made), mel_of(real))), "stft": float(stft_loss(made, real))}


def train(
    work: Path,
    corpora: Sequence[Corpus],
    minutes: float,
    *,
    plan: Plan | None = None,
    stage: str = STAGE,
    adversarial_from: float = ADVERSARIAL_FROM,
    frozen_until: float | None = None,
    predicted: float = PREDICTED_SHARE,
) -> None:
    """Train one of `STAGES`; the second continues the first and needs the stage `pitch`.

    plan: default: the stage's entry in `CPU_PLANS`. adversarial_from: initial share of the first stage's budget without
    discriminators. frozen_until: initial share of the budget that trains only the discriminators; default: 0 in the
    first stage, `FROZEN_UNTIL` in the second. predicted: share of excerpts with S2Mel's mel in the second stage, among
    recordings that have one.
    """
    from recipes.tiny.corpus.pitch import add_pitch  # imports audio libraries that `vocoder_gpu` does not need

    continues = stage != STAGE
    plan = plan or CPU_PLANS[stage]
    if frozen_until is None:
        frozen_until = FROZEN_UNTIL if continues else 0.0
    torch.manual_seed(0)
    for corpus in corpora:
        add_pitch(corpus)
    generator = np.random.default_rng()
    trainer = Trainer(plan, torch.device("cpu"))
    if continues:
        for name in ("vocoder", "average"):
            trainer.modules[name].load_state_dict(stage_weights(work, STAGE)[name])
        trainer.vocoder.pitch_net.load_state_dict(stage_weights(work, "pitch")["average"])
        adversarial_from = 0.0
    run = Run(work, stage, minutes, trainer.modules, trainer.optimizers, clock=computing_time)
    training = Excerpts(corpora, plan.n_frames, held=False, predicted=predicted if continues else 0.0)
    held = Excerpts(corpora[:1], plan.n_frames, held=True)
    fixed = held.draw(N_EVALUATED, np.random.default_rng(0), gain=False)
    fixed_frames = frames_of(fixed, np.random.default_rng(1))

    def evaluate() -> None:
        run.write_log({"eval": {k: round(v, 4) for k, v in trainer.distances(fixed, fixed_frames).items()}})

    for step in run:
        drawn = training.draw(plan.batch, generator)
        frozen = run.progress < frozen_until
        adversarial = run.progress >= adversarial_from
        run.log(**trainer.step(step, drawn, generator, adversarial=adversarial, frozen=frozen))
        if step % EVALUATE_EVERY == EVALUATE_EVERY - 1:
            evaluate()
    evaluate()


def with_pitch_net(work: Path) -> IstftVocoder:
    """The trained vocoder with the trained pitch network, for inference."""
    vocoder = IstftVocoder(dims.VOCODER)
    last = PREDICTED_STAGE if stage_file(work, PREDICTED_STAGE).exists() else STAGE
    vocoder.load_state_dict(stage_weights(work, last)["average"])
    vocoder.pitch_net.load_state_dict(stage_weights(work, "pitch")["average"])
    return vocoder.eval()


def main() -> None:
    parser = stage_parser(__doc__, minutes=90)
    parser.add_argument("--adversarial-from", type=float, default=ADVERSARIAL_FROM, help="share without discriminators")
    parser.add_argument("--frozen-until", type=float, help="initial share of the budget for discriminators alone")
    parser.add_argument("--stage", choices=STAGES, default=STAGE)
    parser.add_argument("--predicted", type=float, default=PREDICTED_SHARE, help="share of excerpts with S2Mel's mel")
    args = stage_arguments(parser)
    corpora = [Corpus(c) for c in args.corpus]
    if args.stage == PREDICTED_STAGE and not any(c.has(PREDICTED_MEL) for c in corpora):
        parser.error("no corpus has predicted mels: make them with `python -m recipes.tiny.corpus.predicted_mels`")
    train(
        args.work,
        corpora,
        args.minutes,
        stage=args.stage,
        adversarial_from=args.adversarial_from,
        frozen_until=args.frozen_until,
        predicted=args.predicted,
    )


if __name__ == "__main__":
    main()
