"""Phones of a word from its spelling, for words that the lexicon lacks: a joint n-gram model of letters and phones.

In: the tables of a pack's `pronouncer.safetensors`, and words in its letters. Out: phones. A word is a sequence of
pairs: a letter, and the none to three phones that it stands for. The model gives the probability of a pair after those
before it (back-off n-grams, up to seven pairs), and a beam search finds the likeliest phones. The work grows with the
length of the word, which is bounded. Uses no floating-point library, so every machine finds the same phones. Source:
Bisani and Ney 2008, "Joint-sequence models for grapheme-to-phoneme conversion";
`recipes/tiny/stages/train_pronouncer.py` counts. Does not know texts, rules of spelling or the lexicon.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from edgetts.errors import PackError

Table = npt.NDArray[np.uint8]

MAX_LETTERS = 40  # of a word; longer ones are not words
START, END, FIRST_PAIR = 0, 1, 2  # symbols
CHANCE_STEP = 1 / 12  # nats; a probability is exp(-step * byte)
BACK_OFF_STEP, BACK_OFF_ZERO = 1 / 12, 128  # of a context without the pair: exp(step * (byte - zero))
PAIRS = "pairs"  # in the metadata: one `LETTER<tab>PHONES` a line
BEAMS = 12
PARTS = ("symbols", "chances", "back_offs", "children")

_MAX_SYMBOLS = 256  # of a byte
_MAX_NGRAMS = 1 << 20
_LONGEST_CHUNK = 12  # characters
_ORDERS = range(2, 10)


class Pronouncer:
    """The model of one pack. Read-only: safe to share between threads."""

    def __init__(self, tables: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, str], where: str) -> None:
        """tables: `PART.K` of PARTS for n-grams of K pairs, in the order of those of K - 1 that they continue; the
        longest have no back-offs and children. where: names the file in errors. Raises PackError if they do not fit
        together."""
        self._where = where
        lines = [line.split("\t") for line in metadata.get(PAIRS, "").split("\n")]
        if any(len(line) != 2 or len(line[0]) != 1 or len(line[1]) > _LONGEST_CHUNK for line in lines):
            raise self._damaged("its pairs are not a letter and its phones each")
        self._chunks = ["", "", *(chunk for _, chunk in lines)]
        self._n_symbols = len(self._chunks)
        if self._n_symbols > _MAX_SYMBOLS or len({tuple(line) for line in lines}) != len(lines):
            raise self._damaged(f"its {len(lines)} pairs are too many or not distinct")
        self._options: dict[str, list[int]] = {}
        for symbol, (letter, _) in enumerate(lines, FIRST_PAIR):
            self._options.setdefault(letter, []).append(symbol)
        orders = max((k for k in _ORDERS if f"symbols.{k}" in tables), default=0)
        expected = {f"{part}.{k}" for k in range(1, orders + 1) for part in PARTS[: 4 if k < orders else 2]}
        if not orders or set(tables) != expected:
            raise self._damaged(f"its tables are {', '.join(sorted(tables))[:200]}")
        self._symbols, self._chances, self._back_offs, self._first = [b""], [[0.0]], [[0.0]], [[0]]
        for k in range(1, orders + 1):
            self._add(k, tables, k == orders)

    def _add(self, k: int, tables: Mapping[str, npt.NDArray[Any]], is_last: bool) -> None:
        """Check the tables of n-grams of `k` pairs against those of k - 1, and keep them."""
        found = {part: tables[f"{part}.{k}"] for part in PARTS[: 2 if is_last else 4]}
        for part, table in found.items():
            if table.dtype != np.uint8 or table.ndim != 1 or not 0 < len(table) <= _MAX_NGRAMS:
                raise self._damaged(f"its table {part}.{k} is no list of bytes")
        symbols = found["symbols"]
        if any(len(table) != len(symbols) for table in found.values()) or int(symbols.max()) >= self._n_symbols:
            raise self._damaged(f"its n-grams of {k} pairs do not fit together")
        if k == 1 and not np.array_equal(symbols, np.arange(self._n_symbols, dtype=np.uint8)):
            raise self._damaged("its single pairs are not all there")
        if k > 1 and self._first[k - 1][-1] != len(symbols):
            announced = self._first[k - 1][-1]
            raise self._damaged(f"it has {len(symbols)} n-grams of {k} pairs, and {announced} are announced")
        self._symbols.append(symbols.tobytes())
        self._chances.append((-CHANCE_STEP * found["chances"]).tolist())
        if not is_last:
            self._back_offs.append((BACK_OFF_STEP * (found["back_offs"].astype(int) - BACK_OFF_ZERO)).tolist())
            self._first.append([0, *accumulate(found["children"].tolist())])

    @property
    def phones_used(self) -> frozenset[str]:
        """Every character that its phones can have."""
        return frozenset("".join(self._chunks))

    def phones(self, word: str) -> str | None:
        """The likeliest phones of a word; None for a letter that it does not know, no letter, or more than
        MAX_LETTERS."""
        if not 0 < len(word) <= MAX_LETTERS or not all(letter in self._options for letter in word):
            return None
        beams: list[tuple[float, tuple[int, ...], str]] = [(0.0, (START,), "")]
        for letter in word:
            # Of two that can continue in the same way the better one is kept.
            best: dict[tuple[int, ...], tuple[float, str]] = {}
            for score, context, said in beams:
                for symbol in self._options[letter]:
                    chance, after = self._next(context, symbol)
                    total = score + chance
                    known = best.get(after)
                    if known is None or total > known[0]:
                        best[after] = total, said + self._chunks[symbol]
            ranked = sorted(best.items(), key=lambda entry: -entry[1][0])[:BEAMS]
            beams = [(score, context, said) for context, (score, said) in ranked]
        return max(beams, key=lambda beam: beam[0] + self._next(beam[1], END)[0])[2]

    def _next(self, context: tuple[int, ...], symbol: int) -> tuple[float, tuple[int, ...]]:
        """The log probability of `symbol`, and the context after it.

        A context has, for K from 1 on, the place among the n-grams of K pairs of the last K ones, -1 if those are not
        in the tables.
        """
        chance: float | None = None
        back_off = 0.0  # back-offs of the longer contexts
        longest = len(self._first) - 1  # pairs of a context
        places = [symbol]
        for k, place in enumerate(context, 1):
            if k > longest or place < 0:
                places.append(-1)
                continue
            first = self._first[k]
            places.append(self._symbols[k + 1].find(symbol, first[place], first[place + 1]))
        for k in range(len(places) - 1, 0, -1):
            if places[k] >= 0:
                chance = back_off + self._chances[k + 1][places[k]]
                break
            if k <= longest and context[k - 1] >= 0:
                back_off += self._back_offs[k][context[k - 1]]
        if chance is None:
            chance = back_off + self._chances[1][symbol]
        after = places[:longest]
        while len(after) > 1 and after[-1] < 0:
            after.pop()
        return chance, tuple(after)

    def _damaged(self, what: str) -> PackError:
        return PackError(f"{self._where} is damaged ({what}): fetch the pack again.")
