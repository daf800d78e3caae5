"""Stage `relabel_codes`: realigns the phones, and assigns each frame a code of its own phone.

In: corpora with `feat`, `text` and phones, and the trained stage `joint`. Out, in each corpus: new `phone` and `align`;
`heard` (T50,) int16, the codec's own code of each frame; and `codes` (T50,) int16, the nearest code that belongs to the
frame's phone. In `WORK/joint/last.pt`: new codebook rows for rarely used codes.

`align` divides blanks between phones by a rule. The frame classifier of `joint` gives better phone boundaries, so this
stage aligns again with it.

A small codec encodes a wrong phone in one frame in six, although the phone is known. Each code belongs to the phone for
which it occurs most often. A frame gets the nearest code of its own phone, and changes of code within a phone are
penalized. The codes then match the text and S2Mel's target. At run time the codec encodes the recordings of voices, so
prompts in training use its own codes (`heard`).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from rich.progress import track
from torch import Tensor, nn

from edgetts.models.repcodec import SemanticCodec
from recipes.tiny import dims
from recipes.tiny.common import stage_weights
from recipes.tiny.corpus.align import phone_times, positions, put_positions, viterbi
from recipes.tiny.corpus.data import Corpus, n_phones, phone_letters
from recipes.tiny.corpus.text import add_text
from recipes.tiny.stages.train_codec import load_codec

SAME_CODES = {"ᵻ": "ɪ", "ʔ": "t"}  # phones too rare to have codes of their own
FEWEST_CODES = 4  # per phone
SWITCH_COST = 0.2  # of a change of code, in cosine similarity
NEVER = -1e6
CLASSIFIER_LR, CLASSIFIER_EPOCHS, CLASSIFIER_BATCH = 3e-3, 4, 8
RARE = 1e-4  # fraction of frames below which a code counts as unused

Array = np.ndarray[Any, Any]


def phone_numbers(work: Path) -> dict[str, int]:
    """The index of each phone; 0 is the CTC blank."""
    return {p: i + 1 for i, p in enumerate((work / "phones.txt").read_text())}


def load_phone_classifier(work: Path, corpus: Corpus) -> nn.Linear:
    """The frame classifier of `joint`; without that stage, one trained here on the alignment of `corpus`."""
    classifier = nn.Linear(dims.SEMANTIC, n_phones(work))
    if (work / "joint" / "last.pt").exists():
        classifier.load_state_dict(stage_weights(work, "joint")["teller"])
    else:
        _train_classifier(classifier, corpus)
    return classifier.requires_grad_(False)


def _train_classifier(classifier: nn.Linear, corpus: Corpus) -> None:
    """Train the classifier on the training recordings, in place."""
    generator = np.random.default_rng(0)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=CLASSIFIER_LR)
    recordings = corpus.training()
    with torch.enable_grad():
        for _ in range(CLASSIFIER_EPOCHS):
            for part in np.array_split(generator.permutation(recordings), max(1, len(recordings) // CLASSIFIER_BATCH)):
                features = torch.cat([corpus.get("feat", int(i)) for i in part])
                phones = torch.cat([corpus.get("phone", int(i)).long() for i in part])
                optimizer.zero_grad()
                torch.autograd.backward(F.cross_entropy(classifier(features), phones))
                optimizer.step()


@torch.no_grad()
def align_again(work: Path, corpora: Sequence[Corpus]) -> None:
    """Replace the arrays `phone` and `align` by an alignment with the frame classifier."""
    classifier, number = load_phone_classifier(work, corpora[0]), phone_numbers(work)
    for corpus in corpora:
        phones, shares = [], []
        for i in track(range(len(corpus)), description="alignment", transient=True):
            item = corpus.items[i]
            targets = np.array([number[p] for p in phone_letters(item["phones"]) if p in number], np.int64)
            path = viterbi(classifier(corpus.get("feat", i)).log_softmax(-1).numpy(), targets)
            phones.append(np.where(path >= 0, targets[path.clip(min=0)] if len(targets) else 0, 0).astype(np.int16))
            shares.append(positions(corpus, i, phone_times(path), number))
        corpus.put("phone", phones)
        put_positions(corpus, shares)


def frames(codec: SemanticCodec, corpus: Corpus, i: int) -> Tensor:
    """Unit vectors (T, D) of the frames, which are compared with the normalized codebook rows."""
    projected = codec.quantizer.only.project_in(codec.encoder(corpus.get("feat", i)[None]))
    return F.normalize(projected[0], dim=-1)


def used_for(codec: SemanticCodec, corpus: Corpus, same: Array) -> Array:
    """Number of frames of each phone with each code, (K, P), over the training recordings."""
    book = codec.quantizer.only
    counts = np.zeros((book.codebook.num_embeddings, len(same)))
    rows = F.normalize(book.codebook.weight, dim=-1)
    for i in corpus.training():
        codes = (frames(codec, corpus, i) @ rows.T).argmax(-1).numpy()
        np.add.at(counts, (codes, same[corpus.get("phone", i).numpy()]), 1)
    return counts


def renew_rare_codes(codec: SemanticCodec, corpus: Corpus, counts: Array, same: Array) -> int:
    """Replace the codebook rows of rare codes by frames of phones that need more codes. Returns how many."""
    generator = np.random.default_rng(0)
    owner = counts.argmax(1)
    rare = list(np.flatnonzero(counts.sum(1) < RARE * counts.sum()))
    owned = np.bincount(np.delete(owner, rare), minlength=counts.shape[1])
    per_phone = counts.sum(0)
    right = np.array([counts[owner == p, p].sum() for p in range(counts.shape[1])])
    wrong: dict[int, list[Tensor]] = {}
    n_rare = len(rare)
    while rare:
        need = np.where(owned < FEWEST_CODES, 1e9, 1.0) * (per_phone - right) / (owned + 1) ** 1.5
        phone = int(need.argmax())
        if need[phone] <= 0:
            break
        if phone not in wrong:
            wrong[phone] = _frames_of(codec, corpus, phone, same, generator)
        if not wrong[phone]:
            per_phone[phone] = 0
            continue
        codec.quantizer.only.codebook.weight.data[rare.pop()] = wrong[phone].pop()
        owned[phone] += 1
    return n_rare - len(rare)


def _frames_of(
    codec: SemanticCodec, corpus: Corpus, phone: int, same: Array, generator: np.random.Generator
) -> list[Tensor]:
    """Up to 16 random frames (D,) of a phone, scaled to the mean norm of the codebook rows."""
    size = codec.quantizer.only.codebook.weight.norm(dim=-1).mean()
    found: list[Tensor] = []
    for i in generator.permutation(corpus.training())[:1200]:
        at = np.flatnonzero(same[corpus.get("phone", int(i)).numpy()] == phone)
        if len(at):
            found.append(size * frames(codec, corpus, int(i))[int(generator.choice(at))])
    order = generator.permutation(len(found))
    return [found[k] for k in order[:16]]


def best_codes(similarity: Array) -> Array:
    """Codes (T,) that maximize the total similarity (T, K) minus `SWITCH_COST` per change (Viterbi)."""
    score = similarity[0]
    previous = np.zeros(similarity.shape, np.int64)
    stay = np.arange(similarity.shape[1])
    for t in range(1, len(similarity)):
        best = int(score.argmax())
        moves = score[best] - SWITCH_COST > score
        previous[t] = np.where(moves, best, stay)
        score = similarity[t] + np.where(moves, score[best] - SWITCH_COST, score)
    path = np.empty(len(similarity), np.int64)
    path[-1] = score.argmax()
    for t in range(len(similarity) - 1, 0, -1):
        path[t - 1] = previous[t, path[t]]
    return path


def _owners(work: Path, codec: SemanticCodec, corpus: Corpus, same: Array, *, renew: bool) -> Tensor:
    """Phone of each code (K,); -1 for unused codes. renew: replace rare codes first, and store the new codebook."""
    counts = used_for(codec, corpus, same)
    if renew:
        print(renew_rare_codes(codec, corpus, counts, same), "codes renewed")
        counts = used_for(codec, corpus, same)
        checkpoint = work / "joint" / "last.pt"
        state = torch.load(checkpoint, weights_only=True)
        state["modules"]["codec"] = codec.state_dict()
        new = checkpoint.with_suffix(".new")
        torch.save(state, new)
        new.replace(checkpoint)
    print(f"{100 * counts.max(1).sum() / counts.sum():.1f} % of the frames had a code of their phone")
    return torch.from_numpy(np.where(counts.sum(1) > 0, counts.argmax(1), -1))


@torch.no_grad()
def add_codes(work: Path, corpora: Sequence[Corpus], *, renew: bool) -> None:
    """Add the arrays `heard` and `codes`. renew: replace rare codes; only before other networks train on the codes."""
    codec, number = load_codec(work), phone_numbers(work)
    same = np.arange(n_phones(work))
    for rare, common in SAME_CODES.items():
        if rare in number and common in number:
            same[number[rare]] = number[common]
    owners = work / "tell" / "owner.pt"
    if renew or not owners.exists():
        owners.parent.mkdir(exist_ok=True)
        torch.save({"owner": _owners(work, codec, corpora[0], same, renew=renew)}, owners)
    owner = torch.load(owners, weights_only=True)["owner"]
    rows = F.normalize(codec.quantizer.only.codebook.weight, dim=-1)
    has_codes = torch.zeros(len(same), dtype=torch.bool)
    has_codes[owner[owner >= 0]] = True
    for corpus in corpora:
        heard, codes = [], []
        for i in track(range(len(corpus)), description="codes", transient=True):
            similarity = frames(codec, corpus, i) @ rows.T  # (T, K)
            phone = torch.from_numpy(same[corpus.get("phone", i).numpy()])
            foreign = (owner[None] != phone[:, None]) & has_codes[phone][:, None]
            heard.append(similarity.argmax(-1).to(torch.int16).numpy())
            codes.append(best_codes(similarity.masked_fill(foreign, NEVER).numpy()).astype(np.int16))
        corpus.put("heard", heard)
        corpus.put("codes", codes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, action="append", required=True)
    parser.add_argument(
        "--keep-codebook", action="store_true", help="do not replace rare codes: other networks use them"
    )
    parser.add_argument("--keep-alignment", action="store_true", help="do not align again")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    corpora = [Corpus(c) for c in args.corpus]
    add_text(args.work, corpora)
    if not args.keep_alignment:
        align_again(args.work, corpora)
    add_codes(args.work, corpora, renew=not args.keep_codebook)


if __name__ == "__main__":
    main()
