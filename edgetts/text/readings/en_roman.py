"""Roman numerals in English: kings, popes, wars, chapters, sequels. "I" alone stays the pronoun.

In: "Henry VIII", "World War II", "Chapter IV", "the XIX century". Out: "Henry the eighth", "World War two".
"""

from __future__ import annotations

import re

from edgetts.text.readings.en_numbers import cardinal, ordinal
from edgetts.text.readings.rule import PLAIN, Rule, either, rule, words

_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_VALID = re.compile(r"M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
_RULERS = words(
    "Henry Louis Elizabeth George Charles Edward Richard James William John Paul Pius Benedict Gregory Leo Philip "
    "Philippe Napoleon Frederick Friedrich Catherine Ivan Peter Nicholas Alexander Otto Wilhelm Ferdinand Francis "
    "Innocent Clement Urban Mary Ramesses Ramses Ptolemy Darius Xerxes Cleopatra Baldwin Robert David "
    "Kenneth Harald Harold Olav Christian Gustav Gustavus Haakon Carl Umberto Emanuel Pedro Alfonso Felipe Carlos "
    "Franz Joseph Juan Leopold Albert Rudolf Maximilian Sixtus Julius Martin Boniface Celestine Eugene Stephen "
    "Thutmose Amenhotep Margaret Margrethe Beatrix Wilhelmina Christina Isabella Constantine Theodosius Justinian "
    "Michael Basil Mehmed Murad Selim Suleiman Bayezid Mahmud Abdul Charlemagne Sigismund Ladislaus Casimir "
    "Augustus Stanislaw Henri Leon"
)
_TITLED = r"(?:King|Queen|Pope|Emperor|Empress|Tsar|Czar|Prince|Sultan|Pharaoh|Saint) [A-Z][a-zé]{2,20}"
_TRIGGERS = words(
    "War Chapter Part Act Scene Book Volume Section Article Title Phase Type Class Stage Level Grade Appendix "
    "Figure Table Unit Round Season Episode Schedule Annex Canto Psalm Bowl Mark Apollo Category Factor Group "
    "Lesson Module Paragraph Amendment Symphony Sonata Tier Schedule Movement"
)
_SEVERAL = words(
    "Wars Parts Chapters Acts Scenes Books Volumes Sections Articles Titles Phases Types Classes Stages Levels Bowls"
)
_BETWEEN = r"(?:, |,? (?:and|or|to|through|&) | ?[-–] ?)"
_ONE_OF = re.compile(r"[IVX]+")
_NUMERAL = r"[IVXLCDM]{1,8}"
_PLAIN = r"[IVX]{2,7}"
_FOLLOWING = (
    "of|was|is|and|began|ended|to|from|in|on|at|by|the|scene|scenes|had|has|or|veterans?|ships?|diabetes|for|as|with"
)
_ALONE_AFTER = rf"(?=[.,;:!?)\]\"'”’]|\s?$|\s(?:{_FOLLOWING})\b)"


def value(numeral: str) -> int | None:
    """The value of a Roman numeral; None for other text."""
    if not numeral or _VALID.fullmatch(numeral) is None:
        return None
    total = 0
    for char, following in zip(numeral, numeral[1:] + " ", strict=True):
        worth = _VALUES[char]
        total += -worth if _VALUES.get(following, 0) > worth else worth
    return total


def _ruler(match: re.Match[str]) -> str | None:
    n = value(match["n"])
    return None if n is None else f"{match['name']} the {ordinal(n)}"


def _numbered(match: re.Match[str]) -> str | None:
    n = value(match["n"])
    return None if n is None else f"{match['name']} {cardinal(n)}"


def _several(match: re.Match[str]) -> str | None:
    """Wars I and II; lists of numerals that are not words."""
    numerals = _ONE_OF.findall(match["list"])
    if any(value(numeral) is None for numeral in numerals):
        return None
    spoken = _ONE_OF.sub(lambda m: cardinal(value(m.group()) or 0), match["list"])
    return f"{match['name']} {spoken}" if match["name"] else spoken


def _century(match: re.Match[str]) -> str | None:
    n = value(match["n"])
    return None if n is None else ordinal(n)


RULES: tuple[Rule, ...] = (
    rule(
        rf"\b(?P<name>{either(_SEVERAL)}) (?P<list>[IVX]{{1,5}}(?:{_BETWEEN}[IVX]{{1,5}}){{1,8}})\b(?!['’])", _several
    ),
    rule(r"(?P<name>)(?<![\w.'’])(?P<list>I, II(?:,? (?:and )?[IVX]{1,5}){0,12})\b(?!['’])", _several),
    rule(rf"\b(?P<name>(?:{either(_RULERS)})|{_TITLED}) (?P<n>[IVX]{{2,7}}|[VX])\b(?!\.?\w)(?!'(?!s\b))", _ruler),
    rule(rf"\b(?P<name>(?:{either(_RULERS)})|{_TITLED}) (?P<n>I){_ALONE_AFTER}", _ruler),
    rule(rf"\b(?P<name>{either(_TRIGGERS)}) (?P<n>I){_ALONE_AFTER}", _numbered),
    rule(
        rf"\b(?P<name>{either([*_TRIGGERS, *map(str.lower, _TRIGGERS), *map(str.upper, _TRIGGERS)])})"
        rf" (?P<n>(?!I\b){_NUMERAL})\b(?!['.]\w)",
        lambda m: _numbered(m) if len(m["n"]) > 1 or m["n"] in "VX" else None,
    ),
    rule(r"\bWW(?P<n>II?)\b", lambda m: f"World War {cardinal(len(m['n']))}"),
    rule(r"\bWW(?P<n>[12])\b", lambda m: f"World War {cardinal(int(m['n']))}"),
    rule(
        r"(?i:\b(?P<name>scene|chapter|part|act|page|pages|section|book|volume|canto)) (?P<n>[ivx]{2,7})\b",
        lambda m: None if (n := value(m["n"].upper())) is None else f"{m['name']} {cardinal(n)}",
        needs=PLAIN,
    ),
    rule(
        r"\b(?P<n>[IVX]{1,6})(?:th)?(?= century| centuries|th\b)(?:th)?",
        lambda m: _century(m) if m["n"] != "I" else None,
    ),
    rule(rf"(?P<name>\b[A-Z][A-Za-z]{{2,24}}) (?P<n>{_PLAIN})\b(?!['.]\w)", _numbered),
    rule(
        rf"(?P<name>)(?:(?<=\n)|(?<![\s\S]))(?P<n>{_PLAIN})(?=[.)]\s)", lambda m: (_numbered(m) or "").strip() or None
    ),
    # Numerals that are neither words nor abbreviations, in any context.
    rule(
        r"(?<![\w.'’&/-])(?P<n>I{2,3}|VI{2,3}|XI{2,3}|XIV|XVI{1,3}|XXI{1,3})(?![\w'’&/-]|\.\w)",
        lambda m: None if (n := value(m["n"])) is None else cardinal(n),
    ),
)
