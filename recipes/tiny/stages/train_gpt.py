"""Stage `gpt`: text to codes, together with the two conditioners.

In: corpora with `feat`, `codes` and `align` arrays, and their texts. Out: `WORK/gpt/last.pt` (GPT,
conditioning, and running averages of both, which are what the pack gets).

- The conditioners hear *another* recording of the same voice, so that no words leak through them; the
  emotion conditioner now and then hears the sentence itself, so that it learns what varies within a voice.
- Positions of codes: decoding skips position 1, the later pass for the latents does not (see
  `edgetts/models/gpt.py`), so both are trained, in turn.
- Some input codes are replaced by random ones: the next code must come from the text, not only from the
  codes before.
- One head in each of four layers is shown where the speech is in the text (`recipes.tiny.corpus.align`); with a few
  hours
  of speech a transformer is slow to find that out alone.

- Most sentences are put together from pieces of several of the same voice, cut between words (`spliced`): a few
  thousand sentences are soon known by heart, and what is known by heart is not read: words are left out.
- What predicts a code must also tell its phone, to a linear layer: how letters sound is learned sooner, and the
  latents, which are the same numbers, tell S2Mel.

Evaluates itself by cross-entropy and accuracy on held-out recordings.
"""

from __future__ import annotations

import argparse
import copy
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgetts.models.conditioning import Conditioning
from edgetts.models.gpt import GPT
from recipes.tiny import dims
from recipes.tiny.common import Run, adamw, autocast, average_into, fast_attention
from recipes.tiny.corpus.data import Corpus, batches, mask_of, n_phones, pad
from recipes.tiny.corpus.text import N_SPELLED, N_TOKENS, SPACE, TOKENS, add_text, reading_of

TOKENS_PER_BATCH = 3500
PEAK_LR_MATRICES = 2e-3  # Muon, with update sizes as AdamW's
PEAK_LR_OTHERS = 1.5e-3
INIT_STD = 0.02
REFERENCE_FRAMES = (80, 200)  # of the recording that conditions
OWN_EMOTION_SHARE = 0.25  # of batches whose emotion is heard in the sentence itself
RANDOM_CODE_SHARE = 0.12
GUIDED = ((1, 0), (2, 0), (3, 0), (4, 0))  # (layer, head) that are shown the alignment
GUIDE_WEIGHT = (1.0, 0.05)  # at the start and at the end
PHONE_WEIGHT = 0.5
SPELLED_READING_SHARE = 0.3  # of sentences
SPLICED_SHARE = 0.6  # of sentences that are put together from pieces of several
MOST_PIECES = 6
MOST_WORDS = 5  # of a piece that is not the last
FEWEST_CODES = 20
SPACE_TOKEN = TOKENS.index(SPACE)
GUIDE_WIDTH = 1.0  # text tokens
AVERAGE_DECAY = 0.998
EVALUATE_EVERY = 300


@dataclass
class Batch:
    text: Tensor  # (B, Tt) with start and stop
    text_lengths: Tensor  # (B,)
    codes: Tensor  # (B, Tc)
    code_lengths: Tensor  # (B,)
    align: Tensor  # (B, Tc) share of the sentence already spoken
    phones: Tensor  # (B, Tc) spoken while the code lasts
    reference: Tensor  # (R, Tr, C) recordings that condition, R <= B: rows of one voice may share one
    reference_lengths: Tensor
    emotion: Tensor  # (R or B, Te, C)
    emotion_lengths: Tensor
    reference_of: Tensor  # (B,) which of R
    emotion_of: Tensor  # (B,)


@dataclass
class Row:
    """One sentence, or one that was put together."""

    ids: Tensor  # (Tt,) with start and stop
    codes: Tensor  # (Tc,)
    align: Tensor  # (Tc,)
    phones: Tensor  # (Tc,)

    def words(self) -> tuple[Tensor, Tensor]:
        """Where words begin: among the tokens (start and stop not counted), and among the codes."""
        tokens = self.ids[1:-1]
        starts = (tokens == SPACE_TOKEN).nonzero()[:, 0]
        return starts, torch.searchsorted(self.position(), starts.float())

    def position(self) -> Tensor:
        """(Tc,) the token that is spoken, rising."""
        return self.align * (len(self.ids) - 2) + 0.5


def spliced(rows: Sequence[Row], longest: int, generator: np.random.Generator) -> Row:
    """The first words of the first sentence, some of each of the others and the last of the last, at most `longest`
    codes; the first sentence as it is when nothing fits. The codes of the words are those that were spoken, so there
    is more to learn than whole sentences by heart, and no words to guess from those before."""
    tokens, positions, codes, phones = [], [], [], []
    n_tokens = n_codes = 0
    tail = _piece(rows[-1], generator, first=False, last=True)
    for k, row in enumerate(rows):
        is_last = k == len(rows) - 1
        piece = tail if is_last else _piece(row, generator, first=k == 0, last=False)
        if piece is None or (not is_last and n_codes + len(piece.codes) + len(tail.codes if tail else ()) > longest):
            continue
        tokens.append(piece.ids)
        positions.append(piece.align + n_tokens)
        codes.append(piece.codes)
        phones.append(piece.phones)
        n_tokens, n_codes = n_tokens + len(piece.ids), n_codes + len(piece.codes)
    if not FEWEST_CODES <= n_codes <= longest:
        return rows[0]
    ids = torch.cat([rows[0].ids[:1], *tokens, rows[0].ids[-1:]])
    share = ((torch.cat(positions) - 0.5) / n_tokens).clamp(0, 1)
    return Row(ids, torch.cat(codes), share, torch.cat(phones))


def _piece(row: Row, generator: np.random.Generator, *, first: bool, last: bool) -> Row | None:
    """Some words of a sentence: from its start with `first`, to its end with `last`. Without start and stop tokens, and
    `align` counts tokens from the piece's first."""
    starts, frames = row.words()
    n = len(starts)
    if n == 0:
        return None
    a = 0 if first else int(generator.integers(n))
    b = n if last else int(generator.integers(a + 1, min(n, a + MOST_WORDS) + 1))
    bounds = [*starts.tolist(), len(row.ids) - 2], [*frames.tolist(), len(row.codes)]
    (t0, t1), (c0, c1) = ((bound[a], bound[b]) for bound in bounds)
    if first:
        t0 = c0 = 0
    position = row.position()[c0:c1] - t0
    return Row(row.ids[1 + t0 : 1 + t1], row.codes[c0:c1], position, row.phones[c0:c1])


class Sentences:
    """Sentences with codes, and other recordings of the same voice for each."""

    def __init__(
        self, corpora: Sequence[Corpus], weights: Sequence[int], held_out: bool, most_codes: int = dims.MAX_CODES
    ) -> None:
        self.entries: list[tuple[Corpus, int]] = []
        self.by_voice: dict[tuple[Path, str], list[int]] = defaultdict(list)
        for corpus, weight in zip(corpora, weights, strict=True):
            for i in corpus.training():
                self.by_voice[corpus.folder, corpus.items[i]["voice"]].append(i)
            chosen = corpus.held_out() if held_out else corpus.training() * weight
            for i in chosen:
                if 0 < corpus.length("text", i) <= dims.MAX_TEXT and corpus.length("codes", i) <= most_codes:
                    self.entries.append((corpus, i))
        self.varied = not held_out
        self.lengths = [c.length("text", i) + c.length("codes", i) + dims.N_LATENTS + 5 for c, i in self.entries]

    def row(self, corpus: Corpus, i: int, reading: int = 0) -> Row:
        ids = torch.tensor([0, *corpus.get(reading_of("text", reading), i).tolist(), 1])
        align = corpus.get(reading_of("align", reading), i)
        return Row(ids, corpus.get("codes", i).long(), align, corpus.get("phone", i).long())

    def _varied_row(self, corpus: Corpus, i: int, generator: np.random.Generator) -> Row:
        """As a rule in the usual reading."""
        spelled = generator.random() < SPELLED_READING_SHARE
        return self.row(corpus, i, int(generator.integers(1, 1 + N_SPELLED)) if spelled else 0)

    def _rows(self, chosen: Sequence[tuple[Corpus, int]], generator: np.random.Generator) -> list[Row]:
        rows = []
        for corpus, i in chosen:
            if not self.varied:
                rows.append(self.row(corpus, i))
                continue
            row = self._varied_row(corpus, i, generator)
            if generator.random() < SPLICED_SHARE:
                others = self.by_voice[corpus.folder, corpus.items[i]["voice"]]
                drawn = generator.choice(others, int(generator.integers(1, MOST_PIECES)))
                rest = [self._varied_row(corpus, int(k), generator) for k in drawn]
                row = spliced([row, *rest], len(row.codes), generator)
            rows.append(row)
        return rows

    def batch(self, positions: Sequence[int], generator: np.random.Generator) -> Batch:
        chosen = [self.entries[k] for k in positions]
        n_reference = int(generator.integers(*REFERENCE_FRAMES))
        own = generator.random() < OWN_EMOTION_SHARE
        numbers: dict[tuple[Path, str], int] = {}  # one reference for all rows of a voice saves time
        references: list[Tensor] = []
        reference_of = []
        taken = {(c.folder, i) for c, i in chosen}
        for corpus, i in chosen:
            voice = (corpus.folder, corpus.items[i]["voice"])
            if voice not in numbers:
                numbers[voice] = len(references)
                others = self.by_voice[voice]
                other = others[generator.integers(len(others))]
                for _ in range(9):
                    if (corpus.folder, other) not in taken:
                        break
                    other = others[generator.integers(len(others))]
                references.append(_crop(corpus.get("feat", other), n_reference, generator))
            reference_of.append(numbers[voice])
        emotions = [_crop(c.get("feat", i), n_reference, generator) for c, i in chosen] if own else references
        emotion_of = torch.arange(len(chosen)) if own else torch.tensor(reference_of)
        rows = self._rows(chosen, generator)
        text, text_lengths = pad([row.ids for row in rows])
        codes, code_lengths = pad([row.codes for row in rows])
        align, _ = pad([row.align for row in rows])
        phones, _ = pad([row.phones for row in rows])
        return Batch(
            text,
            text_lengths,
            codes,
            code_lengths,
            align,
            phones,
            *pad(references),
            *pad(emotions),
            torch.tensor(reference_of),
            emotion_of,
        )


def _crop(features: Tensor, length: int, generator: np.random.Generator) -> Tensor:
    start = int(generator.integers(0, max(1, len(features) - length)))
    return features[start : start + length]


def initialize(gpt: GPT) -> None:
    """GPT-2's initialization; the modules' own is too large for embeddings."""
    for name, parameter in gpt.named_parameters():
        if parameter.ndim < 2:
            continue
        scale = 1 / math.sqrt(2 * gpt.config.n_layers) if name.endswith("c_proj.weight") else 1.0
        nn.init.normal_(parameter, std=INIT_STD * scale)


def sequence(
    gpt: GPT, conditioning: Conditioning, batch: Batch, codes_in: Tensor, skip_position: bool
) -> tuple[Tensor, Tensor]:
    """Embeddings (B, L, C), parts of each row back to back, and where the code positions lie (B, Tc + 1)."""
    with autocast("cpu"):
        latents = conditioning.speaker_latents(
            batch.reference, mask_of(batch.reference_lengths, batch.reference.shape[1])
        )
        emotion = conditioning.emotion_vector(batch.emotion, mask_of(batch.emotion_lengths, batch.emotion.shape[1]))
    head = gpt.condition(latents.float()[batch.reference_of], emotion.float()[batch.emotion_of])  # (B, Nc, C)
    text = gpt.text_embed(batch.text)  # (B, Tt, C)
    start = torch.full((len(codes_in), 1), gpt.config.start_mel_token)
    positions = torch.arange(codes_in.shape[1] + 1)
    if skip_position:
        positions[1:] += 1
    mel = gpt.mel_embed(torch.cat([start, codes_in], 1), positions)  # (B, Tc + 1, C)
    rows = [
        torch.cat([h, t[:nt], m[: nc + 1]])
        for h, t, m, nt, nc in zip(
            head, text, mel, batch.text_lengths.tolist(), batch.code_lengths.tolist(), strict=True
        )
    ]
    offsets = head.shape[1] + batch.text_lengths  # (B,)
    where = offsets[:, None] + torch.arange(codes_in.shape[1] + 1)[None]
    embeddings, _ = pad(rows)
    return embeddings, where.clamp_max(embeddings.shape[1] - 1)


class Guide:
    """Listens to the projections of two layers and scores where one head of each looks in the text."""

    def __init__(self, gpt: GPT) -> None:
        self.captured: dict[int, Tensor] = {}
        for layer, _ in GUIDED:
            block = gpt.gpt.h[layer]
            block.attn.c_attn.register_forward_hook(  # type: ignore[union-attr]
                lambda _m, _i, out, layer=layer: self.captured.__setitem__(layer, out)
            )

    def loss(self, gpt: GPT, batch: Batch, where: Tensor) -> Tensor:
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
    """Cross-entropy per code (stop included) and accuracy."""
    hidden = hidden.gather(1, where[..., None].expand(-1, -1, hidden.shape[-1]))  # (B, Tc + 1, C)
    targets = F.pad(batch.codes, (0, 1))
    rows = torch.arange(len(targets))
    targets[rows, batch.code_lengths] = gpt.config.stop_mel_token
    real = mask_of(batch.code_lengths + 1, targets.shape[1])
    with autocast("cpu"):
        logits = gpt.logits(hidden[real]).float()
    return F.cross_entropy(logits, targets[real]), (logits.argmax(-1) == targets[real]).float().mean()


def phone_loss(teller: nn.Module, hidden: Tensor, batch: Batch, where: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the phone of the code that comes next, and accuracy."""
    real = mask_of(batch.code_lengths)
    hidden = hidden.gather(1, where[:, :-1, None].expand(-1, -1, hidden.shape[-1]))[real]
    logits = teller(hidden)
    return F.cross_entropy(logits, batch.phones[real]), (logits.argmax(-1) == batch.phones[real]).float().mean()


def optimizers_of(gpt: GPT, conditioning: Conditioning) -> dict[str, torch.optim.Optimizer]:
    matrices = [p for p in gpt.gpt.h.parameters() if p.ndim == 2]
    others = nn.ModuleList([conditioning])
    rest = [p for n, p in gpt.named_parameters() if not (n.startswith("gpt.h.") and p.ndim == 2)]
    holder = nn.ParameterList(rest)
    return {
        "muon": torch.optim.Muon(matrices, lr=PEAK_LR_MATRICES, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
        "adamw": adamw([others, holder], PEAK_LR_OTHERS, betas=(0.9, 0.95)),
    }


def train(
    work: Path,
    corpora: Sequence[Corpus],
    weights: Sequence[int],
    minutes: float,
    most_codes: int = dims.MAX_CODES,
) -> None:
    torch.manual_seed(0)
    generator = np.random.default_rng()
    config = dims.model_config(N_TOKENS, None, (1,) * 8)
    gpt, conditioning = GPT(config.gpt), Conditioning(config.conditioning)
    initialize(gpt)
    average_gpt, average_conditioning = copy.deepcopy(gpt), copy.deepcopy(conditioning)
    guide = Guide(gpt)
    teller = nn.Linear(dims.MODEL, n_phones(work))
    optimizers = optimizers_of(gpt, conditioning) | {"teller": adamw([teller], PEAK_LR_OTHERS)}
    modules = {
        "gpt": gpt,
        "conditioning": conditioning,
        "average_gpt": average_gpt,
        "average_conditioning": average_conditioning,
        "teller": teller,
    }
    run = Run(work, "gpt", minutes, modules, optimizers)
    sentences = Sentences(corpora, weights, held_out=False, most_codes=most_codes)
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
        tells, phones_right = phone_loss(teller, hidden, batch, where)
        first, final = GUIDE_WEIGHT
        loss = cross_entropy + PHONE_WEIGHT * tells + (first + (final - first) * run.progress) * guidance
        for optimizer in optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_([*gpt.parameters(), *conditioning.parameters()], 1.0)
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
    parser.add_argument("--weight", type=int, action="append", help="how often each corpus counts, in order")
    parser.add_argument("--minutes", type=float, default=70)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--most-codes",
        type=int,
        default=dims.MAX_CODES,
        help="leave longer recordings out: where speech is in the text is learned sooner on short ones",
    )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    weights = args.weight or [1] * len(args.corpus)
    corpora = [Corpus(c) for c in args.corpus]
    add_text(args.work, corpora)
    with fast_attention():
        train(args.work, corpora, weights, args.minutes, args.most_codes)


if __name__ == "__main__":
    main()
