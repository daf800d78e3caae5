"""A reading rule: a pattern, and what to say for a match. What the rules of both languages are made of.

Patterns have bounded repeats only, and a look-behind that keeps them from starting again inside what they have
seen: each takes time in proportion to the text, whatever is in it. Knows no language.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from edgetts.text.traced import TracedText

MAX_DIGITS = 15  # a longer run is read digit by digit, before any other rule looks at it

# A number that stands alone: grouped by commas, or plain, with or without decimals. Use it behind NOT_INSIDE.
GROUPED = r"(?:\d{1,3}(?:,\d{3}){1,5}|\d{1,2}(?:,\d\d){1,4},\d{3})(?!,?\d)"  # the second as in India
NUMBER = rf"(?:(?:{GROUPED}|\d{{1,{MAX_DIGITS}}})(?:\.\d{{1,{MAX_DIGITS}}})?|\.\d{{1,{MAX_DIGITS}}})"
NOT_INSIDE = r"(?<![\d.])(?<!\d,)"  # no digits before it that belong to it
NOT_GOING_ON = r"(?!\d|[.,]\d)"  # none behind it
RATIO = r"(?<![\d.,:])(?P<a>\d{1,4}(?:\.\d{1,3})?):(?P<b>\d{1,4}(?:\.\d{1,3})?)(?![\d:]|[.,]\d)"
DASHES = "-‐‑–—−~～"
MINUS = "-‐‑–−"

Read = Callable[["re.Match[str]"], "str | None"]


@dataclass(frozen=True)
class Rule:
    """`read` gives the words for a match, or None to leave it as it is."""

    pattern: re.Pattern[str]
    read: Read


def rule(pattern: str, read: Read | str, flags: int = 0) -> Rule:
    """A rule from the source of its pattern; a string in place of a function is said for every match."""
    if isinstance(read, str):
        words = read
        return Rule(re.compile(pattern, flags), lambda _: words)
    return Rule(re.compile(pattern, flags), read)


def ascii_only(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """The rules with ASCII letters and digits as the only word characters: "邮箱a@b.com" has an address in it."""
    return tuple(
        Rule(re.compile(each.pattern.pattern, each.pattern.flags & ~re.UNICODE | re.ASCII), each.read) for each in rules
    )


def apply(text: TracedText, rules: Iterable[Rule], *, spaced: bool) -> TracedText:
    """`text` after one rule and then the next. `spaced`: words are set apart from letters and digits beside them."""
    for each in rules:
        read = _spaced(each.read) if spaced else _kept(each.read)
        text = text.substitute(each.pattern, read)
    return text


def _kept(read: Read) -> Callable[[re.Match[str]], str]:
    def replace(match: re.Match[str]) -> str:
        words = read(match)
        return match.group() if words is None else words

    return replace


def _spaced(read: Read) -> Callable[[re.Match[str]], str]:
    def replace(match: re.Match[str]) -> str:
        words = read(match)
        if words is None:
            return match.group()
        before, after = match.string[match.start() - 1 : match.start()], match.string[match.end() : match.end() + 1]
        if before.isalnum() and words[:1].isalnum():
            words = " " + words
        if after.isalnum() and words[-1:].isalnum():
            words += " "
        return words

    return replace


def words(text: str) -> tuple[str, ...]:
    """A table of words, written as a line of them."""
    return tuple(text.split())


def either(choices: Iterable[str]) -> str:
    """A pattern for any of `choices`, the longest first."""
    return "|".join(re.escape(choice) for choice in sorted(choices, key=lambda choice: (-len(choice), choice)))
