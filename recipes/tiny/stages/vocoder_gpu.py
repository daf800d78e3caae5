"""Trains the iSTFT vocoder on a remote GPU in minutes, from one small folder.

    python -m recipes.tiny.stages.vocoder_gpu pack --corpus CACHE --out BUNDLE        # locally: recordings and pitch
    python -m recipes.tiny.stages.vocoder_gpu train --bundle BUNDLE --out RESULT      # remotely: pitch, then vocoder
    python -m recipes.tiny.stages.vocoder_gpu take --result RESULT --work WORK        # locally: start weights

In: a cached corpus (`recipes.tiny.corpus.pitch`), preferably with predicted mels
(`recipes.tiny.corpus.predicted_mels`), which the second half of the vocoder's training uses. Out: files of at most
16 MB, for `train_vocoder_istft` (to continue), `swap_vocoder` and `evaluate_vocoder`. The remote machine needs
`recipes/`, `edgetts/`, torch, numpy and rich, but no other dependency of the package. `train --dry-run` runs a few
small steps on any machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from recipes.tiny.common import Run, stage_weights
from recipes.tiny.corpus.bundle import MEGABYTES, pack, unpack
from recipes.tiny.corpus.data import Corpus
from recipes.tiny.corpus.excerpts import PREDICTED_MEL, ExcerptBatch, Excerpts
from recipes.tiny.stages.train_pitch import STAGE as PITCH_STAGE
from recipes.tiny.stages.train_pitch import PitchTrainer
from recipes.tiny.stages.train_vocoder_istft import CPU_PLAN, PREDICTED_SHARE, STAGE, Plan, Trainer, frames_of

PITCH_BATCH, PITCH_FRAMES = 128, 96
MINUTES, PITCH_MINUTES = 6.5, 0.6
ADVERSARIAL_FROM, PREDICTED_FROM = 0.12, 0.5  # of the vocoder's minutes
EVALUATE_EVERY = 500
N_EVALUATED = 128
AHEAD = 4  # batches prepared in advance, one per thread
WARMUP_STEPS = 200
GPU_PLAN = Plan(
    batch=48,
    n_frames=72,
    periods=(2, 3, 5, 7, 11),
    period_widths=(32, 64, 128, 256),
    resolutions=(512, 1024, 2048),
    resolution_widths=(32, 48, 64, 64),
    resolution_strides=((1, 2), (1, 2), (1, 2), (1, 1)),
)
DRY_STEPS = 2
DRY_PLAN = dataclasses.replace(CPU_PLAN, batch=2, n_frames=24)


def batches(excerpts: Excerpts, n: int, device: torch.device) -> Iterator[ExcerptBatch]:
    """Endless batches, prepared in advance by `AHEAD` threads."""
    generators = np.random.default_rng().spawn(AHEAD)
    with ThreadPoolExecutor(AHEAD) as pool:
        waiting = [pool.submit(excerpts.draw, n, g, device=device) for g in generators]
        while True:
            for k, generator in enumerate(generators):
                drawn = waiting[k].result()
                waiting[k] = pool.submit(excerpts.draw, n, generator, device=device)
                yield drawn


def train(bundle: Path, out: Path, minutes: float, device: torch.device, *, dry: bool) -> None:
    """Run both stages. Moving averages and logs go to `out`, everything else to a temporary folder."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        _train(unpack(bundle, Path(folder) / "cache"), Path(folder) / "work", out, minutes, device, dry=dry)


def _train(corpus: Corpus, work: Path, out: Path, minutes: float, device: torch.device, *, dry: bool) -> None:
    started = time.monotonic()
    plan = DRY_PLAN if dry else GPU_PLAN
    generator = np.random.default_rng()
    pitch = PitchTrainer(device)
    run = Run(
        work, PITCH_STAGE, PITCH_MINUTES, pitch.modules, pitch.optimizers, warmup_steps=WARMUP_STEPS, curves=False
    )
    n = plan.batch if dry else PITCH_BATCH
    training, held = (Excerpts([corpus], PITCH_FRAMES, held=h) for h in (False, True))
    drawing = batches(training, n, device)
    for step in run:
        run.log(**pitch.step(step, next(drawing), generator))
        if dry and step == DRY_STEPS - 1:
            break
    fixed = held.draw(n, np.random.default_rng(0), gain=False, device=device)
    run.write_log({"eval": pitch.errors(fixed)})
    save(out, PITCH_STAGE, pitch.average)

    trainer = Trainer(plan, device)
    trainer.vocoder.pitch_net.load_state_dict(pitch.average.state_dict())
    left = minutes - (time.monotonic() - started) / 60
    run = Run(work, STAGE, left, trainer.modules, trainer.optimizers, warmup_steps=WARMUP_STEPS, curves=False)
    training, held = (Excerpts([corpus], plan.n_frames, held=h) for h in (False, True))
    fixed = held.draw(N_EVALUATED if not dry else n, np.random.default_rng(0), gain=False, device=device)
    fixed_frames = frames_of(fixed, np.random.default_rng(1))
    drawing = batches(training, plan.batch, device)
    for step in run:
        adversarial = dry or run.progress >= ADVERSARIAL_FROM
        if corpus.has(PREDICTED_MEL) and (dry or run.progress >= PREDICTED_FROM):
            training.predicted = PREDICTED_SHARE
        losses = trainer.step(step, next(drawing), generator, adversarial=adversarial)
        if step % 20 == 0:  # float() synchronizes with the device
            run.log(**losses)
        if step % EVALUATE_EVERY == EVALUATE_EVERY - 1:
            run.write_log({"eval": trainer.distances(fixed, fixed_frames)})
        if dry and step == DRY_STEPS - 1:
            break
    run.write_log({"eval": trainer.distances(fixed, fixed_frames)})
    save(out, STAGE, trainer.average)
    for stage in (PITCH_STAGE, STAGE):
        (out / f"{stage}.jsonl").write_text((work / stage / "log.jsonl").read_text())


def save(out: Path, stage: str, module: nn.Module) -> None:
    """Write the weights to `OUT/STAGE.pt`."""
    state: dict[str, Tensor] = {name: value.cpu() for name, value in module.state_dict().items()}
    torch.save(state, out / f"{stage}.pt")


def take(result: Path, work: Path) -> None:
    """Copy the results to `WORK/STAGE/start.pt`, where the stages start and `stage_weights` finds them.

    Raises SystemExit if a stage has a checkpoint already.
    """
    for stage, network in ((PITCH_STAGE, "pitch"), (STAGE, "vocoder")):
        state = torch.load(result / f"{stage}.pt", weights_only=True, map_location="cpu")
        folder = work / stage
        if (folder / "last.pt").exists():
            raise SystemExit(
                f"{folder / 'last.pt'} exists, and training would resume from it: give another --work, or move it."
            )
        folder.mkdir(parents=True, exist_ok=True)
        torch.save({network: state, "average": state}, folder / "start.pt")
        assert stage_weights(work, stage)["average"].keys() == state.keys()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    packing = verbs.add_parser("pack")
    packing.add_argument("--corpus", type=Path, required=True, help="cached corpus whose recordings are 22 050 Hz mono")
    packing.add_argument("--out", type=Path, required=True)
    packing.add_argument("--megabytes", type=float, default=MEGABYTES)
    training = verbs.add_parser("train")
    training.add_argument("--bundle", type=Path, required=True)
    training.add_argument("--out", type=Path, required=True)
    training.add_argument("--minutes", type=float, default=MINUTES)
    training.add_argument("--dry-run", action="store_true")
    taking = verbs.add_parser("take")
    taking.add_argument("--result", type=Path, required=True)
    taking.add_argument("--work", type=Path, required=True)
    args = parser.parse_args()
    if args.verb == "pack":
        print(f"{pack(Corpus(args.corpus), args.out, args.megabytes)} recordings in {args.out}")
    elif args.verb == "take":
        take(args.result, args.work)
    else:
        device = torch.device("cpu" if args.dry_run else "cuda")
        train(args.bundle, args.out, args.minutes, device, dry=args.dry_run)


if __name__ == "__main__":
    main()
