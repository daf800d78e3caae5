"""Text that arrives bit by bit, as clauses that can be spoken.

In: pieces of text cut anywhere, as a language model or a pipe gives them. Out: clauses, which together are the
whole text, each as soon as what follows its mark is known. A word is never cut: a mark inside a number or a
name ends nothing, an abbreviation does not end a sentence, and text without any mark is cut between words
only when it becomes too long to wait for. Knows no tokens and no voice.
"""

from __future__ import annotations

import re

MAX_CHARS = 300  # without a mark that ends a clause: cut between words, before speech has to wait for more
MIN_CHARS = 12  # a shorter clause ended by a comma is spoken with what follows: it would sound clipped

_WIDE = "\u3000-\u303f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef"
_CLOSING = "\"'”’»)\\]}」』】）"
# A mark of a wide script ends a clause wherever it stands, another one only in front of white space.
_END = re.compile(
    rf"(?P<wide>[。！？；：，、…]+[{_CLOSING}]*(?=[^。！？；：，、…{_CLOSING}]))"
    rf"|(?P<strong>[.!?…]+[{_CLOSING}]*(?=\s|[{_WIDE}]))"
    rf"|(?P<weak>[,;:—–][{_CLOSING}]*(?=\s|[{_WIDE}]))"
    r"|(?P<line>\n)"
)
_WORD = re.compile(r"\w")
_LAST_WORD = re.compile(r"(\S+)$")
_TITLES = ("mr", "mrs", "ms", "dr", "prof", "st", "jr", "sr", "rev", "hon", "gen", "gov", "capt", "col", "lt", "sgt")
_SHORTENED = ("vs", "etc", "e.g", "i.e", "cf", "fig", "vol", "pp", "approx", "dept", "est")
_ABBREVIATIONS = frozenset((*_TITLES, *_SHORTENED))
_INITIAL = re.compile(r"(?:\w\.)*\w")  # J. or U.S.
_PRONOUN = "i"
_TAG_ENDS = {"[": "]", "<": ">"}


class ClauseSplitter:
    """Push pieces, take clauses. `markup`: a tag such as `[pause:1.5]` is never cut either."""

    def __init__(self, *, markup: bool = False, max_chars: int = MAX_CHARS, min_chars: int = MIN_CHARS) -> None:
        self._markup = markup
        self._max_chars = max_chars
        self._min_chars = min_chars
        self._text = ""

    @property
    def pending(self) -> str:
        """Text that is not part of a complete clause yet."""
        return self._text

    def push(self, piece: str) -> list[str]:
        """The clauses that `piece` completes, in order."""
        clauses = []
        for start in range(0, len(piece), self._max_chars):  # so that a long piece is not searched again and again
            self._text += piece[start : start + self._max_chars]
            while (end := self._find_end()) is not None:
                clauses.append(self._text[:end])
                self._text = self._text[end:]
        return clauses

    def flush(self) -> list[str]:
        """What is left, at the end of the text."""
        rest, self._text = self._text, ""
        return [rest] if rest else []

    def _find_end(self) -> int | None:
        for match in _END.finditer(self._text):
            if self._ends_clause(match):
                return match.end()
        return self._cut_between_words() if len(self._text) > self._max_chars else None

    def _ends_clause(self, match: re.Match[str]) -> bool:
        before = self._text[: match.start()]
        if not _WORD.search(before) or (self._markup and self._is_in_tag(before)):
            return False
        kind = match.lastgroup
        if kind == "line" or (kind == "wide" and match.group()[0] in "。！？…"):
            return True
        if kind == "strong":
            word = _LAST_WORD.search(before)
            return match.group()[0] != "." or word is None or not _is_abbreviation(word.group(1))
        return len(before.strip()) >= self._min_chars

    def _is_in_tag(self, before: str) -> bool:
        """Whether a tag is open at the end of `before`."""
        return any(before.rfind(opening) > before.rfind(closing) for opening, closing in _TAG_ENDS.items())

    def _cut_between_words(self) -> int | None:
        """The last place between two words that leaves at most `max_chars`, or the first one after that."""
        spaces = [m.end() for m in re.finditer(rf"\s+(?=\S)|(?<=[{_WIDE}])(?=\S)", self._text)]
        if self._markup:
            spaces = [end for end in spaces if not self._is_in_tag(self._text[:end])]
        spaces = [end for end in spaces if _WORD.search(self._text[:end])]
        fitting = [end for end in spaces if end <= self._max_chars]
        return max(fitting) if fitting else min(spaces, default=None)


def _is_abbreviation(word: str) -> bool:
    bare = word.lstrip("(\"'“‘[").lower()
    is_initial = _INITIAL.fullmatch(bare) is not None and not bare.isdigit() and bare != _PRONOUN
    return bare in _ABBREVIATIONS or is_initial
