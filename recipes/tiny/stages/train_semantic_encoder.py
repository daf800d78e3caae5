"""Stage `semantic_encoder`: a small conformer with the architecture of w2v-BERT, trained to recognize phones.

In: corpora with `sem` features and phones. Out: `WORK/semantic_encoder/last.pt`, with the encoder and, for the codec
stage, the recognizer on top. Both are trained with CTC on phones. The recognizer has a conformer layer of its own, so
the features of the encoder describe every frame, not only the spikes of CTC.

Resampled copies of the recordings have a different voice but the same words, which makes the features less dependent on
the speaker.
Evaluation: phone error rate on held-out recordings.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgetts.models import w2v_bert
from edgetts.models.w2v_bert import EncoderLayer, SemanticEncoder
from recipes.tiny import dims
from recipes.tiny.common import Run, adamw, autocast, stage_arguments, stage_parser
from recipes.tiny.corpus.data import Corpus, batches, mask_of, pad, phone_letters

FRAMES_PER_BATCH = 2400
PEAK_LR = 1.2e-3
MASKED_BANDS = 40  # of 160; fewer are masked
MASKED_FRAMES = 12  # per span; fewer are masked
EVALUATE_EVERY = 400


def fast_attention(self: w2v_bert.SelfAttention, x: Tensor, mask: Tensor | None) -> Tensor:
    """Same result as the network's attention, with a cheaper gradient: a skewed view replaces gather."""
    q, k, v = (self._heads(linear(x)) for linear in (self.linear_q, self.linear_k, self.linear_v))
    batch, heads, time = q.shape[:3]
    scores = q @ self.distance_embedding.weight.T * self.head_dim**-0.5  # (B, H, T, n_distances)
    left, right, last = self.left_max, self.right_max, time - 1
    parts = []
    if last > left:
        parts.append(scores[..., :1].expand(-1, -1, -1, last - left))
    parts.append(scores[..., max(0, left - last) : scores.shape[-1] - max(0, right - last)])
    if last > right:
        parts.append(scores[..., -1:].expand(-1, -1, -1, last - right))
    flat = torch.cat(parts, -1).flatten(2)[..., last:]  # row i, column distance + last
    flat = F.pad(flat, (0, time * 2 * last - flat.shape[-1]))
    bias = flat.view(batch, heads, time, 2 * last)[..., :time]
    if mask is not None:
        bias = bias.masked_fill(~mask[:, None, None, :], torch.finfo(bias.dtype).min)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    projected: Tensor = self.linear_out(out.transpose(1, 2).flatten(2))
    return projected


class Recognizer(nn.Module):
    """A conformer layer and a linear layer: features -> log-probabilities of blank and phones (B, T, n + 1)."""

    def __init__(self, n_phones: int) -> None:
        super().__init__()
        self.layer = EncoderLayer(dims.SEMANTIC_ENCODER)
        self.head = nn.Linear(dims.SEMANTIC, n_phones + 1)

    def forward(self, features: Tensor, mask: Tensor | None) -> Tensor:
        logits: Tensor = self.head(self.layer(features, mask))
        return logits.float().log_softmax(-1)


def ctc(log_probs: Tensor, lengths: Tensor, targets: Sequence[Tensor]) -> Tensor:
    """CTC loss of log-probabilities (B, T, n + 1); blank is 0."""
    target_lengths = torch.tensor([len(t) for t in targets])
    return F.ctc_loss(log_probs.transpose(0, 1), torch.cat(list(targets)), lengths, target_lengths, zero_infinity=True)


def error_rate(log_probs: Tensor, lengths: Tensor, targets: Sequence[Tensor]) -> tuple[int, int]:
    """Total edit distance of greedy CTC decoding, and the number of target phones."""
    edits = total = 0
    for row, n, target in zip(log_probs.argmax(-1), lengths, targets, strict=True):
        path = torch.unique_consecutive(row[: int(n)])
        edits += edit_distance(path[path > 0].tolist(), target.tolist())
        total += len(target)
    return edits, total


def edit_distance(a: Sequence[int], b: Sequence[int]) -> int:
    """Levenshtein distance."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (x != y))
    return row[-1]


def mask_features(x: Tensor, generator: np.random.Generator) -> Tensor:
    """A copy of features (T, 160) with two spans of frames and one span of bands masked (SpecAugment)."""
    x = x.clone()
    for _ in range(2):
        start, width = generator.integers(0, max(1, len(x))), generator.integers(0, MASKED_FRAMES)
        x[start : start + width] = 0
    start, width = generator.integers(0, 80), generator.integers(0, MASKED_BANDS // 2)
    bands = slice(start, min(80, start + width))
    x.view(len(x), 2, 80)[:, :, bands] = 0
    return x


def train(work: Path, corpora: Sequence[Corpus], minutes: float, *, keep_encoder: bool = False) -> None:
    """Train the encoder and the recognizer. keep_encoder: train only the recognizer, on the encoder's start weights."""
    w2v_bert.SelfAttention.forward = fast_attention  # type: ignore[method-assign]
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    phones = sorted({p for c in corpora[:1] for it in c.items for p in phone_letters(it["phones"])})
    number = {p: i + 1 for i, p in enumerate(phones)}
    (work / "semantic_encoder").mkdir(parents=True, exist_ok=True)
    (work / "phones.txt").write_text("".join(phones))

    def target(corpus: Corpus, i: int) -> Tensor:
        letters = phone_letters(corpus.items[i]["phones"])
        return torch.tensor([number[p] for p in letters if p in number])

    encoder, recognizer = SemanticEncoder(dims.SEMANTIC_ENCODER), Recognizer(len(phones))
    encoder.requires_grad_(not keep_encoder)
    optimizer = adamw([encoder, recognizer], PEAK_LR)
    run = Run(
        work,
        "semantic_encoder",
        minutes,
        {"encoder": encoder, "recognizer": recognizer},
        {"adamw": optimizer},
    )
    entries = [(c, i) for c in corpora for i in c.training()]
    loader = batches([c.length("sem", i) for c, i in entries], FRAMES_PER_BATCH, generator)

    def forward(x: Tensor, lengths: Tensor) -> Tensor:
        mask = mask_of(lengths)
        with autocast("cpu"):
            probabilities: Tensor = recognizer(encoder(x, mask), mask)
        return probabilities

    def evaluate() -> float:
        encoder.eval(), recognizer.eval()
        edits = total = 0
        held = corpora[0].held_out()
        for start in range(0, len(held), 16):
            part = held[start : start + 16]
            x, lengths = pad([corpora[0].get("sem", i) for i in part])
            with torch.no_grad():
                e, t = error_rate(forward(x, lengths), lengths, [target(corpora[0], i) for i in part])
            edits, total = edits + e, total + t
        encoder.train(not keep_encoder), recognizer.train()
        return edits / total

    encoder.train(not keep_encoder)
    for step in run:
        chosen = [entries[k] for k in next(loader)]
        x, lengths = pad([mask_features(c.get("sem", i), generator) for c, i in chosen])
        loss = ctc(forward(x, lengths), lengths, [target(c, i) for c, i in chosen])
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        norm = nn.utils.clip_grad_norm_([*encoder.parameters(), *recognizer.parameters()], 5.0)
        optimizer.step()
        run.log(ctc=loss.detach(), gradient=norm)
        if step % EVALUATE_EVERY == EVALUATE_EVERY - 1:
            run.write_log({"eval": {"phone_error_rate": round(evaluate(), 4)}})
    run.write_log({"eval": {"phone_error_rate": round(evaluate(), 4)}})


def main() -> None:
    parser = stage_parser(__doc__, minutes=30)
    parser.add_argument("--keep-encoder", action="store_true", help="train only the recognizer, for `align`")
    args = stage_arguments(parser)
    train(args.work, [Corpus(c) for c in args.corpus], args.minutes, keep_encoder=args.keep_encoder)


if __name__ == "__main__":
    main()
