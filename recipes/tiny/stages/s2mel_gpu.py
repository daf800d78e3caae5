"""Trains S2Mel on a remote GPU in minutes, from one small folder and a pack.

    python -m recipes.tiny.stages.s2mel_gpu pack --corpus CACHE --out BUNDLE [--pack PACK]   # locally: features
    export PYTHONPATH=BUNDLE/libraries                                                       # remotely
    python -m recipes.tiny.stages.s2mel_gpu train --bundle BUNDLE --out RESULT [--pack PACK]
    python -m recipes.tiny.stages.s2mel_gpu take --result RESULT --work WORK                 # locally: start weights

In: a cached corpus with codes (`relabel_codes`) and the features of `train_codec`, and the pack whose S2Mel is trained
further, by default the built-in one. Out: `RESULT/s2mel.pt` of 14 MB, which `export` writes into a pack. It is the
stage `s2mel_latents` of `train_s2mel`, with batches eight times as large that are drawn on the device. The remote
machine needs this checkout, torch, numpy and rich. `train --dry-run` runs a few small steps on any machine.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
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
from recipes.tiny import dims
from recipes.tiny.common import Run, average_into
from recipes.tiny.corpus.data import Corpus, is_held_out
from recipes.tiny.corpus.feature_bundle import MEGABYTES, Features, pack, unpack
from recipes.tiny.stages.s2mel_data import SHAPE_SHARES, SHAPES, Batch
from recipes.tiny.stages.train_s2mel import (
    DROPPED_SHARE,
    LR_SCALES,
    NOISE_SCALE,
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
EVALUATE_EVERY = 500
N_EVALUATED = 8  # batches
CANDIDATES = 12  # recordings of which the one with the nearest resampling factor is the reference
DRY_STEPS, DRY_BATCH = 2, 2


class DeviceItems:
    """The recordings of a bundle on a device, in random batches."""

    def __init__(self, features: Features, latents: Tensor, table: Tensor, device: torch.device, *, held: bool) -> None:
        """latents (T, C): of all codes; table (K, C): the codebook's features. held: only the held-out recordings."""
        self._mel = torch.from_numpy(features.mel).to(device)
        self._first_frame, self._n_frames = _offsets(features.n_frames), features.n_frames
        self._first_code, self._n_codes = _offsets(features.n_codes), features.n_codes
        self._codes, self._heard, self._phones = (
            torch.from_numpy(x.astype(np.int64)).to(device) for x in (features.codes, features.heard, features.phones)
        )
        self._style = torch.from_numpy(features.style).to(device)
        self._latents, self._table, self.device = latents, table, device
        own = [i for i in range(len(features.voice)) if is_held_out(i) == held]
        self._order = np.array(sorted(own, key=lambda i: features.n_frames[i]), dtype=np.int64)
        self._factor = features.factor
        by_voice: dict[tuple[int, bool], list[int]] = defaultdict(list)
        self._group = [(int(v), float(f) > 1) for v, f in zip(features.voice, features.factor, strict=True)]
        for i, group in enumerate(self._group):
            if not is_held_out(i):
                by_voice[group].append(i)
        self._by_voice = {group: np.array(members) for group, members in by_voice.items()}

    @property
    def longest(self) -> int:
        """Frames of the longest recording."""
        return int(self._n_frames[self._order[-1]])

    def batch(self, generator: np.random.Generator, model: LatentS2Mel, shape: tuple[int, int, int]) -> Batch:
        """shape: frames of prompt and target, and items."""
        n_prompt, n_target, size = shape
        n_target = min(n_target, self.longest - 2)
        m_prompt, n_codes = int(n_prompt / dims.FRAMES_PER_CODE), int(n_target / dims.FRAMES_PER_CODE) + 1
        first = int(np.searchsorted(self._n_frames[self._order], n_target + 2))
        chosen = self._order[generator.integers(first, len(self._order), size)]
        references = np.array([self._reference(int(i), generator) for i in chosen])
        cut = self._cut(generator, self._n_codes[chosen] - n_codes + 1)
        frame = np.minimum(np.rint(cut * dims.FRAMES_PER_CODE).astype(np.int64), self._n_frames[chosen] - n_target)
        at = np.minimum(cut[:, None] + np.arange(n_codes), self._n_codes[chosen][:, None] - 1)
        codes = self._index(self._first_code[chosen][:, None] + at)
        code_of = (torch.arange(n_target, device=self.device) / dims.FRAMES_PER_CODE).long()
        semantic = self._table[self._codes[codes]] + model.project_latents(self._latents[codes].float())

        cut = self._cut(generator, self._n_codes[references] - m_prompt)  # a recording that is too short is repeated
        start = np.minimum(np.rint(cut * dims.FRAMES_PER_CODE).astype(np.int64), self._n_frames[references] - n_prompt)
        frames = (np.maximum(start, 0)[:, None] + np.arange(n_prompt)) % self._n_frames[references][:, None]
        heard = (cut[:, None] + np.arange(m_prompt)) % self._n_codes[references][:, None]
        prompt = self._mel[self._index(self._first_frame[references][:, None] + frames)]
        return Batch(
            mel=self._mel[self._index(self._first_frame[chosen][:, None] + frame[:, None] + np.arange(n_target))]
            .float()
            .transpose(1, 2),
            semantic=semantic,
            prompt=prompt.float().transpose(1, 2),
            prompt_semantic=self._table[self._heard[self._index(self._first_code[references][:, None] + heard)]],
            style=self._style[self._index(references)],
            phones=self._phones[codes][:, code_of],
        )

    def _reference(self, i: int, generator: np.random.Generator) -> int:
        """A random other recording of the same voice, with a resampling factor close to that of recording `i`."""
        others = self._by_voice.get(self._group[i])
        if others is None:  # the voice has no other recording
            return i
        drawn = others[generator.integers(0, len(others), CANDIDATES)]
        usable = drawn[drawn != i] if (drawn != i).any() else drawn
        return int(usable[np.abs(self._factor[usable] - self._factor[i]).argmin()])

    def _cut(self, generator: np.random.Generator, room: np.ndarray) -> np.ndarray:
        starts: np.ndarray = generator.integers(0, np.maximum(room, 1))
        return starts

    def _index(self, index: np.ndarray) -> Tensor:
        return torch.from_numpy(index).to(self.device, non_blocking=True)


def _offsets(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)


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
    """Train the S2Mel of the pack `model` further. Its moving average and the log go to `out`."""
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
    items, held = (DeviceItems(features, latents, table, device, held=h) for h in (False, True))
    generator, n_evaluated = np.random.default_rng(), 1 if dry else N_EVALUATED
    with tempfile.TemporaryDirectory() as work:
        run = Run(Path(work), STAGE, minutes, {"s2mel": network}, optimizers, curves=False)
        run.write_log({"eval": errors(average, auxiliary, held, n_evaluated)})
        for step in run:
            n_prompt, n_target, size = SHAPES[generator.choice(len(SHAPES), p=SHAPE_SHARES)]
            batch = items.batch(generator, network, (n_prompt, n_target, DRY_BATCH if dry else LARGER * size))
            parts = _losses(network, auxiliary, batch, flow_times(len(batch.mel)).to(device), DROPPED_SHARE)
            loss = sum((WEIGHTS[name] * part for name, part in parts.items()), torch.zeros((), device=device))
            for optimizer in optimizers.values():
                optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            for optimizer in optimizers.values():
                optimizer.step()
            average_into(average, network, min(AVERAGE_DECAY, (step + 1) / (step + 20)))
            if step % 20 == 0:  # float() synchronizes with the device
                run.log(**{name: part.detach() for name, part in parts.items()})
            if step % EVALUATE_EVERY == EVALUATE_EVERY - 1:
                run.write_log({"eval": errors(average, auxiliary, held, n_evaluated)})
            if dry and step == DRY_STEPS - 1:
                break
        run.write_log({"eval": errors(average, auxiliary, held, n_evaluated)})
        (out / f"{STAGE}.jsonl").write_text((Path(work) / STAGE / "log.jsonl").read_text())
    torch.save({name: value.half().cpu() for name, value in average.state_dict().items()}, out / RESULT)


def _losses(
    model: LatentS2Mel, auxiliary: AuxiliaryHeads, batch: Batch, t: Tensor, dropped_share: float
) -> dict[str, Tensor]:
    dropped = torch.rand(len(t), device=t.device) < dropped_share
    noise = NOISE_SCALE * torch.randn(batch.mel.shape, device=t.device)
    return flow_losses(model, batch, t, noise, dropped, auxiliary)


@torch.no_grad()
def errors(model: LatentS2Mel, auxiliary: AuxiliaryHeads, held: DeviceItems, n_batches: int) -> dict[str, float]:
    """The losses on the held-out recordings, at fixed flow times and with fixed excerpts."""
    same, found, device = np.random.default_rng(0), defaultdict(list), held.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        for k in range(n_batches):
            batch = held.batch(same, model, SHAPES[0])
            t = torch.full((len(batch.mel),), (k + 0.5) / n_batches, device=device)
            for name, loss in _losses(model, auxiliary, batch, t, 0.0).items():
                found[name].append(float(loss))
    return {name: round(float(np.mean(values)), 4) for name, values in found.items()}


def take(result: Path, work: Path) -> None:
    """Copy the result to `WORK/s2mel/start.pt`, which `export` writes into a pack if no S2Mel was trained in `WORK`.

    Raises SystemExit if one was.
    """
    for stage in STAGES:
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
    packing.add_argument("--corpus", type=Path, required=True, help="cached corpus with codes and features")
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
        print(f"{pack(model, Corpus(args.corpus), args.out, args.megabytes)} recordings in {args.out}")
    else:
        device = torch.device("cpu" if args.dry_run else "cuda")
        train(args.bundle, args.out, args.pack or builtin_pack(), args.minutes, device, dry=args.dry_run)


if __name__ == "__main__":
    main()
