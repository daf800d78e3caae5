"""Cuts overlong text without spaces.

In: a run of characters. Out: a position in its second half that splits no grapheme, preferably between two scripts. Not
a word segmenter: such text is not ordinary language.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

_ZERO_WIDTH_JOINER = "\u200d"
_REGIONAL = range(0x1F1E6, 0x1F200)  # two of them are a flag
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_HANGUL_PARTS = range(0x1100, 0x1200)

Span = tuple[int, int]


def cut_unbroken(text: str, whole: Sequence[Span] = ()) -> int:
    """A position in the second half of `text`, at least 1: the last one after a space, else the last one between a mark
    and a letter or between two scripts, else the last one between two graphemes.

    whole: spans that are not split unless there is no other position.
    """
    best, place = -1, len(text)
    is_flag_open = False  # whether an odd number of regional indicators precedes
    inside = _inside(whole)
    for at in range(1, len(text)):
        is_flag_open = not is_flag_open if ord(text[at - 1]) in _REGIONAL else False
        if at <= len(text) // 2 or at in inside or belong_together(text[at - 1], text[at], is_flag_open=is_flag_open):
            continue
        rank = _rank(text[at - 1], text[at])
        if rank >= best:
            best, place = rank, at
    return place


def _inside(spans: Sequence[Span]) -> set[int]:
    return {at for start, stop in spans for at in range(start + 1, stop)}


def belong_together(left: str, right: str, *, is_flag_open: bool = False) -> bool:
    """Whether two characters belong to one grapheme: combining marks, emoji, flags and Hangul, not all of Unicode."""
    if right.isascii():
        return left == "\r" and right == "\n"
    code, category = ord(right), unicodedata.category(right)
    return (
        category[0] == "M"
        or category == "Cf"
        or code in _SKIN_TONES
        or left == _ZERO_WIDTH_JOINER
        or (is_flag_open and code in _REGIONAL)
        or (ord(left) in _HANGUL_PARTS and code in _HANGUL_PARTS)
    )


def _rank(left: str, right: str) -> int:
    """Quality of a cut between two characters: 2 after a space, 1 between two scripts, else 0."""
    if left.isspace():
        return 2
    return 1 if _script(left) != _script(right) and not right.isspace() else 0


def _script(char: str) -> str:
    """`LATIN`, `CJK`, `HIRAGANA` and so on; one name for digits, one for marks."""
    if char.isdecimal():
        return "digit"
    return unicodedata.name(char, "").partition(" ")[0] if char.isalpha() else "mark"
