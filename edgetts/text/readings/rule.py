"""Reading rules: a pattern, and the spoken form of a match. Used by both languages.

Patterns have only bounded repeats, and a look-behind that prevents matches inside text already scanned, so each takes
time linear in the text. Most rules need a digit or a sign; they are neither tried nor compiled until a text has one.
Does not know languages.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from edgetts.text.traced import TracedText

_LOG = logging.getLogger(__name__)

# Levels of a text, by its characters, ascending; a text has the highest level of any character in it. CAPITALS:
# anything but lower-case ASCII letters, white space and `,;:!?'`. SIGNS: neither a letter nor a mark of plain prose.
# DIGITS: digits.
PLAIN, CAPITALS, SIGNS, DIGITS = range(4)
_HIGHER_LEVELS = (
    (DIGITS, re.compile("[\\d²³¹⁰-₉¼-¾⅐-⅞]")),
    (SIGNS, re.compile(r"""[^\w\s.,;:!?'’‘"“”()…–—\-，。！？、；：（）《》]|_""")),
)
_CAPITALS = re.compile(r"[^a-z\s,;:!?'’]")  # also matches signs and digits

MAX_DIGITS = 15  # a longer run is read digit by digit, before any other rule looks at it

# A number: grouped by commas, or plain, with or without decimals. To be used after NOT_INSIDE.
GROUPED = r"(?:\d{1,3}(?:,\d{3}){1,5}|\d{1,2}(?:,\d\d){1,4},\d{3})(?!,?\d)"  # the second: Indian grouping
NUMBER = rf"(?:(?:{GROUPED}|\d{{1,{MAX_DIGITS}}})(?:\.\d{{1,{MAX_DIGITS}}})?|\.\d{{1,{MAX_DIGITS}}})"
NOT_INSIDE = r"(?<![\d.])(?<!\d,)"  # not preceded by digits of the same number
NOT_GOING_ON = r"(?!\d|[.,]\d)"  # not followed by digits of the same number
RATIO = r"(?<![\d.,:])(?P<a>\d{1,4}(?:\.\d{1,3})?):(?P<b>\d{1,4}(?:\.\d{1,3})?)(?![\d:]|[.,]\d)"
DASHES = "-‐‑–—−~～"
MINUS = "-‐‑–−"

Read = Callable[["re.Match[str]"], "str | None"]


@dataclass(frozen=True)
class Rule:
    """read: returns the words for a match, or None to keep it. needs: the lowest level of a text that can match; None:
    any."""

    source: str
    read: Read
    flags: int = 0
    needs: int | None = None

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(self.source, self.flags)


def rule(pattern: str, read: Read | str, flags: int = 0, *, needs: int | None = None) -> Rule:
    """A rule from the source of its pattern. read: a function of the match, or the words for every match."""
    if isinstance(read, str):
        words = read
        return Rule(pattern, lambda _: words, flags, needs)
    return Rule(pattern, read, flags, needs)


def ascii_only(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """The rules with only ASCII letters and digits as word characters, to find the address in "邮箱a@b.com"."""
    return tuple(replace(each, flags=each.flags | re.ASCII) for each in rules)


def needing(level: int, rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """The rules with `level` as default of `needs`."""
    return tuple(each if each.needs is not None else replace(each, needs=level) for each in rules)


def level_of(text: str) -> int:
    """The level of `text`; no rule that needs a higher one can match."""
    if not _CAPITALS.search(text):
        return PLAIN
    return next((level for level, pattern in _HIGHER_LEVELS if pattern.search(text)), CAPITALS)


class Rules:
    """Rules in the order of their application, with those that can match at each level."""

    def __init__(self, rules: Iterable[Rule], *, spaced: bool) -> None:
        """spaced: insert spaces between words and adjacent letters or digits."""
        around = _spaced if spaced else _kept
        every = [(place, each, around(each.read)) for place, each in enumerate(rules)]
        self._by_level = [
            [(place, each, read) for place, each, read in every if each.needs is None or each.needs <= level]
            for level in range(DIGITS + 1)
        ]

    def apply(self, text: TracedText) -> TracedText:
        """`text` after all rules in order."""
        done, level = -1, level_of(text.text)
        if not self._by_level[level]:
            return text
        is_logged = _LOG.isEnabledFor(logging.DEBUG)
        while True:
            for place, each, read in self._by_level[level]:
                if place <= done:
                    continue
                spoken = text.substitute(each.pattern, _logged(each, read) if is_logged else read)
                if spoken is text:
                    continue
                text, new = spoken, level_of(spoken.text)
                if new != level:
                    done, level = place, new
                    break
            else:
                return text


def _logged(each: Rule, read: Callable[[re.Match[str]], str]) -> Callable[[re.Match[str]], str]:
    """`read`, and a line in the log: the rule by its function, line and pattern, what matched, what it became."""

    def replace(match: re.Match[str]) -> str:
        words, code = read(match), getattr(each.read, "__code__", None)
        if words != match.group():
            where = each.read.__module__.rpartition(".")[2]
            place = f"{where}.{each.read.__qualname__}:{code.co_firstlineno}" if code is not None else where
            _LOG.debug("%r is read as %r by %s, pattern %s", match.group(), words, place, each.source)
        return words

    return replace


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
    """The words of `text`."""
    return tuple(text.split())


def either(choices: Iterable[str]) -> str:
    """A pattern that matches any of `choices`, the longest first."""
    return "|".join(re.escape(choice) for choice in sorted(choices, key=lambda choice: (-len(choice), choice)))
