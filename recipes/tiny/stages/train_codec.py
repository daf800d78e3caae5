"""Stage `codec`: encodes semantic features as one code per frame.

In: corpora with `sem` features and a trained semantic encoder. Out: `WORK/codec/last.pt` (encoder, quantizer,
decoder), `WORK/stats.pt` (mean and standard deviation of the features), and in each corpus the array `feat` (T50, C),
normalized features.

Losses: reconstruction of the features from the codes, and CTC of the frozen recognizer on the reconstruction, which
favors phonetic information. Evaluation: phone error rate through the codes, fraction of variance explained, and
perplexity of the codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgetts.models import w2v_bert
from edgetts.models.repcodec import SemanticCodec, SemanticCodecDecoder
from edgetts.models.w2v_bert import SemanticEncoder
from recipes.tiny import dims
from recipes.tiny.common import Run, adamw, autocast, stage_arguments, stage_parser, stage_weights
from recipes.tiny.corpus.data import Corpus, batches, mask_of, pad, phone_letters
from recipes.tiny.stages.train_semantic_encoder import Recognizer, ctc, error_rate, fast_attention

FRAMES_PER_BATCH = 3000
PEAK_LR = 2e-3
CTC_WEIGHT = 0.3
COMMITMENT_WEIGHT = 0.25
RESTART_EVERY = 40  # steps; unused codes restart from a random frame
RESTART_UNTIL = 0.7  # of the budget
EVALUATE_EVERY = 250


def latest_weights(work: Path, stage: str) -> dict[str, dict[str, Tensor]]:
    """Weights of the stage `joint` if it has run, else of `stage`."""
    return stage_weights(work, "joint" if (work / "joint" / "last.pt").exists() else stage)


def load_recognizer(work: Path) -> tuple[SemanticEncoder, Recognizer, dict[str, int]]:
    """The trained semantic encoder and recognizer, frozen, and the index of each phone."""
    w2v_bert.SelfAttention.forward = fast_attention  # type: ignore[method-assign]
    phones = (work / "phones.txt").read_text()
    state = latest_weights(work, "semantic_encoder")
    encoder, recognizer = SemanticEncoder(dims.SEMANTIC_ENCODER), Recognizer(len(phones))
    encoder.load_state_dict(state["encoder"])
    recognizer.load_state_dict(state["recognizer"])
    for module in (encoder, recognizer):
        module.eval().requires_grad_(False)
    return encoder, recognizer, {p: i + 1 for i, p in enumerate(phones)}


@torch.no_grad()
def encode_all(encoder: SemanticEncoder, corpus: Corpus) -> list[Tensor]:
    """The encoder's hidden states (T50, C) of each recording, computed in batches of similar length."""
    order = sorted(range(len(corpus)), key=lambda i: corpus.length("sem", i))
    hidden_states: list[Tensor] = [torch.empty(0)] * len(corpus)
    for start in range(0, len(order), 16):
        part = order[start : start + 16]
        x, lengths = pad([corpus.get("sem", i) for i in part])
        with autocast("cpu"):
            hidden = encoder(x, mask_of(lengths))
        for i, row, n in zip(part, hidden, lengths.tolist(), strict=True):
            hidden_states[i] = row[:n].float()
    return hidden_states


def add_features(work: Path, corpora: Sequence[Corpus]) -> None:
    """Add the array `feat` to each corpus that lacks it. Without `stats.pt`, the first of them gives the statistics."""
    stats_path = work / "stats.pt"
    if stats_path.exists() and all(c.has("feat") for c in corpora):
        return
    encoder, _, _ = load_recognizer(work)
    for corpus in corpora:
        if corpus.has("feat"):
            continue
        hidden = encode_all(encoder, corpus)
        if not stats_path.exists():
            everything = torch.cat(hidden)
            torch.save({"mean": everything.mean(0), "std": everything.std(0)}, stats_path)
        stats = torch.load(stats_path, weights_only=True)
        corpus.put("feat", [((h - stats["mean"]) / stats["std"]).half().numpy() for h in hidden])


def load_codec(work: Path) -> SemanticCodec:
    """The trained codec without its decoder, frozen."""
    codec = SemanticCodec(dims.SEMANTIC_CODEC)
    codec.load_state_dict(latest_weights(work, "codec")["codec"])
    return codec.eval().requires_grad_(False)


def train(work: Path, corpora: Sequence[Corpus], minutes: float) -> None:
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    _, recognizer, number = load_recognizer(work)
    stats = torch.load(work / "stats.pt", weights_only=True)
    codec, decoder = SemanticCodec(dims.SEMANTIC_CODEC), SemanticCodecDecoder(dims.SEMANTIC_CODEC)
    book = codec.quantizer.only
    nn.init.normal_(book.codebook.weight, std=1.0)
    optimizer = adamw([codec, decoder], PEAK_LR)
    run = Run(work, "codec", minutes, {"codec": codec, "decoder": decoder}, {"adamw": optimizer}, warmup_steps=50)
    entries = [(c, i) for c in corpora for i in c.training()]
    loader = batches([c.length("feat", i) for c, i in entries], FRAMES_PER_BATCH, generator)

    def target(corpus: Corpus, i: int) -> Tensor:
        letters = phone_letters(corpus.items[i]["phones"])
        return torch.tensor([number[p] for p in letters if p in number])

    def forward(chosen: list[tuple[Corpus, int]]) -> tuple[Tensor, ...]:
        x, lengths = pad([c.get("feat", i) for c, i in chosen])
        mask = mask_of(lengths)
        with autocast("cpu"):
            z = codec.encoder(x, mask)
        quantized, codes, projected, entries_ = codec(z.float())
        with autocast("cpu"):
            rebuilt = decoder(quantized, mask).float()
            log_probs = recognizer(rebuilt * stats["std"] + stats["mean"], mask)
        return x, lengths, mask, quantized, codes, projected, entries_, rebuilt, log_probs

    def evaluate() -> dict[str, float]:
        edits = total = 0
        error = variance = 0.0
        used = torch.zeros(dims.CODEBOOK)
        held = [(corpora[0], i) for i in corpora[0].held_out()]
        for start in range(0, len(held), 16):
            part = held[start : start + 16]
            with torch.no_grad():
                x, lengths, mask, _, codes, _, _, rebuilt, log_probs = forward(part)
            e, t = error_rate(log_probs, lengths, [target(c, i) for c, i in part])
            edits, total = edits + e, total + t
            error += float((rebuilt - x)[mask].square().sum())
            variance += float(x[mask].square().sum())
            used += torch.bincount(codes[mask], minlength=dims.CODEBOOK)
        share = used / used.sum()
        perplexity = float((-(share * share.clamp_min(1e-9).log()).sum()).exp())
        return {"phone_error_rate": edits / total, "kept": 1 - error / variance, "perplexity": perplexity}

    used = torch.zeros(dims.CODEBOOK)
    for step in run:
        chosen = [entries[k] for k in next(loader)]
        x, lengths, mask, quantized, codes, projected, entries_, rebuilt, log_probs = forward(chosen)
        reconstruction = F.mse_loss(rebuilt[mask], x[mask]) + 0.5 * F.mse_loss(quantized[mask], x[mask])
        commitment = F.mse_loss(projected[mask], entries_[mask].detach())
        codebook = F.mse_loss(entries_[mask], projected[mask].detach())
        recognition = ctc(log_probs, lengths, [target(c, i) for c, i in chosen])
        loss = reconstruction + COMMITMENT_WEIGHT * commitment + codebook + CTC_WEIGHT * recognition
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_([*codec.parameters(), *decoder.parameters()], 1.0)
        optimizer.step()
        used += torch.bincount(codes[mask], minlength=dims.CODEBOOK)
        run.log(reconstruction=reconstruction.detach(), commitment=commitment.detach(), ctc=recognition.detach())
        if (step < 5 or step % RESTART_EVERY == 0) and run.progress < RESTART_UNTIL:
            dead = (used < 1).nonzero()[:, 0]
            frames = projected.detach()[mask]
            book.codebook.weight.data[dead] = frames[torch.randint(len(frames), (len(dead),))]
            run.log(dead=float(len(dead)))
            used.zero_()
        if step % EVALUATE_EVERY == EVALUATE_EVERY - 1:
            run.write_log({"eval": {k: round(v, 4) for k, v in evaluate().items()}})
    run.write_log({"eval": {k: round(v, 4) for k, v in evaluate().items()}})


def main() -> None:
    parser = stage_parser(__doc__, minutes=6)
    parser.add_argument(
        "--only-features", action="store_true", help="add the features to the corpora, without training"
    )
    args = stage_arguments(parser)
    corpora = [Corpus(c) for c in args.corpus]
    add_features(args.work, corpora)
    if not args.only_features:
        train(args.work, corpora, args.minutes)


if __name__ == "__main__":
    main()
