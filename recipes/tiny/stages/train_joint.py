"""Stage `joint`: fine-tunes semantic encoder, codec and recognizer end to end, through the codes.

In: corpora with `sem`, the trained stages `semantic_encoder` and `codec` (or start weights), and the alignment of
phones (`recipes.tiny.corpus.align`). Out: `WORK/joint/last.pt`, which replaces both stages. CTC losses on the
features and on their reconstruction from codes train the encoder to produce features that survive quantization.

CTC needs only one frame per phone, but the code of every frame contributes to the speech. A linear classifier therefore
predicts the phone of each frame, before and after the codebook.

Evaluation on held-out recordings: both phone error rates, and the fraction of frames whose code identifies the phone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgetts.models.repcodec import SemanticCodec, SemanticCodecDecoder
from recipes.tiny import dims
from recipes.tiny.common import Run, adamw, autocast, stage_arguments, stage_parser, stage_weights
from recipes.tiny.corpus.data import Corpus, batches, mask_of, pad, phone_letters
from recipes.tiny.stages.train_codec import load_recognizer
from recipes.tiny.stages.train_semantic_encoder import ctc, error_rate, mask_features

FRAMES_PER_BATCH = 2400
ENCODER_LR = 6e-4
CODEC_LR = 1.2e-3
RECONSTRUCTION_WEIGHT = 0.1  # low, so that codes stay close to phones, which a small GPT learns more easily
CTC_WEIGHT = 0.3
FROZEN_STEPS = 100  # the encoder is frozen while untrained parts settle
EVALUATE_EVERY = 150


def train(work: Path, corpora: Sequence[Corpus], minutes: float) -> None:
    torch.manual_seed(0)
    generator = np.random.default_rng()
    encoder, recognizer, number = load_recognizer(work)
    codec, decoder = SemanticCodec(dims.SEMANTIC_CODEC), SemanticCodecDecoder(dims.SEMANTIC_CODEC)
    state = stage_weights(work, "codec")
    codec.load_state_dict(state["codec"])
    if "decoder" in state:  # a pack has no decoder
        decoder.load_state_dict(state["decoder"])
    classifier = nn.Linear(dims.SEMANTIC, len(number) + 1)  # features of a frame -> its phone
    stats = torch.load(work / "stats.pt", weights_only=True)
    for module in (encoder, recognizer):
        module.train().requires_grad_(True)
    optimizers = {
        "encoder": adamw([encoder, recognizer], ENCODER_LR),
        "codec": adamw([codec, decoder, classifier], CODEC_LR),
    }
    modules = {  # the names are keys of the checkpoint
        "encoder": encoder,
        "recognizer": recognizer,
        "codec": codec,
        "decoder": decoder,
        "teller": classifier,
    }
    run = Run(work, "joint", minutes, modules, dict(optimizers), warmup_steps=30)
    entries = [(c, i) for c in corpora for i in c.training()]
    loader = batches([c.length("sem", i) for c, i in entries], FRAMES_PER_BATCH, generator)

    def target(corpus: Corpus, i: int) -> Tensor:
        letters = phone_letters(corpus.items[i]["phones"])
        return torch.tensor([number[p] for p in letters if p in number])

    def forward(x: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        mask = mask_of(lengths)
        with autocast("cpu"):
            hidden = encoder(x, mask)
            log_probs = recognizer(hidden, mask)
            features = (hidden.float() - stats["mean"]) / stats["std"]
            z = codec.encoder(features, mask)
        quantized, codes, projected, chosen = codec(z.float())
        with autocast("cpu"):
            rebuilt = decoder(quantized, mask).float()
            through_codes = recognizer(rebuilt * stats["std"] + stats["mean"], mask)
        return mask, features, log_probs, quantized, codes, projected, chosen, rebuilt, through_codes

    def classify(features: Tensor, phones: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy and accuracy of the phone of each frame."""
        logits = classifier(features[mask])
        return F.cross_entropy(logits, phones[mask]), (logits.argmax(-1) == phones[mask]).float().mean()

    def evaluate() -> dict[str, float]:
        for module in modules.values():
            module.eval()
        edits = np.zeros(2)
        shares = []
        total = 0
        held = corpora[0].held_out()
        for start in range(0, len(held), 16):
            part = held[start : start + 16]
            x, lengths = pad([corpora[0].get("sem", i) for i in part])
            targets = [target(corpora[0], i) for i in part]
            with torch.no_grad():
                mask, _, log_probs, quantized, _, _, _, _, log_probs_again = forward(x, lengths)
                phones, _ = pad([corpora[0].get("phone", i).long() for i in part])
                shares.append(float(classify(quantized, phones, mask)[1]))
            for k, probabilities in enumerate((log_probs, log_probs_again)):
                e, t = error_rate(probabilities, lengths, targets)
                edits[k] += e
            total += t
        for module in modules.values():
            module.train()
        return {
            "phone_error_rate": edits[0] / total,
            "through_codes": edits[1] / total,
            "frames_right": float(np.mean(shares)),
        }

    for step in run:
        chosen_entries = [entries[k] for k in next(loader)]
        x, lengths = pad([mask_features(c.get("sem", i), generator) for c, i in chosen_entries])
        targets = [target(c, i) for c, i in chosen_entries]
        mask, features, log_probs, quantized, _, projected, chosen, rebuilt, log_probs_again = forward(x, lengths)
        aim = features.detach()[mask]
        reconstruction = F.mse_loss(rebuilt[mask], aim) + 0.5 * F.mse_loss(quantized[mask], aim)
        commitment = F.mse_loss(projected[mask], chosen[mask].detach())
        codebook = F.mse_loss(chosen[mask], projected[mask].detach())
        direct, through = ctc(log_probs, lengths, targets), ctc(log_probs_again, lengths, targets)
        phones, _ = pad([c.get("phone", i).long() for c, i in chosen_entries])
        before, _ = classify(features, phones, mask)
        after, right = classify(quantized, phones, mask)
        loss = before + after + CTC_WEIGHT * (direct + through)
        loss = loss + RECONSTRUCTION_WEIGHT * reconstruction + 0.25 * commitment + codebook
        for optimizer in optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        for trained in modules.values():
            nn.utils.clip_grad_norm_(trained.parameters(), 2.0)
        for name, optimizer in optimizers.items():
            if name != "encoder" or step >= FROZEN_STEPS:
                optimizer.step()
        run.log(
            direct=direct.detach(),
            through=through.detach(),
            reconstruction=reconstruction.detach(),
            phones=after.detach(),
            frames_right=right,
        )
        if step % EVALUATE_EVERY == EVALUATE_EVERY - 1:
            run.write_log({"eval": {k: round(float(v), 4) for k, v in evaluate().items()}})
    run.write_log({"eval": {k: round(float(v), 4) for k, v in evaluate().items()}})


def main() -> None:
    parser = stage_parser(__doc__, minutes=8)
    args = stage_arguments(parser)
    train(args.work, [Corpus(c) for c in args.corpus], args.minutes)


if __name__ == "__main__":
    main()
