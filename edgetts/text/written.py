"""Cuts the written text at the edges of segments, for subtitles.

In: the user's text and the offset of the first character of the next segment. Out: the offset at which that segment's
written text begins. Closing marks, sentence marks and white space belong to the text before, opening marks to the text
after. A word or number that spans two segments is shown whole with one of them.
"""

from __future__ import annotations

_EITHER = "\"'*_"  # both opening and closing; also Markdown's emphasis
_OPENING = frozenset("“‘«‹„‚([{「『（【《〈¿¡" + _EITHER)
_CLOSING = frozenset("”’»›)]}」』）】》〉…。，！？；：" + _EITHER)
_MAX_MARKS = 8  # examined on each side of a cut
_LONGEST_WORD = 64  # characters; longer words may be split
_IN_NUMBERS = frozenset(",.:/-$€£")  # between digits, or before one
_ENDING = frozenset(".,!?;:")  # closing unless a letter or digit follows, as in 5.50


def cut_before(text: str, at: int) -> int:
    """The cut in `text` before a segment whose first spoken character is at offset `at`."""
    limit = at + _MAX_MARKS
    while at < min(limit, len(text)) and _closes(text, at):
        at += 1  # this mark closes the segment before
    while at < min(limit, len(text)) and text[at].isspace():
        at += 1
    start, lowest = at, max(0, at - _MAX_MARKS)
    while start > lowest and text[start - 1] in _OPENING:
        start -= 1
    return start if _is_edge(text, start) or not _has_either(text[start:at]) else at


def whole_words(text: str, edges: list[int]) -> list[int]:
    """`edges`, ascending, with inner ones moved out of words: after the word, or else before it, if no part becomes
    blank."""
    if len(edges) == 2:
        return edges
    moved = list(edges)
    for k in range(1, len(edges) - 1):
        at = moved[k]
        if not _is_inside(text, at):
            continue
        start, stop = at, at
        while start > max(0, at - _LONGEST_WORD) and not text[start - 1].isspace():
            start -= 1
        while stop < min(len(text), at + _LONGEST_WORD) and not text[stop].isspace():
            stop += 1
        if stop < moved[k + 1] and (stop == len(text) or text[stop].isspace()) and text[stop : moved[k + 1]].strip():
            moved[k] = stop
        elif start > moved[k - 1] and _is_edge(text, start) and text[moved[k - 1] : start].strip():
            moved[k] = start
    return moved


def _is_inside(text: str, at: int) -> bool:
    """Whether `at` is inside a word of letters with case or inside a number."""
    if not 0 < at < len(text):
        return False
    before, after = text[at - 1], text[at]
    if after in _IN_NUMBERS:
        return _is_spelled(before) and text[at + 1 : at + 2].isdigit()
    return _is_spelled(after) and (_is_spelled(before) or (after.isdigit() and before in _IN_NUMBERS))


def _is_spelled(char: str) -> bool:
    return char.isdigit() or char.islower() or char.isupper()


def _closes(text: str, at: int) -> bool:
    if text[at] in _ENDING:
        return not text[at + 1 : at + 2].isalnum()
    return text[at] in _CLOSING and not (_is_edge(text, at) and text[at] in _OPENING)


def _is_edge(text: str, at: int) -> bool:
    """Whether the text starts here or white space precedes."""
    return at == 0 or text[at - 1].isspace()


def _has_either(marks: str) -> bool:
    return any(mark in _EITHER for mark in marks)
