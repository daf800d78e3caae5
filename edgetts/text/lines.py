"""Inserts pauses at the line ends of headings, list items, verses and paragraphs, but not of wrapped prose.

In: parts of a text and pauses. Out: the same with a pause at each line or paragraph end where no sentence continues.
A line end belongs to wrapped prose if the next word did not fit into a long line, or if a sentence continues with a
lower-case letter. U+2028 and U+2029 always end lines and paragraphs. Takes time linear in the text. Of languages it
only knows marks and letter case.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgetts.text.markup import Pause
from edgetts.text.traced import TracedText

LINE_PAUSE_S = 0.35  # as after a period
PARAGRAPH_PAUSE_S = 0.7
LINE_SEPARATOR = "\u2028"
PARAGRAPH_SEPARATOR = "\u2029"

_END = re.compile("[\n\u2028\u2029]")
_PROSE_COLUMNS = 40  # minimum width of wrapped prose
_LIST_WORDS = 3  # a line of more words that continues with a lower-case letter, up to a period, is prose
_SENTENCE_END = re.compile(r"[.!?…。！？؟][\"'”’»)\]}」』】）]*$")
_SENTENCE_MARK = re.compile(r"[.!?…。！？؟](?=[\s\"'”’»)」』）]|$)")
_INTRODUCES = (":", "：")
_CONTINUED_MARKS = tuple(",;，；、–—-")
_ITEM = re.compile(r"(?:[-*+•‣◦·–—]|\(?(?:\d{1,3}|[A-Za-z])[.)])\s")
_FAR_ENOUGH = 20  # characters at the end of a line that are searched for marks
_KINSOKU_COLUMNS = 6  # most columns left free in a full line, for marks that may not begin the next one
_FIRST_WORD = re.compile(r"\S{1,40}")


@dataclass(frozen=True)
class _Line:
    """A nonblank line."""

    start: int  # offset in its part
    text: str  # without white space around it
    columns: int
    gap: str  # the line ends before it

    @property
    def is_item(self) -> bool:
        return _ITEM.match(self.text) is not None

    @property
    def is_small(self) -> bool:
        """Whether it begins with a lower-case letter."""
        return self.text[0].islower()


def pause_of(gap: str, before: str = "") -> float:
    """Pause in seconds for the line ends in the white space `gap` after the text `before`, if no sentence continues."""
    ends = _END.findall(gap)
    if PARAGRAPH_SEPARATOR in ends or ends.count("\n") > 1:
        return PARAGRAPH_PAUSE_S
    if not ends or (LINE_SEPARATOR not in ends and before.endswith(_CONTINUED_MARKS)):
        return 0.0
    return LINE_PAUSE_S


def split_lines(parts: Sequence[TracedText | Pause]) -> list[TracedText | Pause]:
    """`parts` with pauses at line ends, except next to an explicit pause."""
    found: list[TracedText | Pause] = []
    for part in parts:
        found += [part] if isinstance(part, Pause) else _split(part)
    return found


def _split(part: TracedText) -> Iterator[TracedText | Pause]:
    lines = list(_lines(part.text))
    done = 0
    for index, pause_s in _breaks(lines):
        yield part.slice(done, lines[index].start)
        yield Pause(pause_s, is_line_end=True)
        done = lines[index].start
    yield part.slice(done, len(part))


def _lines(text: str) -> Iterator[_Line]:
    start, gap = 0, ""
    for end in [*_END.finditer(text), None]:
        stop = len(text) if end is None else end.start()
        line = text[start:stop].strip()
        if line:
            yield _Line(start, line, _columns(line), gap)
            gap = ""
        if end is not None:
            gap = gap[:2] + end.group() if end.group() != PARAGRAPH_SEPARATOR else PARAGRAPH_SEPARATOR
            start = end.end()


def _breaks(lines: list[_Line]) -> Iterator[tuple[int, float]]:
    """Indices of the lines with a pause before them, and its seconds."""
    begin = 0
    for index in range(1, len(lines) + 1):
        if index < len(lines) and pause_of(lines[index].gap) < PARAGRAPH_PAUSE_S:
            continue
        for place in _ends_in_paragraph(lines[begin:index]):
            yield begin + place, LINE_PAUSE_S
        if index < len(lines):
            yield index, PARAGRAPH_PAUSE_S
        begin = index


def _ends_in_paragraph(lines: list[_Line]) -> Iterator[int]:
    """Indices of the lines of a paragraph that do not continue the line before."""
    width = max((line.columns for line in lines), default=0)
    closes = [False] * len(lines)  # whether a sentence that continues in this line reaches its final mark
    for index in range(len(lines) - 1, -1, -1):
        goes_on = index + 1 < len(lines) and lines[index + 1].is_small and closes[index + 1]
        closes[index] = goes_on or _SENTENCE_MARK.search(lines[index].text) is not None
    is_prose = any(after.is_small and before.columns >= _PROSE_COLUMNS for before, after in itertools.pairwise(lines))
    for index, (before, after) in enumerate(itertools.pairwise(lines), start=1):
        if LINE_SEPARATOR in after.gap or not _goes_on(before, after, width, is_prose, closes[index]):
            yield index


def _goes_on(before: _Line, after: _Line, width: int, is_prose: bool, closes: bool) -> bool:
    """Whether the line end needs no pause besides that of a mark before it.

    width: of the paragraph. is_prose: another sentence of the paragraph continues after a long line. closes: the
    sentence that continues in `after` reaches its final mark.
    """
    if after.is_item or before.text.endswith(_INTRODUCES):
        return False
    if _SENTENCE_END.search(before.text[-_FAR_ENOUGH:]) or before.text.endswith(_CONTINUED_MARKS):
        return True
    first = _FIRST_WORD.match(after.text)
    needed = _columns(first.group()) if first is not None else 0
    is_full = width >= _PROSE_COLUMNS and before.columns + 1 + needed > width
    if after.is_small:
        is_sentence = closes and len(before.text.split(maxsplit=_LIST_WORDS)) > _LIST_WORDS
        return before.columns >= _PROSE_COLUMNS or is_full or (is_sentence and not before.is_item)
    if _has_no_case(after.text[0]):  # lines of Chinese are full to a character or two
        return before.columns >= _PROSE_COLUMNS and before.columns + _KINSOKU_COLUMNS > width
    return is_full and is_prose and before.columns >= _PROSE_COLUMNS


def _has_no_case(char: str) -> bool:
    return char.isalpha() and not (char.isupper() or char.islower() or char.istitle())


def _columns(text: str) -> int:
    """Width of `text` in columns; Chinese characters count twice."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
