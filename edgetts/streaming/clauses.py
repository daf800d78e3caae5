"""Splits text that arrives in pieces into clauses that can be spoken.

In: pieces of text cut anywhere, as from a language model or a pipe. Out: clauses, which joined are the whole text, each
as soon as the character after its mark is known. Words are not cut: a mark inside a number or a name ends nothing, and
an abbreviation does not end a sentence. Text without marks is cut between words when it is too long to wait for more;
a very long run without spaces is cut, too. A line end ends a clause unless a long line continues in the next one.

Each character is read once, or twice after a cut: how the text is divided into pieces changes neither the clauses nor
the time. Knows no tokens and no voice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from edgetts.streaming.unbroken import Span, belong_together, cut_unbroken

MAX_CHARS = 300  # of a clause without marks; then it is cut between words
MIN_CHARS = 12  # a shorter clause before a comma is joined with the next one, as it would sound clipped
MAX_UNBROKEN_CHARS = 1000  # of a run without spaces; no word of any language is that long
MAX_MARKS = 100  # in a row; more are a drawn line
MAX_TAG_CHARS = 250  # of a tag; longer ones are text
MAX_ANNOTATED_CHARS = 40  # of a word that an annotation says how to pronounce; what is longer is text
LONG_LINE = 40  # columns; wrapped lines of prose are at least this long

_WIDE = re.compile("[\u3000-\u303f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef]")
_STRONG = frozenset(".!?…。！？؟")
_FULL_STOP = "."
_ENDS_ANYWHERE = frozenset("。！？；：，、…")  # marks of CJK scripts; others end a clause only before white space
_WEAK = frozenset(",;:—–،؛")
_MARKS = _STRONG | _ENDS_ANYWHERE
_CLOSING = frozenset("\"'”’»)]}」』】）")
_OPENING = frozenset("“‘«([{「『【（《〈")
_LINE_END = "\n"
_LINE_ENDS = frozenset("\n\u2028\u2029")  # a sentence does not continue after a line or paragraph separator
_TITLES = ("mr", "mrs", "ms", "dr", "prof", "st", "jr", "sr", "rev", "hon", "gen", "gov", "capt", "col", "lt", "sgt")
_SPANISH = ("sra", "srta", "sres", "dra", "ud", "uds", "vd", "vds", "pág", "págs", "núm", "avda")
_SHORTENED = ("vs", "etc", "e.g", "i.e", "cf", "fig", "vol", "pp", "approx", "dept", "est")
_ABBREVIATIONS = frozenset((*_TITLES, *_SPANISH, *_SHORTENED))
_INITIAL = re.compile(r"(?:\w\.)*\w")  # J. or U.S.
_MAX_ABBREVIATION = 32
_PRONOUN = "i"
_TAG_ENDS = {"[": "]", "<": ">"}


@dataclass
class _Clause:
    """State of the clause being read. Positions count from its beginning; -1: none."""

    has_word: bool = False
    first: int = -1  # of what is not white space
    last: int = -1
    word: int = 0  # start of the latest run without white space
    marks: int = -1  # start of a run of marks and closing quotation marks
    is_weak: bool = False  # the run: it began with a comma or the like
    is_tagged: bool = False  # the run: it began in a tag
    n_before: int = 0  # characters before the run, without white space around them
    line_end: int = -1  # after the line end of a long line; the clause ends there unless the sentence continues
    cut: int = -1  # the last position between two words within the limit
    tag: int = -1  # possible start of an open tag
    tag_end: str = ""
    has_bar: bool = False  # the tag: it has the | of an annotation
    tags: list[Span] = field(default_factory=list)


class ClauseSplitter:
    """Push pieces, take clauses. markup: tags such as `[pause:1.5]` are not cut. annotations: nor are pronunciations
    such as `<read|R EH1 D>`."""

    def __init__(
        self,
        *,
        markup: bool = False,
        annotations: bool = False,
        max_chars: int = MAX_CHARS,
        min_chars: int = MIN_CHARS,
    ) -> None:
        self._markup = markup
        self._annotations = annotations
        self._max_chars = max_chars
        self._min_chars = min_chars
        self._text = ""  # of the clause being read
        self._clause = _Clause()
        self._columns = 0  # of the line being read; wide characters count twice

    @property
    def pending(self) -> str:
        """Text of the incomplete clause."""
        return self._text

    def push(self, piece: str) -> list[str]:
        """The clauses that `piece` completes, in order."""
        clauses: list[str] = []
        for start in range(0, len(piece), MAX_UNBROKEN_CHARS):
            self._read(piece[start : start + MAX_UNBROKEN_CHARS], clauses)
        return clauses

    def flush(self) -> list[str]:
        """The remaining clauses, at the end of the text."""
        rest = self._text
        self._text, self._clause, self._columns = "", _Clause(), 0
        return [rest] if rest else []

    @property
    def waits_after_line(self) -> bool:
        """Whether a long line has ended and only the next character tells if its sentence continues."""
        return self._clause.line_end >= 0

    def flush_line(self) -> list[str]:
        """The pending line of `waits_after_line`, without waiting for the next one."""
        end, text = self._clause.line_end, self._text
        if end < 0:
            return []
        self._text = text[end:]
        self._reread(self._text, 0, len(self._text))
        return [text[:end]]

    # --- reading -----------------------------------------------------------------------------------

    def _read(self, piece: str, clauses: list[str]) -> None:
        """Adds the clauses that `piece` completes."""
        text = self._text + piece
        begin, at = 0, len(self._text)  # of the clause; of the next character
        while at < len(text):
            end = self._next(text, begin, at)
            if end is None or begin + end > at:
                self._columns = 0 if text[at] in _LINE_ENDS else self._columns + _columns(text[at])
                at += 1
            if end is not None:
                clauses.append(text[begin : begin + end])
                line_end = self._clause.line_end - end
                begin += end
                self._reread(text, begin, at)
                self._clause.line_end = line_end if line_end > 0 else -1
        self._text = text[begin:]

    def _reread(self, text: str, begin: int, at: int) -> None:
        """Start a new clause whose characters before `at` were read before and do not end it."""
        self._clause = _Clause()
        for again in range(begin, at):
            self._note(text, begin, again)

    def _next(self, text: str, begin: int, at: int) -> int | None:
        """The end of the clause, if the character at `at` determines it; the character may belong to the next
        clause."""
        clause, char, n = self._clause, text[at], at - begin
        if clause.line_end >= 0 and not (char.isspace() and char not in _LINE_ENDS):
            if not _goes_on(char):
                return clause.line_end
            clause.line_end = -1
        if clause.marks >= 0:
            is_drawn = n - clause.marks >= MAX_MARKS
            is_over = is_drawn or not (char in _MARKS or char in _CLOSING)
            if is_over and self._ends(text[begin:at], char, is_drawn=is_drawn):
                return n
        if n >= MAX_UNBROKEN_CHARS:
            return cut_unbroken(text[begin:at], clause.tags)
        self._note(text, begin, at)
        if n + 1 > self._max_chars and clause.cut >= 0:
            return clause.cut
        if char in _LINE_ENDS and clause.has_word and clause.tag < 0:
            if char != _LINE_END or self._columns < LONG_LINE:
                return n + 1
            clause.line_end = n + 1
        return None

    def _note(self, text: str, begin: int, at: int) -> None:
        """Update the state with the character at `at`."""
        clause, char, n = self._clause, text[at], at - begin
        if self._markup or self._annotations:
            self._note_tag(char, n)
        is_tagged = 0 <= clause.tag < n
        is_fitting = clause.cut < 0 or n <= self._max_chars
        if is_fitting and clause.has_word and not is_tagged and _is_between_words(text[at - 1], char):
            clause.cut = n
        if char in _WEAK or (char in _MARKS and (clause.marks < 0 or clause.is_weak)):
            clause.marks, clause.is_weak, clause.is_tagged = n, char in _WEAK, is_tagged
            clause.n_before = clause.last - clause.first + 1 if clause.last >= 0 else 0
        elif not (char in _MARKS or char in _CLOSING):
            clause.marks = -1
        if char.isspace():
            clause.word = n + 1
            return
        clause.first = n if clause.first < 0 else clause.first
        clause.last = n
        clause.has_word = clause.has_word or char.isalnum() or char == "_"

    def _note_tag(self, char: str, n: int) -> None:
        """Detect the start of a tag, which begins like `[pause`, `</p` or `<2nd|` and is short."""
        clause = self._clause
        if char == "<" or (char == "[" and self._markup):
            clause.tag, clause.tag_end, clause.has_bar = n, _TAG_ENDS[char], False
        elif clause.tag >= 0 and char == clause.tag_end:
            clause.tags.append((clause.tag, n + 1))
            clause.tag = -1
        elif clause.tag >= 0 and (
            n - clause.tag >= MAX_TAG_CHARS
            or (n == clause.tag + 1 and not (char.isalpha() or char == "/" or (self._annotations and char.isdigit())))
            or (not self._markup and not clause.has_bar and n - clause.tag > MAX_ANNOTATED_CHARS)
            or (not self._markup and char in _LINE_ENDS)
        ):
            clause.tag = -1
        clause.has_bar = clause.has_bar or char == "|"

    def _ends(self, clause_text: str, following: str, *, is_drawn: bool) -> bool:
        """Whether the run of marks at the end ends the clause before `following`."""
        clause = self._clause
        run = clause_text[clause.marks :]
        if not clause.has_word or clause.is_tagged:
            return False
        is_wide = any(char in _ENDS_ANYWHERE for char in run)
        is_apart = following.isspace() or _is_wide(following) or _is_wide(run[-1])
        if not (is_wide or is_apart or is_drawn):
            return False
        is_long_enough = clause.n_before >= self._min_chars
        if clause.is_weak:
            return is_long_enough
        strong = [char for char in run if char in _STRONG]
        if is_drawn or any(char != _FULL_STOP for char in strong):
            return True
        if run[0] == _FULL_STOP and not _is_abbreviation(clause_text[clause.word : clause.marks]):
            return True
        return is_wide and is_long_enough


def _is_between_words(before: str, char: str) -> bool:
    """Whether text may be cut before `char`."""
    if before.isspace():
        return True
    if char.isspace() or not _is_wide(before) or before in _OPENING:
        return False
    return not (char in _MARKS or char in _WEAK or char in _CLOSING or belong_together(before, char))


def _goes_on(char: str) -> bool:
    """Whether a sentence continues with `char` in a new line: a lower-case letter, or one of a script without case."""
    return char.isalpha() and not (char.isupper() or char.istitle())


def _is_wide(char: str) -> bool:
    return not char.isascii() and _WIDE.match(char) is not None


def _columns(char: str) -> int:
    return 2 if _is_wide(char) else 1


def _is_abbreviation(word: str) -> bool:
    if not 0 < len(word) <= _MAX_ABBREVIATION:
        return False
    bare = word.lstrip("(\"'“‘[").lower()
    is_initial = _INITIAL.fullmatch(bare) is not None and not bare.isdigit() and bare != _PRONOUN
    return bare in _ABBREVIATIONS or is_initial
