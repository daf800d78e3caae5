"""Reads the inline constructs of Markdown: emphasis, code, links, images, entities, HTML tags.

In: the text so far and an offset. Out: the spoken text of the construct there, written to a `Window`; or nothing, and
then the same offset is read again with more text. Constructs are bounded in length, so little text is held back; an
incomplete construct is text. Does not know lines.
Source: the rules of CommonMark, simplified where they need the rest of the text: an opening mark of emphasis is
removed before it is known whether there is a closing one.
"""

from __future__ import annotations

import html
import re
import string
import unicodedata
from dataclasses import dataclass, field

from edgetts.text.lines import LINE_SEPARATOR, PARAGRAPH_SEPARATOR

MAX_RUN = 100  # of the same mark
_MAX_EMPHASIS = 3  # ***very***
_MAX_TARGET_CHARS = 2400

_PUNCTUATION = frozenset(string.punctuation)
_CODE = re.compile("[^`\n]+")
_CODE_WORD = re.compile("[^`\n \t|]+")
_PLAIN = re.compile(r"[^\\`*_~!\[\]<>&|#\n]+")
_WORD = re.compile(r"[^\\`*_~!\[\]<>&|#\n \t]+")
_LABEL = re.compile(r"\[(!\[[^\[\]\n]{0,300}\]\([^()\s]{0,1000}\)|[^\[\]\n]{1,300})\]")
_OPEN_LABEL = re.compile(
    r"\[(?:!(?:\[(?:[^\[\]\n]{0,300}(?:\](?:\((?:[^()\s]{0,1000}(?:\))?)?)?)?)?)?|[^\[\]\n]{0,300})"
)
_PLACE = r"(?:<[^<>\n]{0,2000}>|[^\s()<>]{0,2000}(?:\([^\s()]{0,200}\)[^\s()<>]{0,200})?)"
_TARGET = re.compile(rf"\([ ]?{_PLACE}(?:[ ]{{1,3}}(?:\"[^\"\n]{{0,300}}\"|'[^'\n]{{0,300}}'))?[ ]?\)")
_OPEN_TARGET = re.compile(rf"\([^\n]{{0,{_MAX_TARGET_CHARS}}}")
_REFERENCE = re.compile(r"\[[^\[\]\n]{0,100}\]")
_OPEN_REFERENCE = re.compile(r"\[[^\[\]\n]{0,100}")
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_OPEN_ENTITY = re.compile(r"&#?[A-Za-z0-9]{0,32}")
_AUTOLINK = re.compile(r"<((?:https?://|mailto:)[^\s<>]{1,2000}|[\w.+-]{1,100}@[\w.-]{1,200})>")
_COMMENT = re.compile(r"<!--(?:[^-]|-(?!->)){0,1000}-->")
_OPEN_COMMENT = re.compile(r"<!-?-?(?:(?<=<!--)[^\0]{0,1000})?")
_HTML = re.compile(r"</?([A-Za-z][A-Za-z0-9]{0,15})(?:\s[^<>]{0,400})?/?>")
_OPEN_ANGLE = re.compile(r"<[^\s<>]{0,2000}")
_OPEN_HTML = re.compile(r"</?([A-Za-z][A-Za-z0-9]{0,15})\s[^<>]{0,400}")
_HTML_LINES = frozenset({"br", "li", "tr", "dt", "dd", "option"})
_HTML_BLOCKS = frozenset(
    {"p", "div", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "dl", "table", "thead", "tbody", "pre", "blockquote"}
    | {"hr", "section", "article", "header", "footer", "details", "summary", "figure", "figcaption", "center"}
)
_HTML_SPANS = frozenset(
    {"a", "abbr", "b", "big", "cite", "code", "del", "dfn", "em", "font", "i", "img", "ins", "kbd", "mark", "q", "s"}
    | {"samp", "small", "span", "strike", "strong", "sub", "sup", "td", "th", "tt", "u", "var", "wbr", "picture"}
)
_HTML_NAMES = _HTML_LINES | _HTML_BLOCKS | _HTML_SPANS


@dataclass
class Window:
    """Text that was not read yet, and the output of the text that was."""

    text: str = ""
    offset: int = 0  # of `text` in the whole
    is_last: bool = False  # no more text follows
    spoken: list[str] = field(default_factory=list)
    origins: list[int] = field(default_factory=list)
    is_begun: bool = False  # there was output other than white space

    def keep(self, start: int, stop: int) -> None:
        """Output the characters from `start` to `stop` unchanged."""
        self.spoken.append(self.text[start:stop])
        self.origins += range(self.offset + start, self.offset + stop)
        self.is_begun = self.is_begun or not self.text[start:stop].isspace()

    def write(self, spoken: str, at: int) -> None:
        """Output `spoken` with the origin `at`."""
        self.spoken.append(spoken)
        self.origins += [self.offset + at] * len(spoken)

    def may_become(self, pattern: re.Pattern[str], at: int) -> bool:
        """Whether all text from `at` on matches `pattern`, the beginning of a construct, and more may follow."""
        return not self.is_last and pattern.fullmatch(self.text, at) is not None

    def run(self, at: int) -> int:
        """End of the run of the character at `at`, at most MAX_RUN long."""
        stop = at
        while stop < len(self.text) and self.text[stop] == self.text[at] and stop - at < MAX_RUN:
            stop += 1
        return stop

    def ends_at(self, at: int) -> bool:
        """Whether the character at `at` has not arrived yet."""
        return at >= len(self.text) and not self.is_last


class Inline:
    """Reads constructs one by one, with the state of the paragraph."""

    def __init__(self, *, markup: bool) -> None:
        self._markup = markup  # keep tags
        self.begin()

    def begin(self) -> None:
        """Begin a new paragraph."""
        self._code = ""  # the backticks that end the code
        self._open = dict.fromkeys("*_~", 0)  # open marks of emphasis
        self._skipped: dict[int, int] = {}  # start and end of link addresses, by offset in the whole text
        self._previous = ""

    @property
    def is_in_code(self) -> bool:
        return bool(self._code)

    def leave_gap(self) -> None:
        """Forget the previous character, as after white space."""
        self._previous = ""

    def read(self, window: Window, at: int, *, by_words: bool = False) -> int | None:
        """Read the construct at `at`. Returns its end; None: more text is needed. by_words: read at most a word."""
        char = window.text[at]
        end = self._skipped.pop(window.offset + at, None)
        if end is not None:
            self._previous = ")"
            return end - window.offset
        if self._code and char != "`":
            match = (_CODE_WORD if by_words else _CODE).match(window.text, at)
            assert match is not None  # the caller reads line ends, and spaces of cells
            stop: int | None = match.end()
            window.keep(at, match.end())
        else:
            stop = self._construct(window, at, char, _WORD if by_words else _PLAIN)
        if stop is not None:
            self._previous = window.text[stop - 1]
        return stop

    def _construct(self, window: Window, at: int, char: str, without_marks: re.Pattern[str]) -> int | None:
        text = window.text
        plain = without_marks.match(text, at)
        if plain is not None:
            window.keep(at, plain.end())
            return plain.end()
        if char == "`":
            return self._ticks(window, at)
        if char in self._open:
            return self._emphasis(window, at)
        if char == "\\":
            if window.ends_at(at + 1):
                return None
            is_escape = text[at + 1 : at + 2] in _PUNCTUATION
            window.keep(at + 1 if is_escape else at, at + 2 if is_escape else at + 1)
            return at + 2 if is_escape else at + 1
        if char == "[" or text.startswith("![", at):
            return self._link(window, at)
        if char == "!" and window.ends_at(at + 1):
            return None
        if char == "&":
            return self._entity(window, at)
        if char == "<":
            return self._angle(window, at)
        if char == "|" and self._previous.isspace():  # between the cells of a table
            if window.ends_at(at + 1):
                return None
            if text[at + 1 : at + 2].isspace():
                window.write(",", at)
                return at + 1
        window.keep(at, at + 1)
        return at + 1

    def _ticks(self, window: Window, at: int) -> int | None:
        stop = window.run(at)
        if window.ends_at(stop):
            return None
        ticks = window.text[at:stop]
        if not self._code:
            self._code = ticks
        elif ticks == self._code:
            self._code = ""
        else:
            window.keep(at, stop)
        return stop

    def _emphasis(self, window: Window, at: int) -> int | None:
        stop = window.run(at)
        if window.ends_at(stop):
            return None
        before, mark, after = self._previous, window.text[at], window.text[stop : stop + 1]
        n = stop - at
        is_sign = before.isdecimal() and after.isdecimal()  # 2*3
        if is_sign or n > _MAX_EMPHASIS or (mark == "~" and n != 2):
            window.keep(at, stop)
        elif self._closes(mark, before, after):
            self._open[mark] = max(0, self._open[mark] - n)
        elif _opens(mark, n, before, after):
            self._open[mark] += n
        else:
            window.keep(at, stop)
        return stop

    def _closes(self, mark: str, before: str, after: str) -> bool:
        if not self._open[mark] or not before or before.isspace():
            return False
        return mark != "_" or not _is_word(after)

    def _link(self, window: Window, at: int) -> int | None:
        """Output the text of a link or the description of an image, without the address."""
        text = window.text
        begin = at + 1 if text[at] == "!" else at
        label = _LABEL.match(text, begin)
        if label is None:
            if window.may_become(_OPEN_LABEL, begin):
                return None
            window.keep(at, begin + 1)
            return begin + 1
        end = label.end()
        if window.ends_at(end):
            return None
        if label[1].startswith("^"):  # a footnote
            return end
        stop = end
        for follows, pattern, is_open in (("(", _TARGET, _OPEN_TARGET), ("[", _REFERENCE, _OPEN_REFERENCE)):
            if not text.startswith(follows, end):
                continue
            target = pattern.match(text, end)
            if target is None and window.may_become(is_open, end):
                return None
            stop = end if target is None else target.end()
        if stop == end:
            window.keep(at, begin + 1)
        else:
            self._skipped[window.offset + end - 1] = window.offset + stop
        return begin + 1

    def _entity(self, window: Window, at: int) -> int | None:
        entity = _ENTITY.match(window.text, at)
        if entity is None:
            if window.may_become(_OPEN_ENTITY, at):
                return None
            window.keep(at, at + 1)
            return at + 1
        char = html.unescape(entity.group())
        if char == entity.group():
            window.keep(at, entity.end())
        else:
            window.write(" " if char.isspace() or not char.isprintable() else char, at)
        return entity.end()

    def _angle(self, window: Window, at: int) -> int | None:
        text = window.text
        address = _AUTOLINK.match(text, at)
        if address is not None:
            window.keep(*address.span(1))
            return address.end()
        comment = _COMMENT.match(text, at)
        if comment is not None:
            return comment.end()
        tag = None if self._markup else _HTML.match(text, at)
        if tag is not None:
            name = tag[1].lower()
            if name in _HTML_LINES or name in _HTML_BLOCKS:
                window.write(LINE_SEPARATOR if name in _HTML_LINES else PARAGRAPH_SEPARATOR, at)
            if name in _HTML_NAMES:
                return tag.end()
        elif self._may_be_open(window, at):
            return None
        window.keep(at, at + 1)
        return at + 1

    def _may_be_open(self, window: Window, at: int) -> bool:
        """Whether an address, a comment or a tag may begin at `at` and be incomplete."""
        if window.may_become(_OPEN_ANGLE, at) or window.may_become(_OPEN_COMMENT, at):
            return True
        tag = _OPEN_HTML.match(window.text, at)
        is_html = tag is not None and tag[1].lower() in _HTML_NAMES and not self._markup
        return is_html and window.may_become(_OPEN_HTML, at)


def _opens(mark: str, n: int, before: str, after: str) -> bool:
    """Whether a run of marks opens emphasis, and is not a multiplication sign or part of a name."""
    if not after or after.isspace():
        return False
    if mark == "_":
        return not _is_word(before) and not (_is_mark(after) and before and not before.isspace())
    if before.isascii() and _is_word(before) and after.isascii():
        return False
    is_apart = not before or before.isspace() or _is_mark(before)
    return n > 1 or is_apart or not _is_mark(after)


def _is_word(char: str) -> bool:
    return char.isalnum()


def _is_mark(char: str) -> bool:
    return unicodedata.category(char)[0] in "PS"
