"""Stage `gpt`: text to codes, trained together with the two conditioners.

In: corpora with `feat`, `codes` and `align` arrays, and their texts. Out: `WORK/gpt/last.pt` (GPT, conditioning, and
moving averages of both; the pack gets the averages). `gpt_data` makes the batches.

- Codes have the positions 0, 2, 3, ... in decoding and 0, 1, 2, ... in the latent pass (see `edgetts/models/gpt.py`).
  Training alternates between the two.
- Some input codes are replaced by random ones, so that the next code depends on the text, not only on earlier codes.
- Guided attention: one head in each of four layers is trained on the alignment (`recipes.tiny.corpus.align`). From a
  few hours of speech, a transformer learns the alignment only slowly without it.
- An auxiliary linear layer predicts the phone of each code from the hidden state. The GPT learns pronunciation sooner,
  and the latents, which are the same hidden states, carry the phones to S2Mel.

Evaluation: cross-entropy and accuracy on held-out recordings.
"""

from __future__ import annotations

import argparse
import copy
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgetts.models.conditioning import Conditioning
from edgetts.models.gpt import GPT
from edgetts.pack.config import GPTConfig
from recipes.tiny import dims
from recipes.tiny.common import Run, adamw, autocast, average_into, fast_attention, fast_muon
from recipes.tiny.corpus.data import Corpus, batches, mask_of, n_phones
from recipes.tiny.corpus.text import N_TOKENS, add_text
from recipes.tiny.stages.gpt_data import Batch, Sentences, joined

TOKENS_PER_BATCH = 3500
PEAK_LR_MATRICES = 2e-3  # Muon, with AdamW's update sizes
PEAK_LR_OTHERS = 1.5e-3
INIT_STD = 0.02
RANDOM_CODE_SHARE = 0.12
GUIDED = ((1, 0), (2, 0), (3, 0), (4, 0))  # (layer, head) trained on the alignment
GUIDE_WEIGHT = (1.0, 0.05)  # at the start, at the end
PHONE_WEIGHT = 0.5
GUIDE_WIDTH = 1.0  # text tokens
KEPT_LATENTS_WEIGHT = 1.0
AVERAGE_DECAY = 0.998
EVALUATE_EVERY = 300


def initialize(gpt: GPT) -> None:
    """Initialize the weights as in GPT-2; torch's default is too large for embeddings."""
    for name, parameter in gpt.named_parameters():
        if parameter.ndim < 2:
            continue
        scale = 1 / math.sqrt(2 * gpt.config.n_layers) if name.endswith("c_proj.weight") else 1.0
        nn.init.normal_(parameter, std=INIT_STD * scale)


def sequence(
    gpt: GPT, conditioning: Conditioning, batch: Batch, codes_in: Tensor, skip_position: bool
) -> tuple[Tensor, Tensor]:
    """Input embeddings (B, L, C) of voice, text and codes, concatenated and padded, and code positions (B, Tc + 1).

    skip_position: number the codes as in decoding.
    """
    with autocast("cpu"):
        latents = conditioning.speaker_latents(
            batch.reference, mask_of(batch.reference_lengths, batch.reference.shape[1])
        )
        emotion = conditioning.emotion_vector(batch.emotion, mask_of(batch.emotion_lengths, batch.emotion.shape[1]))
    head = gpt.condition(latents.float()[batch.reference_of], emotion.float()[batch.emotion_of])  # (B, Nc, C)
    return joined(gpt, head, batch.text, batch.text_lengths, codes_in, batch.code_lengths, skip_position=skip_position)


class Guide:
    """Guided attention: records the attention of the `GUIDED` heads and compares it with the alignment."""

    def __init__(self, gpt: GPT) -> None:
        self.captured: dict[int, Tensor] = {}
        for layer, _ in GUIDED:
            block = gpt.gpt.h[layer]
            block.attn.c_attn.register_forward_hook(  # type: ignore[union-attr]
                lambda _m, _i, out, layer=layer: self.captured.__setitem__(layer, out)
            )

    def loss(self, gpt: GPT, batch: Batch, where: Tensor) -> Tensor:
        """Cross-entropy between the attention of the last forward pass and a Gaussian around the aligned token."""
        size = gpt.config.head_dim
        n_head = gpt.n_conditioning_tokens
        longest = int(batch.text_lengths.max())
        tokens = torch.arange(longest)
        center = 1 + batch.align * (batch.text_lengths[:, None] - 2)  # (B, Tc)
        prior = (-0.5 * ((tokens - center[..., None]) / GUIDE_WIDTH).square()).exp()
        real = mask_of(batch.text_lengths)[:, None]  # (B, 1, Tt)
        prior = (prior * real).clamp_min(1e-9)
        prior = prior / prior.sum(-1, keepdim=True)
        spoken = mask_of(batch.code_lengths)
        total = torch.zeros(())
        for layer, head in GUIDED:
            qkv = self.captured[layer].float()  # (B, L, 3 C)
            query = qkv[..., head * size : (head + 1) * size]
            key = qkv[..., gpt.config.model_dim + head * size : gpt.config.model_dim + (head + 1) * size]
            query = query.gather(1, where[:, :-1, None].expand(-1, -1, size))  # (B, Tc, D)
            key = F.pad(key, (0, 0, 0, longest))[:, n_head : n_head + longest]  # (B, Tt, D)
            scores = (query @ key.transpose(1, 2)) * size**-0.5
            log_share = scores.masked_fill(~real, -1e4).log_softmax(-1)
            total = total - ((prior * log_share).sum(-1))[spoken].mean()
        return total / len(GUIDED)


def code_loss(gpt: GPT, hidden: Tensor, batch: Batch, where: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy and accuracy of the next code, including the stop code."""
    hidden = hidden.gather(1, where[..., None].expand(-1, -1, hidden.shape[-1]))  # (B, Tc + 1, C)
    targets = F.pad(batch.codes, (0, 1))
    rows = torch.arange(len(targets))
    targets[rows, batch.code_lengths] = gpt.config.stop_mel_token
    real = mask_of(batch.code_lengths + 1, targets.shape[1])
    with autocast("cpu"):
        logits = gpt.logits(hidden[real]).float()
    return F.cross_entropy(logits, targets[real]), (logits.argmax(-1) == targets[real]).float().mean()


def phone_loss(phone_head: nn.Module, hidden: Tensor, batch: Batch, where: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy and accuracy of the phone of the next code."""
    real = mask_of(batch.code_lengths)
    hidden = hidden.gather(1, where[:, :-1, None].expand(-1, -1, hidden.shape[-1]))[real]
    logits = phone_head(hidden)
    return F.cross_entropy(logits, batch.phones[real]), (logits.argmax(-1) == batch.phones[real]).float().mean()


class KeptLatents:
    """What S2Mel gets of the latents of the GPT that training started from, through its layers `gpt_layer`.

    loss: the share of its variance that differs in the latents of the GPT in training. Keeps S2Mel usable.
    """

    def __init__(self, work: Path, config: GPTConfig, conditioning: Conditioning) -> None:
        self.conditioning = conditioning
        self.before = GPT(config).eval().requires_grad_(False)
        self.before.load_state_dict(torch.load(work / "gpt" / "start.pt", weights_only=True)["average_gpt"])
        layers = torch.load(work / "s2mel" / "start.pt", weights_only=True)["average"]
        *firsts, _last = sorted(name for name in layers if name.startswith("gpt_layer.") and name.endswith(".weight"))
        self.map = torch.eye(config.model_dim)  # (R, C), to the input of the last of these layers
        for name in firsts:
            self.map = layers[name].float() @ self.map

    def loss(self, hidden: Tensor, batch: Batch, codes_in: Tensor) -> Tensor:
        """hidden: (B, L, C) of the latent pass."""
        with torch.no_grad():
            embeddings, where = sequence(self.before, self.conditioning, batch, codes_in, False)
            with autocast("cpu"):
                before = self.before(embeddings).float()
        real = mask_of(batch.code_lengths)
        wanted, found = (
            h.gather(1, where[:, :-1, None].expand(-1, -1, h.shape[-1]))[real] @ self.map.T for h in (before, hidden)
        )
        return (found - wanted).square().mean() / wanted.var(0).mean()


def optimizers_of(gpt: GPT, conditioning: Conditioning, lr_scale: float = 1.0) -> dict[str, torch.optim.Optimizer]:
    """Muon for the matrices of the GPT's layers, AdamW for all other parameters."""
    matrices = [p for p in gpt.gpt.h.parameters() if p.ndim == 2]
    others = nn.ModuleList([conditioning])
    rest = [p for n, p in gpt.named_parameters() if not (n.startswith("gpt.h.") and p.ndim == 2)]
    holder = nn.ParameterList(rest)
    return {
        "muon": torch.optim.Muon(
            matrices, lr=lr_scale * PEAK_LR_MATRICES, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"
        ),
        "adamw": adamw([others, holder], lr_scale * PEAK_LR_OTHERS, betas=(0.9, 0.95)),
    }


def train(
    work: Path,
    corpora: Sequence[Corpus],
    weights: Sequence[int],
    minutes: float,
    most_codes: int = dims.MAX_CODES,
    *,
    hybrid_share: float = 0.0,
    lr_scale: float = 1.0,
    keep_conditioning: bool = False,
    keep_latents: bool = False,
) -> None:
    """keep_conditioning: leave the conditioners as they are, on which voices and emotions of a pack depend.

    keep_latents: keep what the pack's S2Mel gets of the latents (`KeptLatents`); needs `init_from_pack`.
    """
    torch.manual_seed(0)
    generator = np.random.default_rng()
    config = dims.model_config(N_TOKENS, None, (1,) * 8)
    gpt, conditioning = GPT(config.gpt), Conditioning(config.conditioning)
    initialize(gpt)
    average_gpt, average_conditioning = copy.deepcopy(gpt), copy.deepcopy(conditioning)
    conditioning.requires_grad_(not keep_conditioning)
    guide = Guide(gpt)
    kept = KeptLatents(work, config.gpt, conditioning) if keep_latents else None
    phone_head = nn.Linear(dims.MODEL, n_phones(work))
    optimizers = optimizers_of(gpt, conditioning, lr_scale) | {"teller": adamw([phone_head], PEAK_LR_OTHERS)}
    modules = {  # the names are keys of the checkpoint
        "gpt": gpt,
        "conditioning": conditioning,
        "average_gpt": average_gpt,
        "average_conditioning": average_conditioning,
        "teller": phone_head,
    }
    run = Run(work, "gpt", minutes, modules, optimizers)
    sentences = Sentences(corpora, weights, held_out=False, most_codes=most_codes, hybrid_share=hybrid_share)
    held = Sentences(corpora[:1], weights[:1], held_out=True)
    loader = batches(sentences.lengths, TOKENS_PER_BATCH, generator)

    def evaluate() -> dict[str, float]:
        same = np.random.default_rng(0)
        losses, accuracies = [], []
        order = np.argsort(held.lengths)
        for start in range(0, len(order), 16):
            batch = held.batch(order[start : start + 16].tolist(), same)
            with torch.no_grad():
                embeddings, where = sequence(average_gpt, average_conditioning, batch, batch.codes, False)
                with autocast("cpu"):
                    hidden = average_gpt(embeddings).float()
                loss, accuracy = code_loss(average_gpt, hidden, batch, where)
            losses.append(float(loss))
            accuracies.append(float(accuracy))
        return {"cross_entropy": float(np.mean(losses)), "accuracy": float(np.mean(accuracies))}

    for step in run:
        batch = sentences.batch(next(loader), generator)
        noisy = torch.where(
            torch.rand(batch.codes.shape) < RANDOM_CODE_SHARE * min(1.0, step / 500),
            torch.randint(0, dims.CODEBOOK, batch.codes.shape),
            batch.codes,
        )
        embeddings, where = sequence(gpt, conditioning, batch, noisy, bool(step % 2))
        with autocast("cpu"):
            hidden = gpt(embeddings).float()
        cross_entropy, accuracy = code_loss(gpt, hidden, batch, where)
        guidance = guide.loss(gpt, batch, where)
        phones, phones_right = phone_loss(phone_head, hidden, batch, where)
        first, final = GUIDE_WEIGHT
        loss = cross_entropy + PHONE_WEIGHT * phones + (first + (final - first) * run.progress) * guidance
        if kept is not None and not step % 2:  # a latent pass
            changed = kept.loss(hidden, batch, noisy)
            loss = loss + KEPT_LATENTS_WEIGHT * changed
            run.log(latents_changed=changed.detach())
        for optimizer in optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_([p for p in [*gpt.parameters(), *conditioning.parameters()] if p.requires_grad], 1.0)
        for optimizer in optimizers.values():
            optimizer.step()
        decay = min(AVERAGE_DECAY, (step + 1) / (step + 20))
        average_into(average_gpt, gpt, decay)
        average_into(average_conditioning, conditioning, decay)
        run.log(
            cross_entropy=cross_entropy.detach(),
            accuracy=accuracy,
            guidance=guidance.detach(),
            phones_right=phones_right,
        )
        if step % EVALUATE_EVERY == EVALUATE_EVERY - 1:
            run.write_log({"eval": {k: round(v, 4) for k, v in evaluate().items()}})
    run.write_log({"eval": {k: round(v, 4) for k, v in evaluate().items()}})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, action="append", required=True)
    parser.add_argument("--weight", type=int, action="append", help="repetitions of each corpus per epoch, in order")
    parser.add_argument("--minutes", type=float, default=70)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--hybrid-share", type=float, default=0.0, help="of sentences that are joined within words")
    parser.add_argument("--lr-scale", type=float, default=1.0, help="of the peak learning rates, to train further")
    parser.add_argument("--keep-conditioning", action="store_true", help="do not train the conditioners")
    parser.add_argument("--keep-latents", action="store_true", help="keep what the pack's S2Mel gets of them")
    parser.add_argument(
        "--most-codes",
        type=int,
        default=dims.MAX_CODES,
        help="skip recordings with more codes; short ones teach the alignment sooner",
    )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    weights = args.weight or [1] * len(args.corpus)
    corpora = [Corpus(c) for c in args.corpus]
    add_text(args.work, corpora)
    with fast_attention(), fast_muon():
        train(
            args.work,
            corpora,
            weights,
            args.minutes,
            args.most_codes,
            hybrid_share=args.hybrid_share,
            lr_scale=args.lr_scale,
            keep_conditioning=args.keep_conditioning,
            keep_latents=args.keep_latents,
        )


if __name__ == "__main__":
    main()
