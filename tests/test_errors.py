"""Text of files does nothing to a terminal but appear there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgetts.errors import EdgeTTSError, PackError, UsageError, one_line, printable

HOSTILE = (
    "\x1b[2J\x1b]0;title\x07",  # clears the screen, renames the window
    "\x9b31m",  # the same in one character of eight bits
    "a\rb\x08\x7f",
    "\u202egnp.exe\u2066",  # turns the direction of writing
    "\u200e\u061c\ufeff\u2028",
    "\udcff\ud800",  # what cannot be encoded
    "\U000e0041",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_terminal_would_obey_is_spelled_out(text: str) -> None:
    for shown in (printable(text), one_line(text), str(PackError(text)), str(UsageError(f"{text} is wrong."))):
        assert shown.isprintable()
        shown.encode("utf-8")
    assert "\\" in printable(text)


@pytest.mark.parametrize("text", ["你好，世界　再见", "naïve café", "👩\u200d🚀", "עברית", "نمی\u200cخواهم", "a  b"])
def test_what_people_write_stays(text: str) -> None:
    assert printable(text).replace(" ", "") == text.replace(" ", "").replace("\u3000", "")


def test_an_error_is_one_line_and_keeps_its_words() -> None:
    assert str(EdgeTTSError("a\nb\t\x1b[31mred")) == "a b \\x1b[31mred"
    assert str(EdgeTTSError()) == ""


@given(st.text(alphabet=st.characters()))
def test_whatever_it_is(text: str) -> None:
    assert printable(text).replace("\u200c", "").replace("\u200d", "").isprintable()
    assert printable(printable(text)) == printable(text)
    assert "\n" not in one_line(text)
