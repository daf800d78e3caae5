"""Trains S2Mel on a remote GPU in minutes, from one small folder and a pack.

    python -m recipes.tiny.stages.s2mel_gpu pack --corpus CACHE... --out BUNDLE [--pack PACK]   # locally: features
    export PYTHONPATH=BUNDLE/libraries                                                       # remotely
    python -m recipes.tiny.stages.s2mel_gpu train --bundle BUNDLE --out RESULT [--pack PACK]
    python -m recipes.tiny.stages.s2mel_gpu take --result RESULT --work WORK                 # locally: start weights

In: cached corpora with codes (`relabel_codes`) and the features of `train_codec`, and the pack whose S2Mel is trained
further, by default the built-in one. Out: `RESULT/s2mel.pt` of 14 MB, which `swap_s2mel` puts into a pack. It is the
stage `s2mel_latents` of `train_s2mel`, with batches eight times as large, in steps that the GPU replays. The remote
machine needs this checkout, torch, numpy and rich. `train --dry-run` runs a few small steps on any machine.
"""

from __future__ import annotations

import argparse
import copy
import math
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from edgetts.decoding.latents import LatentPass
from edgetts.decoding.prompt import GPTPrompt
from edgetts.models import registry
from edgetts.models.s2mel import LatentS2Mel
from edgetts.pack.load import Pack, open_pack
from edgetts.pack.locate import builtin_pack
from recipes.tiny.common import Run
from recipes.tiny.corpus.data import Corpus
from recipes.tiny.corpus.feature_bundle import MEGABYTES, Features, pack, unpack
from recipes.tiny.stages.replayed_step import ReplayedStep
from recipes.tiny.stages.s2mel_data import SHAPES, Batch, Shape, drawn_shape
from recipes.tiny.stages.s2mel_device_data import DeviceItems
from recipes.tiny.stages.train_s2mel import (
    DROPPED_SHARE,
    LR_SCALES,
    NOISE_SCALE,
    SOLVED_STAGE,
    STAGES,
    WEIGHTS,
    AuxiliaryHeads,
    flow_losses,
    flow_times,
    optimizers_of,
)

STAGE = STAGES[1]
RESULT = "s2mel.pt"
MINUTES = 6.0
LARGER = 8  # times the batch of the CPU
AVERAGE_DECAY = 0.9995
EVALUATE_EVERY = 2000
N_EVALUATED = 8  # batches
DRY_STEPS, DRY_BATCH = 2, 2


@torch.inference_mode()
def latents_of(model: Pack, features: Features, device: torch.device) -> Tensor:
    """The GPT's latents (T, C) fp16 of all codes, each recording in one of its voice's references."""
    gpt = registry.GPT.load(model, device)
    generator = np.random.default_rng(0)
    found, ends = [], np.cumsum(features.n_codes)
    for ids, voice, n, end in zip(features.ids, features.voice, features.n_codes, ends, strict=True):
        k = int(generator.integers(features.latents.shape[1]))
        head, emotion = (torch.from_numpy(x[voice, k]).float()[None] for x in (features.latents, features.emotions))
        prompt = GPTPrompt.build(gpt, head, emotion, torch.tensor([ids]))
        codes = features.codes[end - n : end].tolist()
        found.append(LatentPass(gpt, prompt, capacity=len(codes)).append(codes)[0].half())
    return torch.cat(found).clone()


def train(bundle: Path, out: Path, model: Path, minutes: float, device: torch.device, *, dry: bool) -> None:
    """Train the S2Mel of the pack `model` further. Its moving average and the log go to `out`.

    The average is written whenever it is better than before on held-out recordings of the bundle: the network could
    learn hours of speech by heart. minutes: from here on, the preparation included.
    """
    started = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    source, features = open_pack(model, home=out / "home"), unpack(bundle)
    latents = latents_of(source, features, device).clone()
    codec = registry.QUANTIZER.load(source, device)
    with torch.no_grad():
        table = codec.lookup(torch.arange(source.config.semantic_codec.codebook_size, device=device)[None])[0].clone()
    network = registry.LATENT_S2MEL.load(source, device).train().requires_grad_(True)
    average = copy.deepcopy(network).requires_grad_(False)
    mean_mel = torch.from_numpy(features.mel[:20_000].astype(np.float32)).mean(0)
    auxiliary = AuxiliaryHeads(source.config.s2mel.dit.content_dim, features.n_phones, mean_mel).to(device)
    optimizers = optimizers_of(network, auxiliary, LR_SCALES[STAGE])
    peak = optimizers["adamw"].param_groups[0]["lr"]
    items, held = (DeviceItems(features, latents, table, device, held=h) for h in (False, True))
    generator, n_evaluated = np.random.default_rng(), 1 if dry else N_EVALUATED

    def losses(numbers: Tensor, shape: Shape) -> dict[str, Tensor]:
        batch = items.gather(numbers, network, shape)
        parts = _losses(network, auxiliary, batch, flow_times(shape[2], device), DROPPED_SHARE)
        return {name: WEIGHTS[name] * part for name, part in parts.items()}

    parameters = [*network.parameters(), *auxiliary.parameters()]
    one_step = ReplayedStep(losses, parameters, list(optimizers.values()), (network, average), device)
    with tempfile.TemporaryDirectory() as work:
        spent = (time.monotonic() - started) / 60
        # Without the optimizers: the run would change their learning rates.
        rates = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
        run = Run(Path(work), STAGE, max(0.05, minutes - spent), {"s2mel": network}, {"rate": rates}, curves=False)
        run.write_log({"prepared_s": round(60 * spent, 1), "recordings": len(features.voice), "peak_lr": peak})
        run.write_log({"eval": errors(average, auxiliary, held, n_evaluated)})

        def keep_if_better(least: float) -> float:
            """Write the average if its error on held-out recordings is the least so far, which is returned."""
            found = errors(average, auxiliary, held, n_evaluated)
            run.write_log({"eval": found, **({"problem": one_step.problem} if one_step.problem else {})})
            if found["flow"] < least:
                torch.save({name: value.half().cpu() for name, value in average.state_dict().items()}, out / RESULT)
            return min(found["flow"], least)

        kept = math.inf
        for step in run:
            n_prompt, n_target, size = drawn_shape(SHAPES, generator)
            shape = items.fitting((n_prompt, n_target, DRY_BATCH if dry else LARGER * size))
            decay = min(AVERAGE_DECAY, (step + 1) / (step + 20))
            rate = rates.param_groups[0]["lr"]
            parts = one_step(items.draw(generator, shape), shape, rate=rate, decay=decay)
            if step % 50 == 0:  # float() synchronizes with the device
                run.log(**{name: part / WEIGHTS[name] for name, part in parts.items()})
            if step % EVALUATE_EVERY == EVALUATE_EVERY - 1:
                kept = keep_if_better(kept)
            if dry and step == DRY_STEPS - 1:
                break
        keep_if_better(kept)
        (out / f"{STAGE}.jsonl").write_text((Path(work) / STAGE / "log.jsonl").read_text())


def _losses(
    model: LatentS2Mel, auxiliary: AuxiliaryHeads, batch: Batch, t: Tensor, dropped_share: float
) -> dict[str, Tensor]:
    dropped = torch.rand(len(t), device=t.device) < dropped_share
    noise = NOISE_SCALE * torch.randn_like(batch.mel)
    return flow_losses(model, batch, t, noise, dropped, auxiliary)


@torch.no_grad()
def errors(model: LatentS2Mel, auxiliary: AuxiliaryHeads, held: DeviceItems, n_batches: int) -> dict[str, float]:
    """The losses on the held-out recordings, at fixed flow times and with fixed excerpts."""
    same, found, device = np.random.default_rng(0), defaultdict(list), held.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        for k in range(n_batches):
            batch = held.batch(same, model, SHAPES[0][0])
            t = torch.full((len(batch.mel),), (k + 0.5) / n_batches, device=device)
            for name, loss in _losses(model, auxiliary, batch, t, 0.0).items():
                found[name].append(float(loss))
    return {name: round(float(np.mean(values)), 4) for name, values in found.items()}


def take(result: Path, work: Path) -> None:
    """Copy the result to `WORK/s2mel/start.pt`, which `export` writes into a pack if no S2Mel was trained in `WORK`.

    Raises SystemExit if one was.
    """
    for stage in (*STAGES, SOLVED_STAGE):
        if (work / stage / "last.pt").exists():
            raise SystemExit(
                f"{work / stage / 'last.pt'} exists, and would be used instead: give another --work, or move it."
            )
    state = torch.load(result / RESULT, weights_only=True, map_location="cpu")
    state = {name: value.float() for name, value in state.items()}
    folder = work / STAGES[0]
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"s2mel": state, "average": state}, folder / "start.pt")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    packing = verbs.add_parser("pack")
    packing.add_argument(
        "--corpus", type=Path, action="append", required=True, help="with codes and features; may be given again"
    )
    packing.add_argument("--out", type=Path, required=True)
    packing.add_argument("--megabytes", type=float, default=MEGABYTES)
    training = verbs.add_parser("train")
    training.add_argument("--bundle", type=Path, required=True)
    training.add_argument("--out", type=Path, required=True)
    training.add_argument("--minutes", type=float, default=MINUTES)
    training.add_argument("--dry-run", action="store_true")
    for verb in (packing, training):
        verb.add_argument("--pack", type=Path, help="default: the built-in one")
    taking = verbs.add_parser("take")
    taking.add_argument("--result", type=Path, required=True)
    taking.add_argument("--work", type=Path, required=True)
    args = parser.parse_args()
    if args.verb == "take":
        take(args.result, args.work)
    elif args.verb == "pack":
        model = open_pack(args.pack or builtin_pack())
        print(f"{pack(model, [Corpus(c) for c in args.corpus], args.out, args.megabytes)} recordings in {args.out}")
    else:
        device = torch.device("cpu" if args.dry_run else "cuda")
        train(args.bundle, args.out, args.pack or builtin_pack(), args.minutes, device, dry=args.dry_run)


if __name__ == "__main__":
    main()
