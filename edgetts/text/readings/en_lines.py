"""Finds line ends at which an English sentence ends with an abbreviation.

In: white space in a text as typed. Out: its replacement while the rules are applied: a space, or a line end where "Main
St.", "5 p.m." or "Acme Inc." ends a line and a capital letter begins the next. A title belongs to the name on the next
line, and so do, in lines as long as those of wrapped prose, letters with periods: "the U.S." / "Army".
"""

from __future__ import annotations

import re

from edgetts.text.readings.en_abbreviations import STREET_NAMES, TITLES
from edgetts.text.readings.en_context import LINE_END

_PROSE_COLUMNS = 40  # minimum width of wrapped prose
_LAST_WORDS = re.compile(r"(?:(?P<before>[\w'’]{1,30}) )?(?P<word>[\w.&]{1,30})\.[\"'”’)\]]{0,2}$")
_LAST_MARKS = frozenset(".\"'”’)]")  # of such a line
_CAPITAL = re.compile(r"[\"'“‘(]?[A-Z]")
_LETTERS = re.compile(r"(?:[A-Z]\.)*[A-Z]")


def spaced(gap: re.Match[str]) -> str:
    """The replacement of the white space `gap`."""
    if gap.string[gap.start() - 1 : gap.start()] not in _LAST_MARKS or "\n" not in gap.group():
        return " "
    if not _CAPITAL.match(gap.string, gap.end()):
        return " "
    line = gap.string[max(0, gap.start() - 2 * _PROSE_COLUMNS) : gap.start()].rpartition("\n")[2]
    last = _LAST_WORDS.search(line)
    if last is None:
        return " "
    word, before = last["word"], last["before"] or ""
    if word == "St":
        return LINE_END if before[:1].isupper() or before[:1].isdigit() else " "
    if word in TITLES:
        return LINE_END if word == "Dr" and before in STREET_NAMES else " "
    if _LETTERS.fullmatch(word) and len(line) >= _PROSE_COLUMNS:
        return " "
    return LINE_END
