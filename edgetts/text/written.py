"""Where the written text is cut when its spoken form is: what subtitles show.

In: the user's text and the offset of the first character that the next segment speaks. Out: the offset at which that
segment's written text begins. A closing mark stays with what it closes, an opening one goes with what it opens,
white space and marks that end something stay in front of the cut.
"""

from __future__ import annotations

_EITHER = "\"'*_"  # open and close alike; also Markdown's emphasis
_OPENING = frozenset("“‘«‹„‚([{「『（【《〈¿¡" + _EITHER)
_CLOSING = frozenset("”’»›)]}」』）】》〉…。，！？；：" + _EITHER)
_MOST_MARKS = 8  # that are looked at on each side of a cut
_ENDING = frozenset(".,!?;:")  # close unless a letter or figure follows: not in 5.50


def cut_before(text: str, at: int) -> int:
    """The cut in `text` for a segment that speaks from offset `at` on."""
    most = at + _MOST_MARKS
    while at < min(most, len(text)) and _closes(text, at):
        at += 1  # the segment speaks a mark that closes the one before
    while at < min(most, len(text)) and text[at].isspace():
        at += 1
    start, least = at, max(0, at - _MOST_MARKS)
    while start > least and text[start - 1] in _OPENING:
        start -= 1
    return start if _is_edge(text, start) or not _has_either(text[start:at]) else at


def _closes(text: str, at: int) -> bool:
    if text[at] in _ENDING:
        return not text[at + 1 : at + 2].isalnum()
    return text[at] in _CLOSING and not (_is_edge(text, at) and text[at] in _OPENING)


def _is_edge(text: str, at: int) -> bool:
    """Whether nothing stands directly in front."""
    return at == 0 or text[at - 1].isspace()


def _has_either(marks: str) -> bool:
    return any(mark in _EITHER for mark in marks)
