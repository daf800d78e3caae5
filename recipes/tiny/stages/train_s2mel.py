"""Stage `s2mel`: predicts the mel from codes, by flow matching.

In: corpora with `codes`, `heard`, `mel` and `fbank`, a trained codec and speaker encoder; for the second stage also a
trained GPT. Out: `WORK/STAGE/last.pt` (S2Mel and its moving average). `s2mel_data` makes the batches.

There are two stages. In `s2mel`, the condition is computed from the codebook features of the codes alone, and
`gpt_layer` returns zero. `s2mel_latents` continues with the GPT's latents. With `--further`, that stage trains a pack's
S2Mel (`init_from_pack`), with its layers for the latents.

A tenth of the items are trained without prompt, style and condition, for classifier-free guidance. Two auxiliary linear
layers predict the phone of each frame from the condition, and the mel from condition and style (the prior loss of Popov
et al. 2021, "Grad-TTS"). They speed up convergence.

The network learns the meaning of the codes near flow time 0, where the input contains almost none of the mel. Half of
the flow times are therefore early. The flow starts from less noise than usual (`NOISE_SCALE`), because a small network
leaves some noise in the mel, and words are clearer without it. At synthesis it starts from zeros (`noise_scale` in the
pack's defaults), which sounds better still.

Evaluation: the flow-matching error on held-out recordings at fixed times.
"""

from __future__ import annotations

import argparse
import copy
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgetts.models.s2mel import LatentS2Mel
from recipes.tiny import dims
from recipes.tiny.common import Run, adamw, autocast, average_into, fast_attention, fast_muon, stage_weights
from recipes.tiny.corpus.data import Corpus, n_phones
from recipes.tiny.corpus.text import N_TOKENS
from recipes.tiny.stages.s2mel_data import Batch, Pairs, add_latents, add_styles
from recipes.tiny.stages.train_codec import load_codec

NOISE_SCALE = 0.3
EARLY_SHARE = 0.5  # of items, drawn below EARLY_UNTIL
EARLY_UNTIL = 0.2
DROPPED_SHARE = 0.1  # of items without prompt, style and condition
WEIGHTS = {"flow": 1.0, "phones": 0.15, "prior": 0.5}
STAGES = ("s2mel", "s2mel_latents")
SOLVED_STAGE = "s2mel_solved"  # after them (`train_s2mel_solved`)
PEAK_LR_MATRICES = 8e-4  # Muon
PEAK_LR_OTHERS = 6e-4
LR_SCALES = {"s2mel": 1.0, "s2mel_latents": 0.8}
AVERAGE_DECAY = 0.998
EVALUATE_EVERY = 300


def flow_times(n: int, device: torch.device | None = None) -> Tensor:
    """Random flow times (n,); a share `EARLY_SHARE` of them is uniform below `EARLY_UNTIL`, the rest below 1."""
    times = torch.rand(n, device=device)
    return times * torch.where(torch.rand(n, device=device) < EARLY_SHARE, EARLY_UNTIL, 1.0)


class AuxiliaryHeads(nn.Module):
    """Auxiliary linear layers on the condition, which are only used in training."""

    def __init__(self, content_dim: int, phones: int, mean_mel: Tensor) -> None:
        super().__init__()
        self.phone = nn.Linear(content_dim, phones)
        self.mel = nn.Linear(content_dim + dims.STYLE, dims.N_MELS)
        self.mel.bias.data.copy_(mean_mel)

    def forward(self, condition: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Condition (B, T, C) -> cross-entropy of the phones, and mean absolute error of the mel."""
        styles = batch.style[:, None].expand(-1, condition.shape[1], -1)
        prior = self.mel(torch.cat([condition, styles], -1)).transpose(1, 2)
        phones = F.cross_entropy(self.phone(condition).flatten(0, 1), batch.phones.flatten())
        return phones, F.l1_loss(prior, batch.mel)


def flow_losses(
    model: LatentS2Mel, batch: Batch, t: Tensor, noise: Tensor, dropped: Tensor, auxiliary: AuxiliaryHeads
) -> dict[str, Tensor]:
    """The losses by their names in `WEIGHTS`; `flow` is the absolute plus half the squared error of the velocity.

    t: flow times (B,). noise: (B, M, Tt). dropped: (B,) bool, items without prompt, style and condition.
    """
    n_prompt, n_target = batch.prompt.shape[-1], batch.mel.shape[-1]
    with autocast(batch.mel.device.type):
        condition = torch.cat(
            [
                model.length_regulator(batch.prompt_semantic, n_prompt),
                model.length_regulator(batch.semantic, n_target),
            ],
            1,
        ).float()
        keep = (~dropped).float()[:, None, None]
        at = t[:, None, None]
        x = F.pad((1 - at) * noise + at * batch.mel, (n_prompt, 0))
        prompt = F.pad(batch.prompt, (0, n_target)) * keep
        velocity = model.estimator(x, prompt, t, batch.style * keep[:, 0], condition * keep)
    error = velocity.float()[..., n_prompt:] - (batch.mel - noise)
    phones, prior = auxiliary(condition[:, n_prompt:], batch)
    return {"flow": error.square().mean() * 0.5 + error.abs().mean(), "phones": phones, "prior": prior}


def train(
    work: Path,
    corpora: Sequence[Corpus],
    minutes: float,
    *,
    stage: str = "s2mel",
    further: bool = False,
    lr_scale: float = 1.0,
) -> None:
    """Train one of `STAGES`; the second continues the first. further: also the layers that read the latents."""
    torch.manual_seed(0)
    generator = np.random.default_rng()
    config = dims.model_config(N_TOKENS, None, (1,) * 8)
    codec = load_codec(work)
    model = LatentS2Mel(config.s2mel)
    latents = stage != "s2mel"
    if latents:
        model.load_state_dict(stage_weights(work, "s2mel")["average"])
    if not further:
        nn.init.zeros_(model.gpt_layer[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(model.gpt_layer[-1].bias)  # type: ignore[arg-type]
    average = copy.deepcopy(model)
    mean_mel = torch.cat([corpora[0].get("mel", i) for i in corpora[0].training()[:100]]).mean(0)
    auxiliary = AuxiliaryHeads(config.s2mel.dit.content_dim, n_phones(work), mean_mel)
    optimizers = optimizers_of(model, auxiliary, lr_scale * LR_SCALES[stage])
    run = Run(work, stage, minutes, {"s2mel": model, "average": average, "aims": auxiliary}, optimizers)
    pairs, held = Pairs(corpora, codec, False), Pairs(corpora[:1], codec, True)

    def evaluate() -> dict[str, float]:
        same = np.random.default_rng(0)
        fixed = torch.Generator().manual_seed(0)
        found: dict[str, list[float]] = defaultdict(list)
        for k in range(8):
            with torch.no_grad():
                batch = held.batch(same, average, latents)
                t = torch.full((len(batch.mel),), (k + 0.5) / 8)
                noise = NOISE_SCALE * torch.randn(batch.mel.shape, generator=fixed)
                none = torch.zeros(len(t), dtype=torch.bool)
                for name, loss in flow_losses(average, batch, t, noise, none, auxiliary).items():
                    found[name].append(float(loss))
        return {name: round(float(np.mean(values)), 4) for name, values in found.items()}

    for step in run:
        batch = pairs.batch(generator, model, latents)
        t = flow_times(len(batch.mel))
        dropped = torch.rand(len(t)) < DROPPED_SHARE
        noise = NOISE_SCALE * torch.randn(batch.mel.shape)
        parts = flow_losses(model, batch, t, noise, dropped, auxiliary)
        loss = sum((WEIGHTS[name] * part for name, part in parts.items()), torch.zeros(()))
        norm = stepped(model, optimizers, loss)
        average_into(average, model, min(AVERAGE_DECAY, (step + 1) / (step + 20)))
        run.log(**{name: part.detach() for name, part in parts.items()}, gradient=norm)
        if step % EVALUATE_EVERY == EVALUATE_EVERY - 1:
            run.write_log({"eval": evaluate()})
    run.write_log({"eval": evaluate()})


def stepped(model: nn.Module, optimizers: Mapping[str, torch.optim.Optimizer], loss: Tensor) -> Tensor:
    """One step along the gradient of the loss, which is clipped. Returns the gradient's norm before."""
    for optimizer in optimizers.values():
        optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers.values():
        optimizer.step()
    return norm


def optimizers_of(model: LatentS2Mel, auxiliary: AuxiliaryHeads, scale: float) -> dict[str, torch.optim.Optimizer]:
    """Muon for the matrices of the transformer, AdamW for all other parameters. scale: of the learning rates."""
    matrices = [p for p in model.estimator.transformer.layers.parameters() if p.ndim == 2]
    known = {id(p) for p in matrices}
    rest = nn.ParameterList([p for p in model.parameters() if id(p) not in known])
    return {
        "muon": torch.optim.Muon(
            matrices, lr=scale * PEAK_LR_MATRICES, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"
        ),
        "adamw": adamw([rest, auxiliary], scale * PEAK_LR_OTHERS, betas=(0.9, 0.95)),
    }


def final_weights(work: Path) -> dict[str, Tensor]:
    """The averaged weights of the last stage of S2Mel that was trained."""
    done = [stage for stage in (*STAGES, SOLVED_STAGE) if (work / stage / "last.pt").exists()]
    return stage_weights(work, done[-1] if done else STAGES[0])["average"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, action="append", required=True)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--stage", choices=STAGES, default=STAGES[0])
    parser.add_argument("--further", action="store_true", help="train a pack's S2Mel, with its layers for the latents")
    parser.add_argument("--lr-scale", type=float, default=1.0, help="of the peak learning rates, to train further")
    args = parser.parse_args()
    if args.further and args.stage == STAGES[0]:
        parser.error("--further needs --stage s2mel_latents")
    torch.set_num_threads(args.threads)
    corpora = [Corpus(c) for c in args.corpus]
    add_styles(args.work, corpora)
    if args.stage != STAGES[0]:
        add_latents(args.work, corpora)
    with fast_attention(), fast_muon():
        train(args.work, corpora, args.minutes, stage=args.stage, further=args.further, lr_scale=args.lr_scale)


if __name__ == "__main__":
    main()
