"""No rule has a match in a text of which it says that it needs more: shown for every text of such characters.

A pattern is taken apart. What it cannot do without (letters, classes, alternatives, repeats of at least one, and what
it looks ahead or back for) must be made of characters that the text can have; what it must not meet is let pass. Where
even that is not possible, there is no match.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from re import _constants as constants  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import pytest

from edgetts.text.readings import chinese, english
from edgetts.text.readings.rule import CAPITALS, DIGITS, PLAIN, SIGNS, Rule, level_of

RULES = [*english.RULES, *chinese.RULES]
_CATEGORIES = {
    constants.CATEGORY_DIGIT: r"\d",
    constants.CATEGORY_NOT_DIGIT: r"\D",
    constants.CATEGORY_SPACE: r"\s",
    constants.CATEGORY_NOT_SPACE: r"\S",
    constants.CATEGORY_WORD: r"\w",
    constants.CATEGORY_NOT_WORD: r"\W",
}
_FREE = (constants.ASSERT_NOT, constants.AT, constants.GROUPREF, constants.ANY)


def alphabet() -> set[str]:
    """Characters of every category, and all that a rule names."""
    named = {char for each in RULES for char in each.source}
    latin_and_signs = {chr(code) for code in (*range(0x250), *range(0x370, 0x400), *range(0x2000, 0x2800))}
    categories: dict[str, list[str]] = {}
    for code in range(0x20000):
        categories.setdefault(unicodedata.category(chr(code)), []).append(chr(code))
    some = {char for chars in categories.values() for char in chars[:: max(1, len(chars) // 20)]}
    return named | latin_and_signs | some


ALPHABET = alphabet()
BELOW = {level: {char for char in ALPHABET if level_of(char) < level} for level in (CAPITALS, SIGNS, DIGITS)}


def is_possible(parts: Iterable[tuple[Any, Any]], flags: int, chars: set[str]) -> bool:
    """Whether a part of a pattern could match in a text of `chars`."""
    return all(_is_possible(operator, argument, flags, chars) for operator, argument in parts)


def _is_possible(operator: Any, argument: Any, flags: int, chars: set[str]) -> bool:
    if operator in _FREE:
        return True
    if operator is constants.LITERAL:
        return any(argument == ord(form) for char in chars for form in _forms(char, flags))
    if operator is constants.IN:
        is_negated = argument[0][0] is constants.NEGATE
        return any(_is_in(argument, flags, char) != is_negated for char in chars)
    if operator is constants.NOT_LITERAL:
        return bool(chars - {chr(argument)})
    if operator is constants.BRANCH:
        return any(is_possible(branch, flags, chars) for branch in argument[1])
    if operator is constants.SUBPATTERN:
        _, added, taken, inner = argument
        return is_possible(inner, (flags | added) & ~taken, chars)
    if operator in (constants.MAX_REPEAT, constants.MIN_REPEAT):
        least, _, inner = argument
        return least == 0 or is_possible(inner, flags, chars)
    assert operator is constants.ASSERT, operator
    return is_possible(argument[1], flags, chars)


def _is_in(items: list[tuple[Any, Any]], flags: int, char: str) -> bool:
    for operator, argument in items:
        if operator is constants.CATEGORY and re.match(_CATEGORIES[argument], char, flags & re.ASCII):
            return True
        if operator is constants.LITERAL and any(argument == ord(form) for form in _forms(char, flags)):
            return True
        if operator is constants.RANGE and any(argument[0] <= ord(form) <= argument[1] for form in _forms(char, flags)):
            return True
    return False


def _forms(char: str, flags: int) -> set[str]:
    other = {form for form in (char.lower(), char.upper()) if len(form) == 1} if flags & re.IGNORECASE else set()
    return {char, *other}


def reachable(each: Rule) -> bool:
    """Whether a rule could match in a text that has nothing of what it says that it needs."""
    assert each.needs is not None
    chars = BELOW[each.needs] if each.needs else set()
    return bool(chars) and is_possible(parser.parse(each.source, each.flags), each.flags, chars)


@pytest.mark.parametrize("each", RULES, ids=[f"{n}" for n in range(len(RULES))])
def test_a_rule_needs_what_it_says(each: Rule) -> None:
    assert each.needs is not None
    assert not reachable(each), each.source


def test_a_rule_that_says_too_much_is_seen() -> None:
    for source, needs in ((r"(?<=\w)[IVX]+", SIGNS), (r"(?i:approx)(?=[ .])", CAPITALS), (r"\d*%", DIGITS)):
        assert reachable(Rule(source, lambda _: "", needs=needs))
        assert needs < DIGITS or not reachable(Rule(source, lambda _: "", needs=SIGNS))


def test_levels() -> None:
    texts = {
        PLAIN: ["", "well, it's fine; is it?", "a\nb"],
        CAPITALS: ["Yes", "so.", "(so)", "naïve", "你好，世界。", "a – b"],
        SIGNS: ["a@b", "snake_case", "5".replace("5", "#"), "a/b", "😀", "€", "a\u0301"],
        DIGITS: ["5", "x²", "½", "٣", "a1#"],
    }
    assert {text: level_of(text) for of in texts.values() for text in of} == {
        text: level for level, of in texts.items() for text in of
    }
