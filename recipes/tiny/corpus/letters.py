"""Aligns the letters of words with their phones, so that a model can be trained letter by letter.

In: words with phones of the lexicon. Out: for each word a chunk of phones per letter, of none to three phones: PHONE
as `f`, nothing, `oʊ`, `n`, nothing. The alignment is found by expectation-maximization over all monotonic ones. Words
that are not read letter by letter, such as HTTP, are left out. Also splits words into training and held-out
ones, all forms of a stem on the same side.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from recipes.tiny.corpus.lexicon import STRESS

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
MAX_CHUNK = 3  # phones; X at the start of XRAY
N_ROUNDS = 6
MIN_COUNT = 25  # a chunk that is rarer is no class of its own, and its words are left out
MIN_PROBABILITY = 1e-5  # geometric mean per letter of a word's best alignment, below which it is left out
HELD_OUT = 20  # one stem in so many

# Phones of two symbols, and single ones; the stress belongs to the vowel after it.
_UNIT = re.compile(rf"{STRESS}?(?:aʊ|aɪ|eɪ|oʊ|ɔɪ|tʃ|dʒ|.)")
_ENDINGS = re.compile(
    r"(?:'S|S'|IZATIONS?|IZERS?|IZED|IZES|IZE|IZING|ATIONS?|MENTS?|NESS(?:ES)?|LESSLY|LESS|FULLY|FUL|INGS?|INGLY|IES|IED|"
    r"EDLY|ED|ERS?|ES|S|LY|Y|E|ISTS?|ISMS?|IC|ICAL(?:LY)?|ABLE|ABLY|MAN|MEN|SON|SONS)$"
)
_SHORTEST_STEM = 4


def units(phones: str) -> list[str]:
    """The phones of a pronunciation, diphthongs and affricates whole, each vowel with its stress."""
    return _UNIT.findall(phones)


def stem(word: str) -> str:
    """The common part of related words: WALKER, WALKED and WALKS are one stem."""
    found = word
    for _ in range(3):
        shorter = _ENDINGS.sub("", found)
        if len(shorter) < _SHORTEST_STEM:
            break
        found = shorter
    return found[:-1] if len(found) > _SHORTEST_STEM and found[-1] == found[-2] else found


def is_held_out(word: str) -> bool:
    """Whether the word's stem is held out."""
    return int.from_bytes(hashlib.sha256(stem(word).encode()).digest()[:4], "big") % HELD_OUT == 0


def align(words: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """A chunk of phones for each letter of each word of A to Z that can be read letter by letter."""
    plain = {w: [u.removeprefix(STRESS) for u in units(p)] for w, p in words.items() if set(w) <= set(LETTERS)}
    groups: dict[tuple[int, int], list[str]] = defaultdict(list)
    for word, phones_of_word in plain.items():
        if 0 < len(phones_of_word) <= MAX_CHUNK * len(word):
            groups[len(word), len(phones_of_word)].append(word)
    names: dict[str, int] = {}
    tables = {}
    for (n, m), group in groups.items():
        letters = np.array([[LETTERS.index(c) for c in word] for word in group])
        # chunks[:, j, k]: number of the chunk of k phones from j on; -1: past the end
        chunks = np.full((len(group), m + 1, MAX_CHUNK + 1), -1)
        for row, word in enumerate(group):
            phones_of_word = plain[word]
            for j in range(m + 1):
                for k in range(min(MAX_CHUNK, m - j) + 1):
                    chunks[row, j, k] = names.setdefault("\t".join(phones_of_word[j : j + k]), len(names))
        tables[n, m] = letters, chunks
    size = np.array([0 if not name else 1 + name.count("\t") for name in names])
    probability = np.tile(np.array([0.2, 0.6, 0.05, 0.002])[size], (len(LETTERS), 1))
    probability /= probability.sum(1, keepdims=True)
    for _ in range(N_ROUNDS):
        counts = np.full_like(probability, 1e-9)
        for letters, chunks in tables.values():
            _count(letters, chunks, probability, counts)
        probability = counts / counts.sum(1, keepdims=True)
    found: dict[str, tuple[str, ...]] = {}
    for key, group in groups.items():
        letters, chunks = tables[key]
        lengths, scores = _best(letters, chunks, probability)
        for word, row, score in zip(group, lengths, scores, strict=True):
            if score / len(word) < np.log(MIN_PROBABILITY):
                continue
            phones_of_word, edges = units(words[word]), np.cumsum([0, *row])
            found[word] = tuple("".join(phones_of_word[a:b]) for a, b in pairwise(edges))
    common = Counter(chunk for chunks in found.values() for chunk in chunks)
    return {w: chunks for w, chunks in found.items() if all(common[c] >= MIN_COUNT for c in chunks)}


def _emission(letters: np.ndarray, chunks: np.ndarray, probability: np.ndarray, i: int, j: int, k: int) -> np.ndarray:
    """(N,) probability that letter i of each word is phones_of_word as the k phones from j on."""
    which = chunks[:, j, k]
    return np.where(which < 0, 0.0, probability[letters[:, i], which])


def _count(letters: np.ndarray, chunks: np.ndarray, probability: np.ndarray, counts: np.ndarray) -> None:
    """Add to `counts` (letter, chunk) the expected number of each over all alignments of the words of one shape, by the
    forward-backward algorithm."""
    n_words, n = letters.shape
    m = chunks.shape[1] - 1
    forward = np.zeros((n + 1, m + 1, n_words))
    backward = np.zeros((n + 1, m + 1, n_words))
    forward[0, 0] = backward[n, m] = 1.0
    steps = {}
    for i in range(n):
        for j in range(m + 1):
            for k in range(min(MAX_CHUNK, m - j) + 1):
                step = _emission(letters, chunks, probability, i, j, k)
                steps[i, j, k] = step
                forward[i + 1, j + k] += forward[i, j] * step
    for i in range(n - 1, -1, -1):
        for j in range(m + 1):
            for k in range(min(MAX_CHUNK, m - j) + 1):
                backward[i, j] += steps[i, j, k] * backward[i + 1, j + k]
    total = np.maximum(forward[n, m], 1e-300)
    for (i, j, k), step in steps.items():
        share = forward[i, j] * step * backward[i + 1, j + k] / total
        np.add.at(counts, (letters[:, i], np.maximum(chunks[:, j, k], 0)), np.where(chunks[:, j, k] < 0, 0.0, share))


def _best(letters: np.ndarray, chunks: np.ndarray, probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The most likely alignment: phones per letter (N, letters), and its log likelihood (N,)."""
    n_words, n = letters.shape
    m = chunks.shape[1] - 1
    with np.errstate(divide="ignore"):
        log = np.log(probability)
    score = np.full((n + 1, m + 1, n_words), -np.inf)
    score[0, 0] = 0.0
    back = np.zeros((n + 1, m + 1, n_words), dtype=int)
    for i in range(n):
        for j in range(m + 1):
            for k in range(min(MAX_CHUNK, m - j) + 1):
                which = chunks[:, j, k]
                new = score[i, j] + np.where(which < 0, -np.inf, log[letters[:, i], which])
                better = new > score[i + 1, j + k]
                score[i + 1, j + k] = np.where(better, new, score[i + 1, j + k])
                back[i + 1, j + k] = np.where(better, k, back[i + 1, j + k])
    lengths = np.zeros((n_words, n), dtype=int)
    at = np.full(n_words, m)
    for i in range(n, 0, -1):
        lengths[:, i - 1] = back[i, at, np.arange(n_words)]
        at = at - lengths[:, i - 1]
    return lengths, score[n, m]


def classes(aligned: Sequence[tuple[str, ...]]) -> list[str]:
    """The distinct chunks, the empty one first, then the most frequent."""
    counts = Counter(chunk for chunks in aligned for chunk in chunks)
    return ["", *(chunk for chunk, _ in counts.most_common() if chunk)]
