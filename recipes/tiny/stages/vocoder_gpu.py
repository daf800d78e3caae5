"""Trains the iSTFT vocoder on a remote GPU in minutes, from one small folder.

    python -m recipes.tiny.stages.vocoder_gpu pack --corpus CACHE --out BUNDLE        # here: recordings and their pitch
    python -m recipes.tiny.stages.vocoder_gpu train --bundle BUNDLE --out RESULT      # there: pitch, then vocoder
    python -m recipes.tiny.stages.vocoder_gpu take --result RESULT --work WORK        # here: weights for the stages

In: a cached corpus (`recipes.tiny.corpus.pitch`). Out: files of at most 16 MB, for `train_vocoder_istft` (to continue),
`swap_vocoder` and `evaluate_vocoder`. The remote machine needs torch, numpy, scipy, rich, soundfile and soxr. `train
--dry-run` runs a few small steps anywhere.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile as sf
import torch
from torch import Tensor, nn

from recipes.tiny import dims
from recipes.tiny.common import Run, stage_weights
from recipes.tiny.corpus.data import Corpus
from recipes.tiny.corpus.excerpts import Drawn, Excerpts
from recipes.tiny.stages.train_pitch import STAGE as PITCH_STAGE
from recipes.tiny.stages.train_pitch import PitchTrainer
from recipes.tiny.stages.train_vocoder_istft import CPU_PLAN, STAGE, Plan, Trainer, frames_of

MEGABYTES = 26.0
SPEECH, INDEX, PITCH = "speech.bin", "speech.json", "pitch.npz"
PITCH_STEP = 1e-3  # resolution of the stored pitch, periods per frame
PITCH_BATCH, PITCH_FRAMES = 128, 96
MINUTES, PITCH_MINUTES = 6.5, 0.6
ADVERSARIAL_FROM = 0.12  # of the vocoder's minutes
EVALUATE_EVERY = 500
N_EVALUATED = 128
AHEAD = 4  # batches prepared ahead
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


def pack(corpus: Corpus, out: Path, megabytes: float = MEGABYTES) -> int:
    """Write the bundle of training recordings, without held-out ones. Returns their number."""
    out.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(0).permutation(corpus.training())
    sizes: list[int] = []
    pitches: list[np.ndarray] = []
    with (out / SPEECH).open("wb") as speech:
        for i in order:
            content = Path(corpus.items[i]["path"]).read_bytes()
            pitch = np.rint(corpus.get("pitch", int(i)).numpy() / PITCH_STEP).astype(np.uint16)
            if sum(sizes) + len(content) > megabytes * 1e6:
                break
            speech.write(content)
            sizes.append(len(content))
            pitches.append(pitch)
    if not sizes:
        raise ValueError(f"no recording fits into {megabytes} MB")
    (out / INDEX).write_text(json.dumps(sizes))
    np.savez_compressed(out / PITCH, pitch=np.concatenate(pitches), sizes=[len(p) for p in pitches])
    return len(sizes)


def unpack(bundle: Path, cache: Path) -> Corpus:
    """The bundle as a cached corpus; every 40th recording of it is held out for validation."""
    sizes = json.loads((bundle / INDEX).read_text())
    ends = np.cumsum(sizes)
    content = (bundle / SPEECH).read_bytes()
    cache.mkdir(parents=True, exist_ok=True)

    def decode(i: int) -> np.ndarray:
        path = cache / f"{i}.part"
        path.write_bytes(content[ends[i] - sizes[i] : ends[i]])
        samples, rate = sf.read(path, dtype="int16")
        path.unlink()
        if rate != dims.SAMPLE_RATE or samples.ndim != 1:
            raise ValueError(f"recording {i} is not mono at {dims.SAMPLE_RATE} Hz")
        return np.asarray(samples)

    with ThreadPoolExecutor() as pool:
        waves = list(pool.map(decode, range(len(sizes))))
    stored = np.load(bundle / PITCH)
    pitches = np.split(stored["pitch"].astype(np.float32) * PITCH_STEP, np.cumsum(stored["sizes"])[:-1])
    (cache / "items.json").write_text(json.dumps([{"name": str(i)} for i in range(len(sizes))]))
    corpus = Corpus(cache)
    corpus.put("wav", [wave[: len(pitch) * dims.HOP] for wave, pitch in zip(waves, pitches, strict=True)])
    corpus.put("pitch", pitches)
    return corpus


def batches(excerpts: Excerpts, n: int, device: torch.device) -> Iterator[Drawn]:
    """Endless batches, prepared ahead in a thread."""
    generators = np.random.default_rng().spawn(AHEAD)
    with ThreadPoolExecutor(AHEAD) as pool:
        waiting = [pool.submit(excerpts.draw, n, g, device=device) for g in generators]
        while True:
            for k, generator in enumerate(generators):
                drawn = waiting[k].result()
                waiting[k] = pool.submit(excerpts.draw, n, generator, device=device)
                yield drawn


def train(bundle: Path, out: Path, minutes: float, device: torch.device, *, dry: bool) -> None:
    """Run both stages; moving averages and logs go to `out`, the rest to a temporary folder."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        _train(unpack(bundle, Path(folder) / "cache"), Path(folder) / "work", out, minutes, device, dry=dry)


def _train(corpus: Corpus, work: Path, out: Path, minutes: float, device: torch.device, *, dry: bool) -> None:
    started = time.monotonic()
    plan = DRY_PLAN if dry else GPU_PLAN
    generator = np.random.default_rng()
    pitch = PitchTrainer(device)
    run = Run(work, PITCH_STAGE, PITCH_MINUTES, pitch.modules, pitch.optimizers, warmup_steps=WARMUP_STEPS)
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
    left = minutes - (time.monotonic() - started) / 60
    run = Run(work, STAGE, left, trainer.modules, trainer.optimizers, warmup_steps=WARMUP_STEPS)
    training, held = (Excerpts([corpus], plan.n_frames, held=h) for h in (False, True))
    fixed = held.draw(N_EVALUATED if not dry else n, np.random.default_rng(0), gain=False, device=device)
    fixed_frames = frames_of(fixed, np.random.default_rng(1))
    drawing = batches(training, plan.batch, device)
    for step in run:
        adversarial = dry or run.progress >= ADVERSARIAL_FROM
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
    state: dict[str, Tensor] = {name: value.cpu() for name, value in module.state_dict().items()}
    torch.save(state, out / f"{stage}.pt")


def take(result: Path, work: Path) -> None:
    """Copy the results to where the stages start from, and where `stage_weights` finds them."""
    for stage, network in ((PITCH_STAGE, "pitch"), (STAGE, "vocoder")):
        state = torch.load(result / f"{stage}.pt", weights_only=True, map_location="cpu")
        folder = work / stage
        if (folder / "last.pt").exists():
            raise SystemExit(f"{folder / 'last.pt'} would go on from itself: give another --work, or move it away.")
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
