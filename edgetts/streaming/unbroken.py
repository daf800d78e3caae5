"""Where text without spaces is cut, once it has become too long to wait for.

In: a stretch of characters. Out: a place in its second half at which nothing that is seen as one character falls
apart, between two scripts if there is one. Not a word segmenter: such text is no ordinary language.
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
    """A place in the second half of `text`, at least 1: the last one after a space, else the last one between a mark
    and a letter or two scripts, else the last one between two characters as a reader sees them.

    whole: places inside these are not taken, unless there is no other.
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
    """Whether a reader sees one character: not every rule of Unicode, but marks, emoji, flags and Hangul parts."""
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
    """How good a place between two characters is: 2 after a space, 1 where the script changes, else 0."""
    if left.isspace():
        return 2
    return 1 if _script(left) != _script(right) and not right.isspace() else 0


def _script(char: str) -> str:
    """`LATIN`, `CJK`, `HIRAGANA` and so on; one name for digits, one for marks."""
    if char.isdecimal():
        return "digit"
    return unicodedata.name(char, "").partition(" ")[0] if char.isalpha() else "mark"
