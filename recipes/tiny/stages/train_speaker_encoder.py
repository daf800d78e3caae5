"""Stage `speaker_encoder`: trains CAM++ as a classifier of voices, for its embedding.

In: corpora with `fbank`. Out: `WORK/speaker_encoder/last.pt`. Each voice is a class. A voice resampled up or down is
another class, because it sounds like another person and there are only a few dozen voices. The loss is the additive
angular margin (Deng et al. 2019).

Evaluation: how often the embedding of a held-out recording is nearest to the mean of its own class.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgetts.models.campplus import SpeakerEncoder
from recipes.tiny import dims
from recipes.tiny.common import Run, adamw, stage_arguments, stage_parser
from recipes.tiny.corpus.data import Corpus

BATCH = 24
CROP_FRAMES = (120, 240)  # range; 100 frames per second
PEAK_LR = 2e-3
MARGIN = 0.2
SCALE = 24.0
EVALUATE_EVERY = 150


def class_of(item: dict[str, object]) -> str:
    """The class: voice, and whether it was resampled down (+) or up (-)."""
    factor = float(item.get("factor", 1.0))  # type: ignore[arg-type]
    return f"{item['voice']}{'' if factor == 1 else '+' if factor > 1 else '-'}"


def crops(chosen: Sequence[tuple[Corpus, int]], length: int, generator: np.random.Generator) -> Tensor:
    """Random crops (B, length, M), each minus its mean over time; short recordings are repeated."""
    rows = []
    for corpus, i in chosen:
        x = corpus.get("fbank", i)
        if len(x) < length:
            x = x.repeat(-(-length // len(x)), 1)
        start = int(generator.integers(0, len(x) - length + 1))
        x = x[start : start + length]
        rows.append(x - x.mean(0, keepdim=True))
    return torch.stack(rows)


class MarginHead(nn.Module):
    """Classifier with an additive angular margin; only used in training."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_classes, dims.STYLE))

    def forward(self, embedding: Tensor, labels: Tensor, margin: float) -> tuple[Tensor, Tensor]:
        """Embeddings (B, C) and labels (B,) -> loss and accuracy. margin: in radians."""
        cosine = F.normalize(embedding) @ F.normalize(self.weight).T
        angle = cosine.clamp(-1 + 1e-6, 1 - 1e-6).acos()
        own = F.one_hot(labels, len(self.weight)).bool()
        logits = SCALE * torch.where(own, (angle + margin).cos(), cosine)
        return F.cross_entropy(logits, labels), (cosine.argmax(1) == labels).float().mean()


def train(work: Path, corpora: Sequence[Corpus], minutes: float) -> None:
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    entries = [(c, i) for c in corpora for i in c.training()]
    names = sorted({class_of(c.items[i]) for c, i in entries})
    labels = {name: k for k, name in enumerate(names)}
    encoder, head = SpeakerEncoder(dims.SPEAKER_ENCODER), MarginHead(len(names))
    optimizer = adamw([encoder, head], PEAK_LR, decay=0.05)
    run = Run(work, "speaker_encoder", minutes, {"encoder": encoder, "head": head}, {"adamw": optimizer})

    def evaluate() -> float:
        encoder.eval()
        same = np.random.default_rng(0)
        held = [(c, i) for c in corpora for i in c.held_out()]
        known = [entries[k] for k in same.permutation(len(entries))[:600]]
        with torch.no_grad():
            embeddings = [encoder(crops(known[k : k + 40], 200, same)) for k in range(0, len(known), 40)]
            vectors = F.normalize(torch.cat(embeddings))
            means = torch.zeros(len(names), dims.STYLE)
            means.index_add_(0, torch.tensor([labels[class_of(c.items[i])] for c, i in known]), vectors)
            queries = F.normalize(
                torch.cat([encoder(crops(held[k : k + 40], 200, same)) for k in range(0, len(held), 40)])
            )
        right = (queries @ F.normalize(means).T).argmax(1)
        truth = torch.tensor([labels[class_of(c.items[i])] for c, i in held])
        encoder.train()
        return float((right == truth).float().mean())

    for step in run:
        chosen = [entries[k] for k in generator.integers(0, len(entries), BATCH)]
        x = crops(chosen, int(generator.integers(*CROP_FRAMES)), generator)
        truth = torch.tensor([labels[class_of(c.items[i])] for c, i in chosen])
        loss, accuracy = head(encoder(x), truth, MARGIN * min(1.0, 2 * run.progress))
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_([*encoder.parameters(), *head.parameters()], 5.0)
        optimizer.step()
        run.log(loss=loss.detach(), accuracy=accuracy)
        if step % EVALUATE_EVERY == EVALUATE_EVERY - 1:
            run.write_log({"eval": {"nearest": round(evaluate(), 4)}})
    run.write_log({"eval": {"nearest": round(evaluate(), 4)}})


def main() -> None:
    parser = stage_parser(__doc__, minutes=10)
    args = stage_arguments(parser)
    train(args.work, [Corpus(c) for c in args.corpus], args.minutes)


if __name__ == "__main__":
    main()
