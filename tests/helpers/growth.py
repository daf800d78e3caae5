"""Counts the work for a text instead of timing it: function calls, and characters passed to regular expressions.

Times depend on other work on the machine; counts do not. Counts grow with the square of the text if code reads the whole
text for each character.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, ModuleType
from typing import Any

KINDS = {
    "dots": ".",
    "quotes": '"',
    "less-than signs": "<",
    "special tokens": "<|",
    "digits": "7302951846",
    "digits with commas": "1,234,567,",
    "hyphens": "-",
    "URLs": "https://www.example.com/a/b?c=1&d=2 ",
    "one word": "abcdefghijklmnopqrstuvwxyz",
    "spaces": " ",
    "newlines": "\n",
    "exclamation marks": "!",
    "wide full stops": "。",
    "characters": "天地玄黄宇宙洪荒",
    "characters and digits": "第12章有345页",
    "emoji": "😀🎉",
    "combining marks": "e\u0301\u0302",
    "brackets": "(",
    "initials": "a.",
    "fractions": "1/",
    "e-mail": "jane.doe@example.com ",
    "short lines": "a\n",
    "lines in turn": "ab\n天地\n",
    "unclosed tags": "[pause",
}


def text_of(kind: str, n: int) -> str:
    """`n` characters of a kind."""
    unit = KINDS[kind]
    return (unit * (n // len(unit) + 1))[:n]


class _Counted:
    """A compiled pattern that adds up how many characters it is given."""

    def __init__(self, pattern: re.Pattern[str], count: list[int]) -> None:
        self._pattern = pattern
        self._count = count

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._pattern, name)
        if name not in ("match", "fullmatch", "search", "finditer", "findall", "split", "sub", "subn"):
            return found

        is_sub = name in ("sub", "subn")

        def method(*given: Any) -> Any:
            text, bounds = (given[1], ()) if is_sub else (given[0], given[1:])
            start, stop = (*bounds, *(0, len(text))[len(bounds) :])
            self._count[0] += max(0, min(stop, len(text)) - start)
            return found(*given)

        return method


@contextmanager
def counting(*modules: ModuleType) -> Iterator[Callable[[], int]]:
    """Counts the work of this thread while it lasts: calls of any function, and what the patterns of `modules` see."""
    count = [0]
    kept = [(module, name, value) for module in modules for name, value in vars(module).items()]
    kept = [(module, name, value) for module, name, value in kept if isinstance(value, re.Pattern)]

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event in ("call", "c_call"):
            count[0] += 1

    for module, name, value in kept:
        setattr(module, name, _Counted(value, count))
    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield lambda: count[0]
    finally:
        sys.setprofile(before)
        for module, name, value in kept:
            setattr(module, name, value)
