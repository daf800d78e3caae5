"""Stage `vocoder_istft`: the vocoder at the frame rate, mel spectrogram to waveform.

In: corpora with `wav` and `pitch`. Out: `WORK/vocoder_istft/last.pt` (vocoder, its running average, discriminators).
First spectra only, which takes minutes, then also against discriminators (`recipes.tiny.adversarial`). Sources follow
the recordings' pitch, from a random phase on; the pitch network is a stage of its own (`train_pitch`), which may run
before or after, and `with_pitch_net` puts both together.

Evaluates itself by distances of spectra of held-out excerpts, made with the recordings' pitch.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgetts.models.istft_vocoder import NUMBER, PHASE, SILENT_PITCH, IstftVocoder, pitch_rows, source_reach
from recipes.tiny import dims, istft_dims
from recipes.tiny.adversarial import (
    Discriminators,
    adversarial_loss,
    judge_loss,
    matching_loss,
    mel_of,
    stft_loss,
)
from recipes.tiny.common import Run, adamw, average_into, computing_time, stage_weights
from recipes.tiny.data import Corpus
from recipes.tiny.excerpts import Drawn, Excerpts

STAGE = "vocoder_istft"
BATCH = 10
FRAMES = 48  # 0.56 s, of which the outermost are not judged
EDGE = source_reach(istft_dims.VOCODER) + 1  # frames on either side whose sound is incomplete
PEAK_LR, DISCRIMINATOR_LR = 8e-4, 4e-4
BETAS = (0.8, 0.99)
ADVERSARIAL_FROM = 0.2  # of the budget
MEL_WEIGHT, STFT_WEIGHT, ADVERSARIAL_WEIGHT, FEATURE_WEIGHT = 10.0, 3.0, 1.0, 0.5
PERIODS, RESOLUTIONS = (2, 3, 5), (512, 1024, 2048)
# The phase of made speech is its own: folded waveforms match in kind, not sample by sample.
PERIOD_MATCHING, RESOLUTION_MATCHING = 0.2, 1.0
AVERAGE_DECAY = 0.998
EVALUATE_EVERY = 250
LONGEST_START = 1 << 14  # frames: noise begins anywhere
RESOLUTION_STRIDES = ((1, 2), (2, 2), (1, 2), (1, 2))


def discriminators() -> Discriminators:
    return Discriminators(PERIODS, RESOLUTIONS, resolution_strides=RESOLUTION_STRIDES)


def frames_of(drawn: Drawn, generator: np.random.Generator) -> Tensor:
    """What `IstftVocoder.render` takes, from the recordings' pitch and any phase."""
    voiced = drawn.pitch > 0
    rows = pitch_rows(torch.where(voiced, drawn.pitch, torch.full((), SILENT_PITCH)), voiced.float())
    n = len(rows)
    phase = torch.from_numpy(generator.random((n, 1))).float()
    first = torch.from_numpy(generator.integers(LONGEST_START, size=(n, 1))).float()
    rows[:, PHASE] = (rows[:, PHASE] + phase).remainder(1.0)
    rows[:, NUMBER] += first
    return torch.cat([drawn.mel, rows], dim=1)


def judged(wave: Tensor) -> Tensor:
    """Without the incomplete edges."""
    edge = EDGE * dims.HOP
    return wave[..., edge:-edge]


def train(work: Path, corpora: Sequence[Corpus], minutes: float, *, adversarial_from: float = ADVERSARIAL_FROM) -> None:
    torch.manual_seed(0)
    generator = np.random.default_rng()
    vocoder = istft_dims.fresh()
    vocoder.pitch_net.requires_grad_(False)
    average = copy.deepcopy(vocoder)
    judges = discriminators()
    made_by = adamw([vocoder], PEAK_LR, betas=BETAS)
    judged_by = adamw([judges], DISCRIMINATOR_LR, betas=BETAS)
    modules = {"vocoder": vocoder, "average": average, "judges": judges}
    run = Run(work, STAGE, minutes, modules, {"vocoder": made_by, "judges": judged_by}, clock=computing_time)
    training, held = Excerpts(corpora, FRAMES, held=False), Excerpts(corpora[:1], FRAMES, held=True)
    fixed = held.draw(64, np.random.default_rng(0), gain=False)
    fixed_frames = frames_of(fixed, np.random.default_rng(1))
    weights = (PERIOD_MATCHING,) * len(PERIODS) + (RESOLUTION_MATCHING,) * len(RESOLUTIONS)

    def evaluate() -> None:
        with torch.no_grad():
            made, real = judged(average.render(fixed_frames)), judged(fixed.wave)
            found = {
                "mel": float(F.l1_loss(mel_of(made), mel_of(real))),
                "stft": float(stft_loss(made, real)),
            }
        run.write_log({"eval": {k: round(v, 4) for k, v in found.items()}})

    for step in run:
        drawn = training.draw(BATCH, generator)
        real = judged(drawn.wave)
        with torch.autocast("cpu", torch.bfloat16):
            made = judged(vocoder.render(frames_of(drawn, generator)))
        mel_loss, spectral = F.l1_loss(mel_of(made), mel_of(real)), stft_loss(made, real)
        loss = MEL_WEIGHT * mel_loss + STFT_WEIGHT * spectral
        if run.progress >= adversarial_from:
            of_real, of_made = judges(real), judges(made.detach())
            verdict = judge_loss(of_real, of_made)
            judged_by.zero_grad(set_to_none=True)
            verdict.backward()
            nn.utils.clip_grad_norm_(judges.parameters(), 5.0)
            judged_by.step()
            judges.requires_grad_(False)
            of_made = judges(made)
            judges.requires_grad_(True)
            adversarial = adversarial_loss(of_made)
            matching = matching_loss([[f.detach() for f in d] for d in of_real], of_made, weights)
            loss = loss + ADVERSARIAL_WEIGHT * adversarial + FEATURE_WEIGHT * matching
            run.log(judges=verdict.detach(), adversarial=adversarial.detach(), matching=matching.detach())
        made_by.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(vocoder.parameters(), 10.0)
        made_by.step()
        average_into(average, vocoder, min(AVERAGE_DECAY, (step + 1) / (step + 20)))
        run.log(mel=mel_loss.detach(), stft=spectral.detach())
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, action="append", required=True)
    parser.add_argument("--minutes", type=float, default=90)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--adversarial-from", type=float, default=ADVERSARIAL_FROM, help="share of the budget")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    train(args.work, [Corpus(c) for c in args.corpus], args.minutes, adversarial_from=args.adversarial_from)


if __name__ == "__main__":
    main()
