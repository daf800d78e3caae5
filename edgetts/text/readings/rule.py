"""A reading rule: a pattern, and what to say for a match. What the rules of both languages are made of.

Patterns have bounded repeats only, and a look-behind that keeps them from starting again inside what they have
seen: each takes time in proportion to the text, whatever is in it. Most need a figure or a sign to match; they are
neither tried nor compiled while no text has one. Knows no language.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from edgetts.text.traced import TracedText

# What is in a text, each kind with those after it: anything but small ASCII letters, white space and `,;:!?'`; what is
# neither a letter nor a mark of plain prose; figures.
PLAIN, CAPITALS, SIGNS, FIGURES = range(4)
_LEVELS = (
    (FIGURES, re.compile("[\\d²³¹⁰-₉¼-¾⅐-⅞]")),
    (SIGNS, re.compile(r"""[^\w\s.,;:!?'’‘"“”()…–—\-，。！？、；：（）《》]|_""")),
    (CAPITALS, re.compile(r"[^a-z\s,;:!?'’]")),
)

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
    """`read` gives the words for a match, or None to leave it as it is. `needs`: what a text without matches lacks,
    one of the levels above; None: nothing is known of it."""

    source: str
    read: Read
    flags: int = 0
    needs: int | None = None

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(self.source, self.flags)


def rule(pattern: str, read: Read | str, flags: int = 0, *, needs: int | None = None) -> Rule:
    """A rule from the source of its pattern; a string in place of a function is said for every match."""
    if isinstance(read, str):
        words = read
        return Rule(pattern, lambda _: words, flags, needs)
    return Rule(pattern, read, flags, needs)


def ascii_only(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """The rules with ASCII letters and digits as the only word characters: "邮箱a@b.com" has an address in it."""
    return tuple(replace(each, flags=each.flags | re.ASCII) for each in rules)


def needing(level: int, rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """The rules, where they do not say themselves what they need, as such that need `level`."""
    return tuple(each if each.needs is not None else replace(each, needs=level) for each in rules)


def level_of(text: str) -> int:
    """The level of `text`: no rule that needs a higher one has a match in it."""
    return next((level for level, pattern in _LEVELS if pattern.search(text)), PLAIN)


class Rules:
    """Rules in their order."""

    def __init__(self, rules: Iterable[Rule], *, spaced: bool) -> None:
        """`spaced`: words are set apart from letters and digits beside them."""
        around = _spaced if spaced else _kept
        every = [(place, each, around(each.read)) for place, each in enumerate(rules)]
        self._by_level = [
            [(place, each, read) for place, each, read in every if each.needs is None or each.needs <= level]
            for level in range(FIGURES + 1)
        ]

    def apply(self, text: TracedText) -> TracedText:
        """`text` after one rule and then the next."""
        done, level = -1, level_of(text.text)
        while True:
            for place, each, read in self._by_level[level]:
                if place <= done:
                    continue
                said = text.substitute(each.pattern, read)
                if said is text:
                    continue
                text, new = said, level_of(said.text)
                if new != level:
                    done, level = place, new
                    break
            else:
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
