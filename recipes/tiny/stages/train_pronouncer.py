"""Stage `pronouncer`: grapheme-to-phoneme conversion for words that the lexicon lacks.

In: the lexicon (`WORK/lexicon.txt`). Out: `WORK/pronouncer.safetensors`, at most 1 MB, a file of the pack
(`edgetts.text.pronouncer` reads it). The model is a joint n-gram model and takes seconds to estimate. Words are aligned
letter by letter (`recipes.tiny.corpus.letters`). N-grams of pairs of a letter and its phones are counted, with modified
Kneser-Ney smoothing (Chen and Goodman 1998). Pruning keeps the n-grams that change the likelihood of the words most.

    python -m recipes.tiny.stages.train_pronouncer --work WORK [--evaluate] [--pack PACK]

--evaluate: first count without one stem in twenty, in all its forms, and print the error rates of phones and words on
the held-out words, with and without stress. A word is right if it matches any pronunciation in the dictionary.
--pack: put the lexicon and the pronouncer into this pack and renew its manifest.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgetts.pack.entries import LEXICON_FILE, PRONOUNCER_FILE
from edgetts.pack.load import open_pack
from edgetts.pack.manifest import FORMAT
from edgetts.pack.text import tokenizer_of
from edgetts.text import pronouncer as runtime
from edgetts.text.pronouncer import Pronouncer
from recipes.tiny.corpus.letters import LETTERS, align, is_held_out, units
from recipes.tiny.corpus.lexicon import STRESS, all_pronunciations
from recipes.tiny.stages.pack_files import put_files

ORDER = 7  # pairs in the longest n-grams
BITS = 9  # per symbol in a key
MOST_NGRAMS = 240_000
LEAST_PAIRS = 8  # words with a rarer pair are left out
N_HALVINGS = 20  # of the bisection for the pruning threshold
MOST_NATS = 60.0  # upper bound of the pruning threshold
LEAST_CHANCE = 1e-9
MOST_BYTE = 255

Keys = npt.NDArray[np.uint64]
Chances = npt.NDArray[np.float64]
Aligned = Mapping[str, tuple[str, ...]]


@dataclass
class Counts:
    """The counts of all n-grams of the words."""

    pairs: list[tuple[str, str]]
    keys: dict[int, Keys]  # by number of pairs, ascending; the last pair in the low bits
    counts: dict[int, npt.NDArray[np.int64]]

    @property
    def order(self) -> int:
        """The number of pairs in the longest n-grams."""
        return max(self.keys)


def head(keys: Keys) -> Keys:
    """The n-grams without their last pair."""
    result: Keys = keys >> np.uint64(BITS)
    return result


def tail(keys: Keys, k: int) -> Keys:
    """The last `k` pairs of the n-grams."""
    result: Keys = keys & np.uint64((1 << (BITS * k)) - 1)
    return result


def count(aligned: Aligned) -> Counts:
    """Count the n-grams of up to `ORDER` pairs, with start and end symbols."""
    found = Counter(pair for word, chunks in aligned.items() for pair in zip(word, chunks, strict=True))
    pairs = [pair for pair, n in sorted(found.items(), key=lambda entry: (-entry[1], entry[0])) if n >= LEAST_PAIRS]
    symbols = {pair: number for number, pair in enumerate(pairs, runtime.FIRST_PAIR)}
    words: list[list[int]] = []
    for word, chunks in aligned.items():
        said = [symbols.get(pair, -1) for pair in zip(word, chunks, strict=True)]
        if -1 not in said:
            words.append([runtime.START, *said, runtime.END])
    flat = np.concatenate([np.array(word, np.uint64) for word in words])
    places = np.concatenate([np.arange(len(word)) for word in words])
    keys, counts = {}, {}
    for k in range(1, ORDER + 1):
        at = np.flatnonzero(places >= k - 1)
        if not len(at):
            break
        key = np.zeros(len(at), np.uint64)
        for j in range(k):
            key = (key << np.uint64(BITS)) | flat[at - k + 1 + j]
        keys[k], counts[k] = np.unique(key, return_counts=True)
    return Counts(pairs, keys, counts)


def continuations(found: Counts, k: int) -> npt.NDArray[np.int64]:
    """Continuation counts: distinct pairs before each n-gram. Plain counts at full order and at the start of words."""
    keys, counts = found.keys[k], found.counts[k]
    if k == found.order:
        return counts
    of, n = np.unique(tail(found.keys[k + 1], k), return_counts=True)
    before = np.zeros(len(keys), np.int64)
    before[np.searchsorted(keys, of)] = n
    first = keys >> np.uint64(BITS * (k - 1)) == runtime.START
    result: npt.NDArray[np.int64] = np.where(first & (k > 1), counts, before)
    return result


def discounts(counts: npt.NDArray[np.int64]) -> Chances:
    """The discounts for counts of 0, 1, 2, and 3 or more (Chen and Goodman 1998)."""
    n1, n2, n3, n4 = (int((counts == n).sum()) for n in (1, 2, 3, 4))
    if not (n1 and n2 and n3):
        return np.array([0.0, 0.5, 0.5, 0.5])
    y = n1 / (n1 + 2 * n2)
    return np.array([0.0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])


def smoothed(found: Counts) -> tuple[dict[int, Chances], dict[int, Chances]]:
    """By order: the conditional probability of each n-gram's last pair, and its log-likelihood gain over backing off.

    The gains are in nats, times the counts.
    """
    chances: dict[int, Chances] = {}
    gains: dict[int, Chances] = {}
    for k in range(1, found.order + 1):
        counts = continuations(found, k)
        taken = discounts(counts)[np.minimum(counts, 3)]
        _, context = np.unique(head(found.keys[k]), return_inverse=True)
        total = np.maximum(np.bincount(context, counts), 1)[context]
        left = np.bincount(context, taken)[context] / total
        lower: Chances = np.full(len(counts), 1 / len(counts))
        if k > 1:
            lower = chances[k - 1][np.searchsorted(found.keys[k - 1], tail(found.keys[k], k - 1))]
        chances[k] = np.maximum(counts - taken, 0.0) / total + left * lower
        least = np.maximum(left * lower, LEAST_CHANCE)
        gained: Chances = np.log(np.maximum(chances[k], LEAST_CHANCE) / least)
        gains[k] = gained * found.counts[k]
    return chances, gains


def chosen(found: Counts, gains: Mapping[int, Chances], most: int) -> dict[int, npt.NDArray[np.bool_]]:
    """Masks of the n-grams to keep: those with the largest gains, and their prefixes; about `most` in total."""

    def above(threshold: float) -> dict[int, npt.NDArray[np.bool_]]:
        kept = {1: np.ones(len(found.keys[1]), bool)}
        needed: Keys = np.zeros(0, np.uint64)
        for k in range(found.order, 1, -1):
            kept[k] = gains[k] > threshold
            kept[k][np.searchsorted(found.keys[k], needed)] = True
            needed = np.unique(head(found.keys[k][kept[k]]))
        return kept

    low, high = 0.0, MOST_NATS
    for _ in range(N_HALVINGS):
        middle = (low + high) / 2
        n = sum(int(kept.sum()) for kept in above(middle).values())
        low, high = (middle, high) if n > most else (low, middle)
    return above(high)


def tables(found: Counts, most: int = MOST_NGRAMS) -> tuple[dict[str, npt.NDArray[np.uint8]], dict[str, str]]:
    """The quantized tables that the runtime reads, and their metadata."""
    chances, gains = smoothed(found)
    kept = chosen(found, gains, most)
    keys = {k: found.keys[k][kept[k]] for k in kept if kept[k].any()}
    chance = {k: np.maximum(chances[k][kept[k]], LEAST_CHANCE) for k in keys}
    order = max(keys)
    back_offs: dict[int, Chances] = {}

    def chance_of(wanted: Keys, k: int) -> Chances:
        """Probabilities of n-grams of `k` pairs, with back-off for those that were pruned."""
        at = np.minimum(np.searchsorted(keys[k], wanted), len(keys[k]) - 1)
        there = keys[k][at] == wanted
        result: Chances = np.where(there, chance[k][at], 0.0)
        missing = wanted[~there]
        if len(missing):
            context = head(missing)
            at = np.minimum(np.searchsorted(keys[k - 1], context), len(keys[k - 1]) - 1)
            weight = np.where(keys[k - 1][at] == context, back_offs[k - 1][at], 1.0)
            result[~there] = weight * chance_of(tail(missing, k - 1), k - 1)
        return result

    children: dict[int, npt.NDArray[np.int64]] = {}
    for k in range(1, order):
        place = np.searchsorted(keys[k], head(keys[k + 1]))
        children[k] = np.bincount(place, minlength=len(keys[k]))
        seen = np.bincount(place, chance[k + 1], len(keys[k]))
        lower = np.bincount(place, chance_of(tail(keys[k + 1], k), k), len(keys[k]))
        back_offs[k] = np.clip((1 - seen) / np.maximum(1 - lower, LEAST_CHANCE), LEAST_CHANCE, None)
    result: dict[str, npt.NDArray[np.uint8]] = {}
    for k in sorted(keys):
        nats = -np.log(chance[k]) / runtime.CHANCE_STEP
        result[f"symbols.{k}"] = tail(keys[k], 1).astype(np.uint8)
        result[f"chances.{k}"] = np.rint(nats).clip(0, MOST_BYTE).astype(np.uint8)
        if k < order:
            weight = np.log(back_offs[k]) / runtime.BACK_OFF_STEP + runtime.BACK_OFF_ZERO
            result[f"back_offs.{k}"] = np.rint(weight).clip(0, MOST_BYTE).astype(np.uint8)
            result[f"children.{k}"] = children[k].clip(0, MOST_BYTE).astype(np.uint8)
    return result, {runtime.PAIRS: "\n".join(f"{letter}\t{chunk}" for letter, chunk in found.pairs)}


def distance(a: Sequence[str], b: Sequence[str]) -> int:
    """Levenshtein distance."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))
    return row[-1]


def errors(said: Callable[[str], str], words: Sequence[str], right: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Error rates of phones and words against the nearest known pronunciation; `plain`: without stress."""
    wrong: Counter[str] = Counter()
    for word in words:
        phones = said(word)
        for kind, drop in (("", ""), (" plain", STRESS)):
            mine, *known = (units(p.replace(STRESS, "") if drop else p) for p in (phones, *right[word]))
            off = min(distance(mine, other) for other in known)
            wrong[f"words{kind}"] += off > 0
            wrong[f"phones{kind}"] += off
        wrong["n_phones"] += len(units(right[word][0]))
    n = {"words": len(words), "phones": wrong["n_phones"]}
    return {kind: wrong[kind] / n[kind.split()[0]] for kind in ("words", "phones", "words plain", "phones plain")}


def evaluate(aligned: Aligned) -> dict[str, float]:
    """Error rates on the held-out stems, with a model estimated without them."""
    pronouncer = Pronouncer(*tables(count({w: c for w, c in aligned.items() if not is_held_out(w)})), "counts")
    right = all_pronunciations()
    held = sorted(word for word in right if set(word) <= set(LETTERS) and is_held_out(word))
    return errors(lambda word: pronouncer.phones(word) or "", held, right)


def write(work: Path, aligned: Aligned) -> Path:
    """Write the pronouncer to `work`, and return its path."""
    from safetensors.numpy import save_file

    path = work / PRONOUNCER_FILE
    found, metadata = tables(count(aligned))
    save_file(found, path, metadata={"format": FORMAT, **metadata})
    return path


def put_into(pack: Path, work: Path) -> None:
    """Replace the lexicon and the pronouncer of a pack by those in `work`. Raises PackError."""
    put_files(pack, {name: (work / name).read_bytes() for name in (LEXICON_FILE, PRONOUNCER_FILE)})
    tokenizer_of(open_pack(pack, verify=True))


def aligned_words(work: Path) -> dict[str, tuple[str, ...]]:
    """The words of the lexicon, with the phones of each letter."""
    lines = (work / LEXICON_FILE).read_text(encoding="utf-8").splitlines()
    return align(dict(line.split("\t") for line in lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder with lexicon.txt")
    parser.add_argument("--evaluate", action="store_true")
    parser.add_argument("--pack", type=Path, help="pack to put the files into")
    args = parser.parse_args()
    aligned = aligned_words(args.work)
    if args.evaluate:
        for kind, share in evaluate(aligned).items():
            print(f"wrong {kind}: {share:.1%}")
    path = write(args.work, aligned)
    print(f"{path}: {path.stat().st_size} bytes")
    if args.pack is not None:
        put_into(args.pack, args.work)


if __name__ == "__main__":
    main()
