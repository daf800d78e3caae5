"""Stage `vocoder`: BigVGAN, mel spectrogram to waveform.

In: corpora with `mel` and `wav`. Out: `WORK/vocoder/last.pt` (generator, its moving average, discriminators). Trained
on short excerpts, first with spectral losses only (multi-resolution STFT and mel), then also with discriminators
(`recipes.tiny.stages.adversarial`).

The anti-aliased activation dominates the time: the native kernel is used if built, else torch.compile.

Evaluation: log-mel distance of held-out excerpts.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgetts.backends.activation import snake_function
from edgetts.models import bigvgan
from edgetts.models.bigvgan import BigVGAN
from recipes.tiny import dims
from recipes.tiny.common import Run, adamw, average_into, stage_arguments, stage_parser
from recipes.tiny.corpus.data import Corpus
from recipes.tiny.mel import mel_of
from recipes.tiny.stages.adversarial import (
    Discriminators,
    adversarial_loss,
    judge_loss,
    matching_loss,
    stft_loss,
)

BATCH = 8
EXCERPT_FRAMES = 32  # 0.37 s
PEAK_LR = 1.5e-3
DISCRIMINATOR_LR = 4e-4
ADVERSARIAL_FROM = 0.5  # of the budget
MEL_WEIGHT, STFT_WEIGHT, FEATURE_WEIGHT, ADVERSARIAL_WEIGHT = 3.0, 2.0, 1.0, 0.7
AVERAGE_DECAY = 0.998
EVALUATE_EVERY = 400
SILENT_PEAK = 0.02  # excerpts below are mostly skipped


def sliced_snake(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """`bigvgan.anti_aliased_snake` written as sums of shifted slices, which compile into few loops."""
    taps = bigvgan.kaiser_sinc_filter()
    up = [bigvgan.RATIO * tap for tap in reversed(taps)]
    reach, length = bigvgan.PHASE_REACH, x.shape[-1]
    n = bigvgan.FILTER_TAPS // 2
    padded = F.pad(x, (reach, reach), mode="replicate")
    parts = [padded[..., k : k + length] for k in range(2 * reach + 1)]
    even = _sum(up[0::2][k] * parts[k] for k in range(n))
    odd = _sum(up[1::2][k] * parts[k + 1] for k in range(n))
    frequency, gain = alpha[:, None], beta.reciprocal()[:, None]
    even = even + gain * torch.sin(even * frequency).square()
    odd = odd + gain * torch.sin(odd * frequency).square()
    first = even[..., :1].expand(-1, -1, reach)
    last = odd[..., -1:].expand(-1, -1, reach)
    even = torch.cat([first, even, last], -1)
    odd = torch.cat([first, odd, last], -1)
    return _sum(taps[1::2][k] * even[..., k + 1 : k + 1 + length] for k in range(n)) + _sum(
        taps[0::2][k] * odd[..., k : k + length] for k in range(n)
    )


def _sum(terms: Iterable[Tensor]) -> Tensor:
    return functools.reduce(operator.add, terms)


def excerpts(corpora: Sequence[Corpus], n: int, generator: np.random.Generator, held: bool) -> tuple[Tensor, Tensor]:
    """mel (n, M, F) and waveform (n, S) of random places."""
    if held and not any(c.held_out() for c in corpora):
        raise ValueError("no recording is held out: the corpus is too small")
    mels: list[Tensor] = []
    waves: list[Tensor] = []
    size = EXCERPT_FRAMES * dims.HOP
    while len(mels) < n:
        corpus = corpora[int(generator.integers(len(corpora)))]
        i = int(generator.integers(len(corpus)))
        frames = corpus.length("mel", i)
        if (i in corpus.held_out()[:80]) != held or frames <= EXCERPT_FRAMES:
            continue
        start = int(generator.integers(frames - EXCERPT_FRAMES))
        wave = corpus.get("wav", i)[start * dims.HOP : start * dims.HOP + size].float() / 32768
        if len(wave) < size or (wave.abs().max() < SILENT_PEAK and generator.random() < 0.8):
            continue
        mels.append(corpus.get("mel", i)[start : start + EXCERPT_FRAMES].T)
        waves.append(wave)
    return torch.stack(mels), torch.stack(waves)


@contextlib.contextmanager
def activation(function: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Iterator[None]:
    """Replace BigVGAN's activation inside the block."""
    before = bigvgan.anti_aliased_snake
    bigvgan.anti_aliased_snake = function  # type: ignore[assignment]  # a function of other parameter names
    try:
        yield
    finally:
        bigvgan.anti_aliased_snake = before


def train(work: Path, corpora: Sequence[Corpus], minutes: float, *, compiled: bool, adversarial_from: float) -> None:
    """Train with the fastest activation; evaluate with the plain one."""
    fast = snake_function(torch.get_num_threads())
    if fast is bigvgan.anti_aliased_snake and compiled:
        fast = torch.compile(sliced_snake, dynamic=False)
    plain = bigvgan.anti_aliased_snake
    with activation(fast):
        _train(work, corpora, minutes, adversarial_from, plain)


def _train(
    work: Path,
    corpora: Sequence[Corpus],
    minutes: float,
    adversarial_from: float,
    plain: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> None:
    torch.manual_seed(0)
    generator = np.random.default_rng()
    vocoder = BigVGAN(dims.VOCODER)
    average = copy.deepcopy(vocoder)
    judges = Discriminators()
    made_by = adamw([vocoder], PEAK_LR, betas=(0.8, 0.95), decay=0.0)
    judged_by = adamw([judges], DISCRIMINATOR_LR, betas=(0.8, 0.95), decay=0.0)
    modules = {"vocoder": vocoder, "average": average, "judges": judges}
    run = Run(work, "vocoder", minutes, modules, {"vocoder": made_by, "judges": judged_by})
    held_mel, held_wave = excerpts(corpora[:1], 32, np.random.default_rng(0), held=True)

    def evaluate() -> dict[str, float]:
        with activation(plain), torch.no_grad():
            made = average(held_mel)
            return {
                "mel": float(F.l1_loss(mel_of(made), mel_of(held_wave))),
                "stft": float(stft_loss(made, held_wave)),
            }

    for step in run:
        mel, real = excerpts(corpora, BATCH, generator, held=False)
        made = vocoder(mel)
        mel_loss = F.l1_loss(mel_of(made), mel_of(real))
        spectral = stft_loss(made, real)
        loss = MEL_WEIGHT * mel_loss + STFT_WEIGHT * spectral
        if run.progress >= adversarial_from:
            verdict = judge_loss(judges(real), judges(made.detach()))
            judged_by.zero_grad(set_to_none=True)
            torch.autograd.backward(verdict)
            nn.utils.clip_grad_norm_(judges.parameters(), 5.0)
            judged_by.step()
            judges.requires_grad_(False)
            with torch.no_grad():
                real_features = judges(real)
            of_made = judges(made)
            adversarial = adversarial_loss(of_made)
            matching = matching_loss(real_features, of_made, (1.0,) * len(judges))
            judges.requires_grad_(True)
            loss = loss + ADVERSARIAL_WEIGHT * adversarial + FEATURE_WEIGHT * 0.2 * matching
            run.log(judges=verdict.detach(), adversarial=adversarial.detach(), matching=matching.detach())
        made_by.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(vocoder.parameters(), 10.0)
        made_by.step()
        average_into(average, vocoder, min(AVERAGE_DECAY, (step + 1) / (step + 20)))
        run.log(mel=mel_loss.detach(), stft=spectral.detach())
        if step % EVALUATE_EVERY == EVALUATE_EVERY - 1:
            run.write_log({"eval": {k: round(v, 4) for k, v in evaluate().items()}})
    run.write_log({"eval": {k: round(v, 4) for k, v in evaluate().items()}})


def main() -> None:
    parser = stage_parser(__doc__, minutes=60)
    parser.add_argument("--adversarial-from", type=float, default=ADVERSARIAL_FROM, help="share of the budget")
    parser.add_argument("--no-compile", action="store_true")
    args = stage_arguments(parser)
    train(
        args.work,
        [Corpus(c) for c in args.corpus],
        args.minutes,
        compiled=not args.no_compile,
        adversarial_from=args.adversarial_from,
    )


if __name__ == "__main__":
    main()
