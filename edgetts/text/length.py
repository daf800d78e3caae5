"""Bounds on the duration of a text, from its phones, letters or characters; marks are not counted.

In: tokens of one segment, and whether they are phones. Out: minimum and maximum seconds. Shorter speech misses words;
longer speech has run on. Does not know codes or voices.

The minimum is 0.7 of the fastest of 3200 recordings by the built-in model's teacher (24 voices, speeds 0.9 to 1.1;
with pauses), which took 0.060 s a phone and 0.050 s a letter (0.1st percentile: 0.061 and 0.052; median 0.082 and
0.073; slowest 0.180 and 0.19). A Chinese character is a syllable, of which people speak at most ten a second.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

MIN_PHONE_S = 0.042
MIN_LETTER_S = 0.035
MIN_CHARACTER_S = 0.07
# The maximum is for phones only: the number of silent letters of a word varies too much.
MAX_BASE_S = 0.7  # per segment
MAX_PHONE_S = 0.25  # 1.4 times the slowest recording
MAX_MARK_S = 0.6  # per pause
MAX_SILENCE_S = 0.6  # inside a sentence; words are lost after a longer one. The longest in 800 recordings is 0.16 s

_WIDE = re.compile("[\u1100-\u11ff\u2e80-\ua4cf\ua840-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]")
_SPACING = "\u02b0-\u02ff"  # stress and length marks count as letters in Unicode
_LETTER = re.compile(rf"[^\W\d_{_SPACING}]")
_PAUSES = frozenset(",.?!")


@dataclass(frozen=True)
class SpokenLength:
    """Bounds on the duration of a segment."""

    least_s: float  # without silence
    most_s: float
    max_silence_s: float  # of one silence


def spoken_length(tokens: Sequence[str], *, phones: bool) -> SpokenLength:
    """Bounds on the duration of a segment with these tokens."""
    letters = _LETTER.findall("".join(tokens))
    n_wide = len(_WIDE.findall("".join(letters)))
    n_letters = len(letters) - n_wide
    if not phones:
        return SpokenLength(MIN_LETTER_S * n_letters + MIN_CHARACTER_S * n_wide, math.inf, math.inf)
    n_pauses = sum(token in _PAUSES for token in tokens[:-1])
    return SpokenLength(
        least_s=MIN_PHONE_S * n_letters,
        most_s=MAX_BASE_S + MAX_PHONE_S * n_letters + MAX_MARK_S * n_pauses,
        max_silence_s=MAX_SILENCE_S,
    )
