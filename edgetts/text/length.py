"""How long a text can take to speak, from what is heard of it: phones, letters or characters, never marks.

In: tokens of one segment, and whether they are phones. Out: the least and the most seconds. Below the least, words are
missing; above the most, the model has run on. Knows no codes and no voice.

The least is 0.7 of the fastest of 3200 recordings by the built-in model's teacher (24 voices, speeds 0.9 to 1.1; pauses
included), which took 0.060 s a phone and 0.050 s a letter (one in a thousand: 0.061 and 0.052; median 0.082 and
0.073; slowest 0.180 and 0.19). A Chinese character is a syllable: nobody speaks more than ten a second.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

LEAST_PHONE_S = 0.042
LEAST_LETTER_S = 0.035
LEAST_CHARACTER_S = 0.07
# The most is for phones alone: how many of a word's letters are heard differs too much.
MOST_BASE_S = 0.7  # before, behind and around
MOST_PHONE_S = 0.25  # the slowest recording, and 0.4 of it more
MOST_MARK_S = 0.6  # a pause
MAX_SILENCE_S = 0.6  # inside a sentence; the longest in 800 of those recordings is 0.16 s: words are lost behind it

_WIDE = re.compile("[\u1100-\u11ff\u2e80-\ua4cf\ua840-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]")
_SPACING = "\u02b0-\u02ff"  # stress and length marks count as letters in Unicode
_LETTER = re.compile(rf"[^\W\d_{_SPACING}]")
_PAUSES = frozenset(",.?!")


@dataclass(frozen=True)
class SpokenLength:
    """Seconds."""

    least_s: float  # of sound, silence not counted
    most_s: float
    max_silence_s: float  # in one go


def spoken_length(tokens: Sequence[str], *, phones: bool) -> SpokenLength:
    """The length of a segment with these tokens."""
    heard = "".join(_LETTER.findall("".join(tokens)))
    n_wide = len(_WIDE.findall(heard))
    n_letters = len(heard) - n_wide
    if not phones:
        return SpokenLength(LEAST_LETTER_S * n_letters + LEAST_CHARACTER_S * n_wide, math.inf, math.inf)
    n_pauses = sum(token in _PAUSES for token in tokens[:-1])
    return SpokenLength(
        least_s=LEAST_PHONE_S * n_letters,
        most_s=MOST_BASE_S + MOST_PHONE_S * n_letters + MOST_MARK_S * n_pauses,
        max_silence_s=MAX_SILENCE_S,
    )
