"""The context of an English number, which decides whether it is a year, a count or an adjective.

In: a match. Out: the words next to it, and decisions for several rules.
"""

from __future__ import annotations

import re

from edgetts.text.readings.rule import words

_NEAR_CHARS = 24
_PREVIOUS = re.compile(r"([A-Za-z.'’]{1,24})[ -]$")
_NEXT = re.compile(r" ([A-Za-z']{1,24})")

# "a $5 bill" is a five dollar bill, but not before these words.
_NOT_MODIFIED = (
    "a|about|above|after|again|ago|all|an|and|another|any|are|around|as|at|back|because|been|before|below|but|by|came|"
    "can|could|did|does|down|each|every|for|from|had|has|have|he|her|here|his|if|in|into|is|it|its|just|less|may|"
    "might|more|must|my|no|not|now|of|off|on|only|or|our|out|over|per|plus|she|should|since|so|than|that|the|their|"
    "them|then|there|these|they|this|those|through|to|today|too|under|until|up|very|was|we|were|when|where|which|"
    "while|who|will|with|without|would|you|your"
)
_ARTICLE = re.compile(
    r"(?:^|[\s('\"“‘])(?:(?:a|an)(?: [a-z]{1,20})?|the|this|that|his|her|our|your|their|my|its) $", re.IGNORECASE
)
_NOUN = re.compile(rf" (?!(?:{_NOT_MODIFIED})\b)[a-z]{{3,}}")


def is_adjective(match: re.Match[str]) -> bool:
    """Whether the match is an adjective of the next word: "a 5 km run", "a $10 ticket"."""
    before = match.string[max(0, match.start() - 20) : match.start()]
    return _ARTICLE.search(before) is not None and _NOUN.match(match.string, match.end()) is not None


def previous_word(match: re.Match[str]) -> str:
    """The word before a match in lower case; "" at the beginning and after a mark."""
    found = _PREVIOUS.search(match.string[max(0, match.start() - _NEAR_CHARS) : match.start()])
    return found[1].lower() if found else ""


def next_word(match: re.Match[str]) -> str:
    """The word after a match, as written; "" at the end and before a mark."""
    found = _NEXT.match(match.string, match.end())
    return found[1] if found else ""


# A number of four digits after these words is a year.
_YEAR_BEFORE = frozenset(
    words(
        "in since until till before after during around circa year early late mid from of the by spring summer autumn "
        "fall winter january february march april may june july august september october november december q fy class "
        "summer's olympics election ca c"
    )
)
_SURELY_YEAR = frozenset(words("in since until till during circa year early late mid spring summer autumn winter"))
_COUNTED = frozenset(
    words(
        "people men women children users members employees students soldiers words pages copies feet inches miles "
        "units pieces items points votes votes hours days weeks months minutes seconds times steps calories more "
        "other different new of percent million billion thousand hundred or square cubic fish sheep"
    )
)
_NOT_COUNTED = frozenset(
    words(
        "was is has as its this us yes does always perhaps sometimes sales results elections olympics games budgets "
        "previous various across unless whereas series his hers ours theirs yours besides news"
    )
)


def is_count(match: re.Match[str]) -> bool:
    """Whether four digits that could be a year are a count."""
    before, after = previous_word(match), next_word(match)
    if before in _SURELY_YEAR:
        return False
    if after in _COUNTED:
        return True
    many = len(after) > 3 and after.islower() and after.endswith("s") and not after.endswith("ss")
    return many and after not in _NOT_COUNTED and before not in _YEAR_BEFORE


def is_year_before(match: re.Match[str]) -> bool:
    """Whether the word before the match precedes years."""
    return previous_word(match) in _SURELY_YEAR


# Words that begin a sentence and not the second part of a name: "the U.S. It" but "the U.S. Army".
_STARTERS = words(
    "A An And As At But By Do Did For From Had Has Have He Her Here His How I If In Is It Its Let My No Not Now Of On "
    "Or Our She So Some That The Their Then There These They This Those To Two Was We Well Were What When Where Which "
    "Who Why Will With Yes Yet You Your After All Also Although Are Because Before Both Can Could Each Even Every "
    "First However Just Last Many May Maybe Meanwhile Most Next Once One Only Perhaps Since Still Such Thus Today "
    "Tomorrow Until Upon Very While Would Yesterday"
)
LINE_END = "\n"  # kept in the text only after a period and before a capital letter
_NEW_LINE = rf"""{LINE_END}["'“‘(]?[A-Z]"""
_SENTENCE_FOLLOWS = re.compile(rf"""["'”’)\]]{{0,2}}(?:\s?$|{_NEW_LINE}|\s["'“‘(]?(?:{"|".join(_STARTERS)})\b)""")
_CAPITAL_FOLLOWS = re.compile(r"""["'”’)\]]{0,2}(?:\s?$|\s["'“‘(]?[A-Z])""")


def ends_sentence(match: re.Match[str], *, any_capital: bool = False) -> bool:
    """Whether a period at the end of a match also ends its sentence: at the end of the text, or before a word that
    begins one. any_capital: before any capital letter."""
    pattern = _CAPITAL_FOLLOWS if any_capital else _SENTENCE_FOLLOWS
    return pattern.match(match.string, match.end()) is not None
