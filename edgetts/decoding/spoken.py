"""Words that are not in the codes: for models whose codes tell which sound of the text they are.

In: the text ids of a segment, its codes, and a table from code to text token (`code_sounds.json` of a pack, optional).
Out: the numbers of words of which most sounds, or some, are missing. Sampled codes sometimes skip words; no duration
betrays one short word, but its sounds are not there. Text and codes are aligned with the fewest edits. Knows no
networks.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgetts.decoding.guards import Lacking
from edgetts.errors import PackError
from edgetts.pack.load import Pack

NO_SOUND = -1  # of a code: silence, or too rare to tell
LEAST_SPOKEN = 0.5  # share of a word's sounds below which it is missing
LEAST_CLEAR = 0.7  # and below which it is unclear
# Costs of the alignment. Extra sounds are cheap: between words the codes pass through sounds of neither.
SKIPPED, ADDED, ALIKE, OTHER = 1.0, 0.7, 0.3, 1.1
_ALIKE_COUNTS = 0.8  # of a sound heard as a similar one
_ROUNDING = 1e-9

Costs = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CodeSounds:
    """token_of_code: the text token heard in each code, or `NO_SOUND`; word_start: the token before each word;
    alike: pairs of tokens that pass for each other. Other tokens of a text, as marks and stress, have no sound."""

    token_of_code: tuple[int, ...]
    word_start: int
    alike: frozenset[tuple[int, int]]
    has_sound: frozenset[int]

    @classmethod
    def of(cls, token_of_code: Sequence[int], word_start: int, alike: Sequence[Sequence[int]]) -> CodeSounds:
        both = frozenset((a, b) for pair in alike for a, b in (tuple(pair), tuple(reversed(pair))))
        return cls(tuple(token_of_code), word_start, both, frozenset(t for t in token_of_code if t != NO_SOUND))

    @classmethod
    def read(cls, path: Path) -> CodeSounds:
        """Raises PackError if the file is not usable."""
        try:
            table: Any = json.loads(path.read_text(encoding="utf-8"))
            tokens, start, alike = table["token_of_code"], table["word_start"], table["alike"]
            numbers = [*tokens, start, *(n for pair in alike for n in pair)]
            if not all(type(n) is int and n >= NO_SOUND for n in numbers) or any(len(pair) != 2 for pair in alike):
                raise ValueError("its entries are not numbers of tokens")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise PackError(f"{path} is not a table of sounds of codes ({error}): fetch the pack again.") from error
        return cls.of(tokens, start, alike)

    @classmethod
    def of_pack(cls, pack: Pack) -> CodeSounds | None:
        """The pack's table; None: its codes do not tell. Raises PackError if it does not fit the pack."""
        if pack.code_sounds_path is None:
            return None
        made = cls.read(pack.code_sounds_path)
        gpt = pack.config.gpt
        largest = max(made.word_start, *made.token_of_code, *(t for pair in made.alike for t in pair))
        if len(made.token_of_code) != gpt.n_mel_codes or largest >= gpt.n_text_tokens:
            raise PackError(f"{pack.code_sounds_path} is for another model: fetch the pack again.")
        return made

    def lacking(self, ids: Sequence[int], codes: Sequence[int]) -> Lacking:
        """How many words of the text are missing in its codes, or unclear."""
        shares = self.spoken_shares(ids, codes)
        return Lacking(int((shares < LEAST_SPOKEN).sum()), int((shares < LEAST_CLEAR).sum()))

    def spoken_shares(self, ids: Sequence[int], codes: Sequence[int]) -> Costs:
        """(W + 1,) share of each word's sounds that its codes have, 0 to 1; 1 if it has no sounds.

        Word 0 is what comes before the first `word_start`.
        """
        wanted, words = self._wanted(ids)
        n_words = 1 + sum(token == self.word_start for token in ids)
        # A sound that lasts for several codes is one.
        heard = [token for token, _ in groupby(self.token_of_code[code] for code in codes) if token != NO_SOUND]
        spoken = _spoken(wanted, heard, self.alike)
        sounds = np.bincount(words, minlength=n_words)
        shares: Costs = np.bincount(words, weights=spoken, minlength=n_words) / np.maximum(sounds, 1)
        shares[sounds == 0] = 1.0
        return shares

    def _wanted(self, ids: Sequence[int]) -> tuple[list[int], list[int]]:
        """The sounds of a text and the word of each; a sound twice in a row within a word is one."""
        wanted: list[int] = []
        words: list[int] = []
        word = 0
        for token in ids:
            if token == self.word_start:
                word += 1
            elif token in self.has_sound and not (wanted and wanted[-1] == token and words[-1] == word):
                wanted.append(token)
                words.append(word)
        return wanted, words


def _spoken(wanted: Sequence[int], heard: Sequence[int], alike: frozenset[tuple[int, int]]) -> Costs:
    """(N,) how far each wanted sound was heard, 0 to 1, by the cheapest alignment."""
    n, m = len(wanted), len(heard)
    kinds = {t: np.array([_cost(t, other, alike) for other in heard]) for t in set(wanted)}
    added = ADDED * np.arange(m + 1)
    total = np.empty((n + 1, m + 1))
    total[0] = added
    for i, token in enumerate(wanted):
        best = total[i] + SKIPPED
        best[1:] = np.minimum(best[1:], total[i, :-1] + kinds[token])
        total[i + 1] = np.minimum.accumulate(best - added) + added
    spoken = np.zeros(n)
    i, j = n, m
    while i:
        if j and total[i, j] > total[i - 1, j - 1] + kinds[wanted[i - 1]][j - 1] - _ROUNDING:
            cost = kinds[wanted[i - 1]][j - 1]
            spoken[i - 1] = 1.0 if cost == 0 else _ALIKE_COUNTS if cost == ALIKE else 0.0
            i, j = i - 1, j - 1
        elif total[i, j] > total[i - 1, j] + SKIPPED - _ROUNDING:
            i -= 1
        else:
            j -= 1
    return spoken


def _cost(wanted: int, heard: int, alike: frozenset[tuple[int, int]]) -> float:
    return 0.0 if wanted == heard else ALIKE if (wanted, heard) in alike else OTHER
