"""Forced alignment: the phone and the text position of each frame, from the CTC recognizer.

In: corpora with `sem`, `mel`, phones and `text`, and a trained semantic encoder with its recognizer. Out, in each
corpus: `phone` (T50,) int16, the phone of every frame (0: silence), and `align` (T50,) float32, the position in the
text's tokens, 0 to 1 (`align1` ... for the readings `text1` ...). The phones are known, so only their times are
searched (Viterbi over the CTC path). Blanks between two phones are divided between them, unless they are quiet. Words
are matched in order, because a word may have more or fewer phones than letters.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch import nn

from recipes.tiny import dims
from recipes.tiny.common import autocast
from recipes.tiny.corpus.data import Corpus, mask_of, pad, phone_letters
from recipes.tiny.corpus.text import N_SPELLED, SPACE, TOKENS, add_text, reading_of
from recipes.tiny.stages.train_codec import load_recognizer

NEVER = -1e30
BATCH = 16
QUIET = 0.25  # quiet: below this fraction between a recording's quiet and loud frames
MERGES = ((1, 1), (2, 1), (3, 1), (1, 2), (1, 3), (2, 2))  # words of text, words of phones
MERGE_COST = 1.0

Array = np.ndarray[Any, Any]


def viterbi(log_probs: Array, targets: Array) -> Array:
    """Best CTC path through (T, n + 1): per frame the index into `targets`, or -1 for blank.

    All -1 if there are fewer frames than targets.
    """
    n_frames, n_targets = len(log_probs), len(targets)
    if not 0 < n_targets <= n_frames:
        return np.full(n_frames, -1)
    labels = np.zeros(2 * n_targets + 1, np.int64)
    labels[1::2] = targets
    may_skip = np.zeros(len(labels), bool)
    may_skip[3::2] = targets[1:] != targets[:-1]
    score = np.full(len(labels), NEVER)
    score[:2] = log_probs[0, labels[:2]]
    moves = np.zeros((n_frames, len(labels)), np.int8)
    for t in range(1, n_frames):
        one = np.concatenate([[NEVER], score[:-1]])
        two = np.where(may_skip, np.concatenate([[NEVER, NEVER], score[:-2]]), NEVER)
        options = np.stack([score, one, two])
        moves[t] = options.argmax(0)
        score = options.max(0) + log_probs[t, labels]
    state = len(labels) - 1 if score[-1] >= score[-2] else len(labels) - 2
    path = np.empty(n_frames, np.int64)
    for t in range(n_frames - 1, -1, -1):
        path[t] = state // 2 if state % 2 else -1
        state -= int(moves[t, state])
    return path


def spread(path: Array, quiet: Array) -> tuple[Array, Array]:
    """The phone index of every frame (-1: silence), and the number of phones spoken so far, (T,) float.

    path: from `viterbi`. quiet: (T,) bool.
    """
    n_frames, n = len(path), int(path.max()) + 1
    if n == 0:
        return path, np.linspace(0, 1, n_frames)
    first = np.array([np.flatnonzero(path == k)[0] for k in range(n)])
    last = np.array([np.flatnonzero(path == k)[-1] for k in range(n)]) + 1
    start, end = first.copy(), last.copy()
    for k in range(n + 1):  # the blanks before phone k
        a, b = (last[k - 1] if k else 0), (first[k] if k < n else n_frames)
        loud = np.flatnonzero(~quiet[a:b])
        middle = (a + b) // 2
        before = [x for x in loud + a if x < middle or k == n]
        after = [x for x in loud + a if x >= middle or k == 0]
        if k and before:
            end[k - 1] = before[-1] + 1
        if k < n and after:
            start[k] = after[0]
    index = np.full(n_frames, -1)
    for k in range(n):
        index[start[k] : end[k]] = k
    return index, phone_times(index)


def phone_times(index: Array) -> Array:
    """The number of phones spoken so far, (T,) float, from the phone index of every frame (-1: silence)."""
    n_frames, n = len(index), int(index.max()) + 1
    if n == 0:
        return np.linspace(0, 1, n_frames)
    first = np.array([np.flatnonzero(index == k)[0] for k in range(n)])
    last = np.array([np.flatnonzero(index == k)[-1] for k in range(n)]) + 1
    times = np.stack([first, last], 1).ravel()
    counts = np.stack([np.arange(n), np.arange(1, n + 1)], 1).ravel()
    spoken: Array = np.interp(np.arange(n_frames) + 0.5, times, counts)
    return spoken


def word_spans(tokens: Sequence[str]) -> list[tuple[int, int, int]]:
    """First token, end and number of phones or letters of each word."""
    starts = [i for i, t in enumerate(tokens) if t.startswith(SPACE)]
    spans = []
    for a, b in pairwise([*starts, len(tokens)]):
        n_letters = sum(c.isalpha() for t in tokens[a:b] for c in phone_letters(t))
        if n_letters:
            spans.append((a, b, n_letters))
    return spans


def anchors(tokens: Sequence[str], phones: str) -> tuple[Array, Array]:
    """Phone counts and their token positions, both rising: the corners of a piecewise linear map."""
    words = word_spans(tokens)
    sizes = [n for n in (len(phone_letters(w)) for w in phones.split()) if n]
    whole = np.array([0.0, sum(sizes)]), np.array([0.0, len(tokens)])
    if not words or not sizes:
        return whole
    letters, spoken = np.cumsum([0] + [n for _, _, n in words]), np.cumsum([0, *sizes])
    best = np.full((len(words) + 1, len(sizes) + 1), np.inf)
    came = np.zeros((*best.shape, 2), int)
    best[0, 0] = 0
    for i in range(len(words) + 1):
        for j in range(len(sizes) + 1):
            for a, b in MERGES:
                if i < a or j < b or not np.isfinite(best[i - a, j - b]):
                    continue
                wanted = letters[i] - letters[i - a]
                cost = (spoken[j] - spoken[j - b] - wanted) ** 2 / (wanted + 1) + MERGE_COST * (a + b - 2)
                if best[i - a, j - b] + cost < best[i, j]:
                    best[i, j], came[i, j] = best[i - a, j - b] + cost, (a, b)
    if not np.isfinite(best[-1, -1]):
        return whole
    i, j = len(words), len(sizes)
    corners = [(spoken[j], len(tokens))]
    while i:
        a, b = came[i, j]
        i, j = i - a, j - b
        corners.append((spoken[j], words[i][0]))
    at, position = np.array(corners[::-1], float).T
    return at, position


def positions(corpus: Corpus, i: int, counts: Array, number: dict[str, int]) -> list[Array]:
    """`align` for each reading of a recording's text; counts: (T,) phones spoken so far."""
    phones = "".join(p for p in corpus.items[i]["phones"] if p == " " or p in number)
    shares = []
    for reading in range(1 + N_SPELLED):
        tokens = [TOKENS[t] for t in corpus.get(reading_of("text", reading), i).tolist()]
        at, position = anchors(tokens, phones)
        shares.append(((np.interp(counts, at, position) - 0.5).clip(0) / max(1, len(tokens))).astype(np.float32))
    return shares


def put_positions(corpus: Corpus, shares: Sequence[list[Array]]) -> None:
    for reading, arrays in enumerate(zip(*shares, strict=True)):
        corpus.put(reading_of("align", reading), arrays)


def add_alignment(work: Path, corpora: Sequence[Corpus]) -> None:
    """Add arrays `phone` and `align` to every corpus that lacks them."""
    missing = [c for c in corpora if not c.has("align")]
    if missing:
        recognizer = load_recognizer(work)
        for corpus in missing:
            _align(*recognizer, corpus)


@torch.no_grad()
def _align(encoder: nn.Module, recognizer: nn.Module, number: dict[str, int], corpus: Corpus) -> None:
    order = sorted(range(len(corpus)), key=lambda i: corpus.length("sem", i))
    phones: list[Array] = [np.empty(0)] * len(corpus)
    shares: list[list[Array]] = [[]] * len(corpus)
    for first in track(range(0, len(order), BATCH), description="alignment", transient=True):
        part = order[first : first + BATCH]
        x, lengths = pad([corpus.get("sem", i) for i in part])
        with autocast("cpu"):
            log_probs = recognizer(encoder(x, mask_of(lengths)), mask_of(lengths)).float().numpy()
        for i, row, n in zip(part, log_probs, lengths.tolist(), strict=True):
            item = corpus.items[i]
            known = [p for p in phone_letters(item["phones"]) if p in number]
            targets = np.array([number[p] for p in known], np.int64)
            index, count = spread(viterbi(row[:n], targets), quiet_frames(corpus, i, n))
            phones[i] = np.where(index >= 0, targets[index], 0).astype(np.int16)
            shares[i] = positions(corpus, i, count, number)
    corpus.put("phone", phones)
    put_positions(corpus, shares)


def quiet_frames(corpus: Corpus, i: int, n: int) -> Array:
    """(n,) bool at the codes' rate."""
    level = corpus.get("mel", i).mean(1).numpy()
    low, high = np.quantile(level, [0.02, 0.9])
    at = ((np.arange(n) + 0.5) * dims.FRAMES_PER_CODE).astype(int).clip(max=len(level) - 1)
    quiet: Array = level[at] < low + QUIET * (high - low)
    return quiet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, action="append", required=True)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    corpora = [Corpus(c) for c in args.corpus]
    add_text(args.work, corpora)
    add_alignment(args.work, corpora)


if __name__ == "__main__":
    main()
