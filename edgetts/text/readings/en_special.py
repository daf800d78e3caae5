"""English special forms with digits: ISBN and IBAN, Bible verses, coordinates, music, ions, ratios, currency pairs.

In: text before telephone numbers, money, dates and units are read. Out: words, or a form that those rules read
correctly: "ISBN 978-3-16-148410-0", "EUR/USD 1.08", "Psalm 23:1-6", "40° 26′ N", "6/8 time", "5m users", "-1/2".
"""

from __future__ import annotations

import re
import unicodedata

from edgetts.text.readings.en_context import next_word
from edgetts.text.readings.en_money import CODE_NAMES
from edgetts.text.readings.en_numbers import VULGAR, cardinal, digits, number
from edgetts.text.readings.rule import (
    CAPITALS,
    DASHES,
    MINUS,
    NOT_GOING_ON,
    NOT_INSIDE,
    NUMBER,
    SIGNS,
    Rule,
    either,
    rule,
)

_LONG_GROUP = 5  # digits: longer than a year, a score or a number in a list
_CHARS = re.compile(r"[A-Za-z\d]")
_QUOTE = re.compile(r'(?P<digit>(?<=\d))?"')
_DIRECTIONS = {"N": "north", "S": "south", "E": "east", "W": "west"}
_BOOKS = {
    **{name: name for name in (
        "Genesis", "Exodus", "Leviticus", "Numbers", "Deuteronomy", "Joshua", "Judges", "Ruth", "Samuel", "Kings",
        "Chronicles", "Ezra", "Nehemiah", "Esther", "Job", "Psalm", "Psalms", "Proverbs", "Ecclesiastes", "Isaiah",
        "Jeremiah", "Ezekiel", "Daniel", "Hosea", "Joel", "Amos", "Jonah", "Micah", "Matthew", "Mark", "Luke", "John",
        "Acts", "Romans", "Corinthians", "Galatians", "Ephesians", "Philippians", "Colossians", "Thessalonians",
        "Timothy", "Titus", "Hebrews", "James", "Peter", "Jude", "Revelation",
    )},
    "Gen": "Genesis", "Rev": "Revelation", "Matt": "Matthew", "Ps": "Psalm", "Cor": "Corinthians", "Rom": "Romans",
    "Isa": "Isaiah", "Deut": "Deuteronomy", "Prov": "Proverbs",
}  # fmt: skip
_NEVER_ALONE = frozenset(("Kings", "Samuel", "Cor"))
_FIRST_BOOKS = ("", "First ", "Second ", "Third ")
_COUNTED = (
    "people|users|followers|subscribers|viewers|views|customers|copies|downloads|jobs|homes|households|residents|votes|"
    "voters|tons|barrels|units|shares|records|likes|streams|visitors|tourists|workers|children|deaths|cases|years"
)
_RATIOS = "ratio|odds|scale|mix|split|dilution|aspect|win|lead|victory|loss|defeat|score|draw"
_MEASURED = frozenset(("wide", "tall", "long", "deep", "thick", "high", "by", "x", "of", "and", "or", "in", "to", ""))
_NEAR = 300  # characters before a mark that are searched for an opening quotation mark
_ION = {"⁺": "plus", "⁻": "minus"}


def _by_digits(text: str) -> str:
    groups = re.split(r"[- ]", text)
    return ", ".join(" ".join(digits(c) if c.isdecimal() else c.upper() for c in _CHARS.findall(g)) for g in groups)


def _row(match: re.Match[str]) -> str | None:
    is_row = all(len(group) < _LONG_GROUP for group in match.group().split("-"))
    return None if is_row else _by_digits(match.group())


def _verse(match: re.Match[str]) -> str | None:
    if match["book"] in _NEVER_ALONE and not match["nth"]:
        return None
    nth = _FIRST_BOOKS[int(match["nth"] or 0)]
    until = f" to {number(match['until'])}" if match["until"] else ""
    return f"{nth}{_BOOKS[match['book']]} {number(match['chapter'])} {number(match['verse'])}{until}"


def _arc(match: re.Match[str]) -> str:
    seconds = f" {number(match['s'])} seconds" if match["s"] else ""
    direction = f" {_DIRECTIONS[match['d']]}" if match["d"] else ""
    return f" degrees {number(match['m'])} minutes{seconds}{direction}"


def _inches(match: re.Match[str]) -> str | None:
    """A double quotation mark after a number, unless it closes a quotation."""
    before = match.string[max(0, match.start() - _NEAR) : match.start()]
    is_quoted = False
    for mark in _QUOTE.finditer(before):
        is_quoted = not is_quoted if is_quoted or mark["digit"] is None else False
    if match["q"] == '"' and is_quoted:
        return None
    is_plural = next_word(match) in _MEASURED and match["amount"] != "1" and "/" not in match["amount"]
    return f"{match['amount']} {'inches' if is_plural else 'inch'}"


def _double_range(match: re.Match[str]) -> str:
    """-5--10 is a range of negative numbers; in 5--10 the two hyphens are a dash."""
    below = match["minus"] or match["dash"] != match["minus2"]
    return (
        f"{'minus ' if match['minus'] else ''}{number(match['a'])} to {'minus ' if below else ''}{number(match['b'])}"
    )


_VULGAR = "".join(VULGAR)
EARLY: tuple[Rule, ...] = (
    # Digit by digit, before later rules match parts of them.
    rule(
        r"(?P<name>\bISBN(?:-1[03])?:? ?)(?P<n>(?:97[89][- ]?)?\d{1,5}[- ]\d{1,7}[- ]\d{1,6}[- ]?[\dX])(?![\w-])",
        lambda m: m["name"] + _by_digits(m["n"]),
    ),
    rule(
        r"(?<![\w-])[\da-fA-F]{8}(?:-[\da-fA-F]{4}){3}-[\da-fA-F]{12}(?![\w-])",
        lambda m: _by_digits(m.group()),
        needs=CAPITALS,
    ),
    rule(r"(?<!\w)[A-Z]{2}\d\d(?: [A-Z\d]{4}){3,7}(?: [A-Z\d]{1,3})?(?!\w)", lambda m: _by_digits(m.group())),
    rule(r"(?<![\w.+-])(?!9-1-1(?!\d))\d{1,7}(?:-\d{1,7}){2,12}(?![\w-])(?<!\d\d\d-\d\d-\d{4})(?<!\d{5}-\d{4})", _row),
    rule(r"(?<=\b[Tt]el):(?=[+\d(])", ": ", needs=CAPITALS),
    rule(r"(?<![\d.])802\.11(?P<kind>[a-z]{0,2})(?!\w)", lambda m: f"eight oh two dot eleven {' '.join(m['kind'])}"),
    rule(r"(?P<name>\bISO(?:/IEC)? \d{3,5}):(?=(?:19|20)\d\d\b)", lambda m: m["name"] + ", "),
    # Pairs of currencies, before one of them is taken for the unit of the next number.
    rule(
        rf"(?<![A-Za-z/])(?P<a>{either(CODE_NAMES)})/(?P<b>{either(CODE_NAMES)})(?![A-Za-z/])",
        lambda m: f"{CODE_NAMES[m['a']]} to {CODE_NAMES[m['b']]}",
        needs=SIGNS,
    ),
    rule(
        rf"(?:(?<!\w)(?P<nth>[1-3]) )?\b(?P<book>{either(_BOOKS)})\.? (?P<chapter>\d{{1,3}}):(?P<verse>[1-9]\d{{0,2}})"
        rf"(?:[{DASHES}](?P<until>\d{{1,3}}))?(?![\d:])(?! ?[ap]\.?m)",
        _verse,
    ),
    rule(
        rf"(?<![\d.,:])(?P<a>\d{{1,4}}):(?P<b>\d{{1,4}})(?= (?:{_RATIOS})\b)",
        lambda m: f"{number(m['a'])} to {number(m['b'])}",
    ),
    rule(
        r"(?<![\d/])(?P<n>[2-9]|12)/(?P<d>[248]|16)(?= (?:time|meter|beat|rhythm|signature)\b)"
        r"|(?<=\bin )(?P<n2>4)/(?P<d2>4)(?![\d/])",
        lambda m: f"{cardinal(int(m['n'] or m['n2']))} {cardinal(int(m['d'] or m['d2']))}",
    ),
    # Degrees, minutes and seconds of arc; a separate direction.
    rule(
        r"(?<=\d)° ?(?P<m>\d{1,2}(?:\.\d{1,4})?) ?['′’]"
        r"(?: ?(?P<s>\d{1,2}(?:\.\d{1,4})?) ?[\"″”])?(?: ?(?P<d>[NSEW])\b)?",
        _arc,
    ),
    rule(r"(?<=\d)° (?=[NSEW](?![\w'’]))", "°"),
    # "m" for million, before words that are not lengths.
    rule(
        rf"{NOT_INSIDE}(?<![\w$€£])(?P<n>{NUMBER})m(?= (?:{_COUNTED})\b)",
        lambda m: f"{number(m['n'])} million",
    ),
    # $1.5M-$2M, 1bn-2bn
    rule(rf"(?:(?<=\d[kKMmB])|(?<=\d[bm]n))[{DASHES}](?=[$€£¥]?\d{{1,4}}(?:\.\d{{1,3}})?(?:[kKMmB]|[bm]n)\b)", " to "),
    # Algebra and powers of ten, before "2x" is "two times" and "3×4" is a size.
    rule(
        rf"(?<![\w.])(?P<n>\d{{1,4}})x(?= ?[+=²³^]| [{MINUS}] ?\d)|(?<=[=+] )(?P<n2>\d{{1,4}})x(?!\w)",
        lambda m: f"{number(m['n'] or m['n2'])} x",
    ),
    rule(r"(?<=\d) ?[×x*·⋅] ?10(?=\^|[⁻⁰¹²³⁴-⁹])", " times 10"),
    rule(
        r"(?<=[A-Za-z\d)])(?P<n>[²³⁴⁵⁶⁷]?)(?P<s>[⁺⁻])(?![⁰¹²³⁴-⁹])",
        lambda m: f" {cardinal(unicodedata.digit(m['n'])) + ' ' if m['n'] else ''}{_ION[m['s']]}",
    ),
    # Minus signs before fractions and ranges, and ranges of fractions.
    rule(rf"(?<=[1-9]/[1-9])[{DASHES}](?=[1-9]/[1-9])|(?<=[{_VULGAR}])[{DASHES}](?=[\d{_VULGAR}])", " to "),
    rule(rf"(?<![\w)\]%°.])[{MINUS}](?=(?:\d{{1,3}} )?\d{{1,4}}/[1-9]\d{{0,3}}(?![\d/])|[{_VULGAR}])", "minus "),
    rule(
        rf"(?:(?<![\w)\]])(?P<minus>[{MINUS}]))?{NOT_INSIDE}(?P<a>{NUMBER})(?P<dash>[{DASHES}])(?P<minus2>[{MINUS}])"
        rf"(?P<b>{NUMBER}){NOT_GOING_ON}",
        _double_range,
    ),
    rule(
        rf"(?:(?<=[\s(:=])|(?<![\s\S]))[{MINUS}](?=\d{{1,4}}(?:\.\d{{1,3}})?[{DASHES}]\d{{1,4}}(?:\.\d{{1,3}})?(?![{DASHES}\d]|[.,]\d))",
        "minus ",
    ),
    rule(rf"(?<=UTC|GMT)[{MINUS}](?=\d)", " minus "),
    rule(
        r"(?<![\w'-])(?P<grade>[ABCDF])-(?=[.,;:!?)]|\s?$| (?:grade|average|student|in|and|or|to|for|on|rating)\b)",
        lambda m: f"{m['grade']} minus",
        needs=CAPITALS,
    ),
    rule(
        rf"(?<![\w-])(?P<l>[A-Z])(?P<a>\d{{1,2}})[{DASHES}](?=(?P=l)\d{{1,2}}(?![\w-]))",
        lambda m: f"{m['l']}{m['a']} to ",
    ),
    rule(r"\b(?P<r>Eqs?)\. (?=\(\d)", lambda m: {"Eq": "equation ", "Eqs": "equations "}[m["r"]]),
    rule(r"(?<![\w#&])(?P<l>[ABEcf])#(?!\w)", lambda m: f"{m['l']} sharp", needs=SIGNS),
    rule(r"(?<=[A-G])[♭♯♮](?!\w)", lambda m: {"♭": " flat", "♯": " sharp", "♮": " natural"}[m.group()], needs=SIGNS),
    rule(r"[↑▲△⬆] ?(?=[$€£]?[\d.])", "up ", needs=SIGNS),
    rule(r"[↓▼▽⬇] ?(?=[$€£]?[\d.])", "down ", needs=SIGNS),
)
# After units, which read heights of people and sizes of screens.
LATE: tuple[Rule, ...] = (
    rule(r"(?<=inches) [x×] (?=\d)", " by "),
    rule(
        r"(?<![\w.'′/])(?P<amount>(?:\d{1,3} )?\d{1,2}/\d{1,2}|\d{1,3}(?:\.\d{1,3})?)(?P<q>[\"″])(?!\w)",
        _inches,
    ),
)
