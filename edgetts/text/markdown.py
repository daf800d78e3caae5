"""Removes Markdown markup, incrementally.

In: text with Markdown in pieces, cut anywhere. Out: its words, traced to the original text. The markup of emphasis,
headings, lists, quotations, code, links and tables is removed, the words in them are kept. U+2028 marks certain line
ends, U+2029 the ends of headings and blocks. Text that does not follow the rules stays unchanged: `2 * 3`,
`snake_case`, `#5`. Only undecided text is held back, such as the beginning of a line or a link, at most
MAX_HELD_CHARS. The result does not depend on the pieces. `markdown_inline` reads the constructs inside a line.

Existing parsers neither work on incomplete text nor give the origin of each character.
"""

from __future__ import annotations

import re

from edgetts.text.lines import LINE_SEPARATOR, PARAGRAPH_SEPARATOR
from edgetts.text.markdown_inline import Inline, Window
from edgetts.text.traced import TracedText

MAX_HELD_CHARS = 4000

_MAX_START = 200  # characters of a line's beginning that decide its kind
_MAX_INDENT = 20
_SLICE_CHARS = 1000  # of a long piece; bounds the search for the end of a construct
_MIN_RULE = 3
_INDENT = re.compile(r"[ \t]{0,20}")
_QUOTE = re.compile(r">(?:[ \t]|(?=>|\r?\n))")
_RULE_CHARS = re.compile(r"[ \t|:=*_\r-]+")
_HEAD_RULE = frozenset("|:-")  # between head and body of a table
_HEADING = re.compile(r"#{1,6}[ \t]+")
_OPEN_HEADING = re.compile(r"#{1,6}[ \t]{0,9}")
_CLOSING_HEADING = re.compile(r"#+[ \t]*\r?(?=\n|\Z)")
_OPEN_CLOSING = re.compile(r"#{1,9}[ \t]{0,9}\r?")
_BULLET = re.compile(r"[-*+•][ \t]{1,9}(?:\[[ xX]\][ \t]{1,9})?(?=[^\s\[]|\[(?![ xX]\]))")
_OPEN_BULLET = re.compile(r"[-*+•][ \t]{0,9}(?:\[(?:[ xX](?:\][ \t]{0,9})?)?)?")
_NUMBER = re.compile(r"(\d{1,3})[.)][ \t]{1,9}(?=\S)")
_OPEN_NUMBER = re.compile(r"\d{1,3}(?:[.)][ \t]{0,9})?")
_FENCE = re.compile(r"(`{3,100}|~{3,100})([^\n`]{0,200})(?=\n|\Z)")
_OPEN_FENCE = re.compile(r"(?:`{1,100}|~{1,100})(?:(?<=```|~~~)[^\n`]{0,200})?")
_ADDRESS = re.compile(r"\[[^\[\]\n^][^\[\]\n]{0,100}\]:[ \t]{0,9}(?:<|https?://|mailto:|[./#])[^\n]{0,2000}")
_OPEN_ADDRESS = re.compile(r"\[(?:[^\[\]\n^][^\[\]\n]{0,100}(?:\](?::[ \t]{0,9}[^\n]{0,2000})?)?)?")
_CELL = re.compile(r"[ \t]{0,100}\|[ \t]{0,100}")
_OPEN_CELL = re.compile(r"[ \t]{1,100}|[ \t]{0,100}\|[ \t]{0,100}\r?")


def strip_markdown(text: str, *, markup: bool = False) -> TracedText:
    """A whole text without Markdown markup."""
    stripper = MarkdownStripper(markup=markup)
    return TracedText.join([stripper.push(text), stripper.finish()])


class MarkdownStripper:
    """`push` pieces of text; each call returns the decided text. markup: keep tags, for `markup.split_pauses`."""

    def __init__(self, *, markup: bool = False) -> None:
        self._window = Window()
        self._inline = Inline(markup=markup)
        self._fence = ""  # that ends the current code block
        self._is_line_start = True
        self._kind = ""  # of the current line: heading, item, row, rule, silent, broken; "": text
        self._kind_before = ""  # of the last line that was not blank
        self._tail = ""  # the last two characters of the line so far
        self._is_blank = True  # the line so far
        self._was_blank = True  # the line before

    @property
    def held(self) -> int:
        """Number of characters held back."""
        return len(self._window.text)

    def push(self, piece: str) -> TracedText:
        """The text that is decided after this piece."""
        parts = (piece[start : start + _SLICE_CHARS] for start in range(0, len(piece), _SLICE_CHARS))
        return TracedText.join(self._read(part) for part in parts)

    def finish(self) -> TracedText:
        """The rest, at the end of the text."""
        self._window.is_last = True
        return self._read("")

    def _read(self, part: str) -> TracedText:
        window, at = self._window, 0
        window.text += part
        while at < len(window.text):
            stop = self._start(window, at) if self._is_line_start else self._inside(window, at)
            if stop is None:
                break
            at = stop
        window.text, window.offset = window.text[at:], window.offset + at
        found = TracedText("".join(window.spoken), tuple(window.origins))
        window.spoken, window.origins = [], []
        return found

    # --- inside a line -----------------------------------------------------------------------------

    def _inside(self, window: Window, at: int) -> int | None:
        if window.text[at] == "\n":
            return self._end_line(window, at)
        stop = self._read_part(window, at)
        if stop is not None:
            self._is_blank = self._is_blank and window.text[at:stop].isspace()
            self._tail = (self._tail + window.text[max(at, stop - 2) : stop])[-2:]
        return stop

    def _read_part(self, window: Window, at: int) -> int | None:
        text = window.text
        if self._fence:
            stop = text.find("\n", at)
            stop = len(text) if stop < 0 else stop
            window.keep(at, stop)
            return stop
        if self._kind == "rule":
            rule = _RULE_CHARS.match(text, at)
            if rule is not None:
                return rule.end()
            self._kind = ""
        if self._kind == "row" and text[at] in " \t|":
            return self._cell(window, at)
        if self._kind == "heading" and text[at] == "#" and not self._inline.is_in_code:
            if window.may_become(_OPEN_CLOSING, at):
                return None
            closing = _CLOSING_HEADING.match(text, at)
            if closing is not None:
                return closing.end()
        if text.startswith("\\\n", at) and not self._inline.is_in_code:
            self._kind = "broken"
            return at + 1
        return self._inline.read(window, at, by_words=self._kind == "row")

    def _cell(self, window: Window, at: int) -> int | None:
        if window.may_become(_OPEN_CELL, at):
            return None
        cell = _CELL.match(window.text, at)
        if cell is None:
            window.keep(at, at + 1)
            return at + 1
        if window.text[cell.end() : cell.end() + 1].strip("\r\n"):
            window.write(", ", at)
        self._inline.leave_gap()
        return cell.end()

    def _end_line(self, window: Window, at: int) -> int:
        """Mark a certain line end; any other one may belong to wrapped prose."""
        if self._kind == "heading":
            window.write(PARAGRAPH_SEPARATOR, at)
        elif self._kind in ("row", "broken") or self._fence or (self._tail == "  " and not self._is_blank):
            window.write(LINE_SEPARATOR, at)
        elif self._kind not in ("rule", "silent"):
            window.keep(at, at + 1)
        if self._is_blank or self._kind == "heading":
            self._inline.begin()
        if not self._is_blank:
            self._kind_before = self._kind
        self._inline.leave_gap()
        self._was_blank = self._is_blank
        self._kind, self._tail, self._is_blank, self._is_line_start = "", "", True, True
        return at + 1

    # --- the beginning of a line -------------------------------------------------------------------

    def _start(self, window: Window, at: int) -> int | None:
        """Read the marks at the beginning of a line. Returns the offset of its words; None: more text is needed."""
        text = window.text
        indent = _INDENT.match(text, at)
        begin = at if indent is None else indent.end()
        if window.ends_at(begin) and begin - at < _MAX_INDENT:
            return None
        if self._fence:
            return self._fenced(window, at, begin)
        if text.startswith(">", begin):
            if window.ends_at(begin + 1) or (text.startswith("\r", begin + 1) and window.ends_at(begin + 2)):
                return None
            quote = _QUOTE.match(text, begin)
            if quote is not None:
                return quote.end()  # the line begins after it
        for reader in (self._read_fence, self._read_rule, self._read_heading, self._read_item, self._read_address):
            stop = reader(window, begin)
            if stop != begin:
                return stop
        if text.startswith("|", begin):
            self._begin("row")
            self._inline.begin()
            inside = _INDENT.match(text, begin + 1)
            return begin + 1 if inside is None else inside.end()
        self._is_line_start = False
        window.keep(at, begin)
        return begin

    def _fenced(self, window: Window, at: int, begin: int) -> int | None:
        """Read the beginning of a line of code, or the fence that ends the block."""
        if window.text.startswith(self._fence[0], begin):
            if window.may_become(_OPEN_FENCE, begin):
                return None
            fence = _FENCE.match(window.text, begin)
            if fence is not None and fence[1].startswith(self._fence) and not fence[2].strip():
                self._fence = ""
                self._begin("silent")
                window.write(PARAGRAPH_SEPARATOR, begin)
                return fence.end()
        self._is_line_start = False
        window.keep(at, begin)
        return begin

    def _read_fence(self, window: Window, at: int) -> int | None:
        if window.may_become(_OPEN_FENCE, at):
            return None
        fence = _FENCE.match(window.text, at)
        if fence is None or "`" in fence[2]:
            return at
        self._fence, self._is_blank = fence[1], False
        self._break(window, at, PARAGRAPH_SEPARATOR)
        # The code begins in the next line; the end of this one is dropped.
        return min(fence.end() + 1, len(window.text))

    def _read_rule(self, window: Window, at: int) -> int | None:
        """Read a rule: a horizontal one, that of a heading, or that between head and body of a table."""
        chars = _RULE_CHARS.match(window.text, at, at + _MAX_START)
        if chars is None:
            return at
        if window.ends_at(chars.end()) and chars.end() - at < _MAX_START:
            return None
        is_line = chars.end() - at == _MAX_START or window.text[chars.end() : chars.end() + 1] in ("", "\n")
        marks = "".join(chars.group().split())
        is_head = set(marks) <= _HEAD_RULE and "--" in marks
        if not is_line or len(marks) < _MIN_RULE or not (is_head or (len(set(marks)) == 1 and marks[0] in "-*_=")):
            return at
        self._begin("rule")
        if len(set(marks)) == 1:
            self._break(window, at, PARAGRAPH_SEPARATOR)
        return chars.end()

    def _read_heading(self, window: Window, at: int) -> int | None:
        if window.may_become(_OPEN_HEADING, at):
            return None
        heading = _HEADING.match(window.text, at)
        if heading is None:
            return at
        self._begin("heading")
        self._break(window, at, PARAGRAPH_SEPARATOR)
        self._inline.begin()
        return heading.end()

    def _read_item(self, window: Window, at: int) -> int | None:
        if window.may_become(_OPEN_BULLET, at) or window.may_become(_OPEN_NUMBER, at):
            return None
        item = _BULLET.match(window.text, at)
        number = _NUMBER.match(window.text, at)
        if item is None and number is None:
            return at
        if number is not None and not (self._was_blank or self._kind_before == "item" or number[1] == "1"):
            return at  # a number in wrapped prose
        self._begin("item")
        self._break(window, at, LINE_SEPARATOR)
        self._inline.begin()
        if item is not None:
            return item.end()
        assert number is not None
        window.keep(*number.span(1))
        window.write(", ", number.end(1))  # a period would end a sentence
        return number.end()

    def _read_address(self, window: Window, at: int) -> int | None:
        """Read a link definition, `[name]: https://…`."""
        if not window.text.startswith("[", at):
            return at
        if window.may_become(_OPEN_ADDRESS, at):
            return None
        address = _ADDRESS.match(window.text, at)
        if address is None:
            return at
        self._begin("silent")
        return address.end()

    def _begin(self, kind: str) -> None:
        """Set the kind of the line; its words begin."""
        self._kind, self._is_blank, self._is_line_start = kind, False, False

    def _break(self, window: Window, at: int, separator: str) -> None:
        """End the text before, if there is any."""
        if window.is_begun:
            window.write(separator, at)
