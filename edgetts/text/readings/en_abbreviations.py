"""English abbreviations: titles, streets, Latin, references such as "No. 5" and "Fig. 2", letters with periods.

In: "Prof. Lee", "Main St., London", "e.g.", "pp. 5-10", "U.S.A.". Out: their spoken forms. A period that also ends the
sentence stays.
"""

from __future__ import annotations

import re

from edgetts.text.readings.en_context import ends_sentence, previous_word
from edgetts.text.readings.rule import PLAIN, Rule, either, rule, words

# Before a name.
TITLES = {
    "Mr": "Mister", "Mrs": "Missus", "Ms": "Miss", "Dr": "doctor", "Prof": "professor", "Gen": "general",
    "Sgt": "sergeant", "Capt": "captain", "Cpt": "captain", "Lt": "lieutenant", "Col": "colonel", "Maj": "major",
    "Cmdr": "commander", "Adm": "admiral", "Gov": "governor", "Sen": "senator", "Rep": "representative",
    "Rev": "reverend", "Hon": "honorable", "Pres": "president", "Fr": "father", "Br": "brother", "Mt": "Mount",
    "Ft": "Fort", "Pvt": "private", "Cpl": "corporal", "Supt": "superintendent", "Messrs": "messieurs",
}  # fmt: skip
_BARE_TITLES = ("Mr", "Mrs", "Ms", "Dr", "Prof")  # also written without a period
# After a name; some end an address, a company's name or a sentence.
_STREETS = {
    "St": "Street", "Dr": "Drive", "Ave": "Avenue", "Av": "Avenue", "Blvd": "Boulevard", "Rd": "Road", "Ln": "Lane",
    "Hwy": "Highway", "Pkwy": "Parkway", "Sq": "Square", "Pl": "Place", "Ct": "Court", "Terr": "Terrace",
}  # fmt: skip
_ENDINGS = {
    "Jr": "junior", "Sr": "senior", "Inc": "incorporated", "Ltd": "limited", "Corp": "corporation", "Co": "company",
    "Bros": "brothers", "Esq": "esquire", "Assn": "association",
}  # fmt: skip
_WORDS = {
    "e.g.": "for example", "i.e.": "that is", "etc.": "et cetera", "cf.": "compare", "et al.": "et al",
    "approx.": "approximately", "dept.": "department", "govt.": "government", "a.k.a.": "also known as",
    "viz.": "namely", "ca.": "circa", "vs.": "versus", "est.": "established", "tel.": "telephone",
    "ext.": "extension", "max.": "maximum", "min.": "minimum", "avg.": "average", "incl.": "including",
    "excl.": "excluding", "resp.": "respectively", "misc.": "miscellaneous", "apt.": "apartment",
    "temp.": "temperature", "eg.": "for example", "ie.": "that is", "a.k.a": "also known as", "e.g": "for example",
    "i.e": "that is", "Dept.": "department", "Approx.": "approximately", "Est.": "established", "Tel.": "telephone",
    "Ext.": "extension", "Max.": "maximum", "Min.": "minimum", "Apt.": "apartment", "E.g.": "for example",
    "I.e.": "that is", "Govt.": "government", "Etc.": "et cetera",
}  # fmt: skip
_BARE_WORDS = {
    "vs": "versus", "w/o": "without", "aka": "also known as", "approx": "approximately", "and/or": "and or",
    "he/she": "he or she", "she/he": "she or he", "his/her": "his or her", "him/her": "him or her",
    "s/he": "she or he", "c/o": "care of", "b/c": "because", "w/in": "within", "n/a": "N A", "N/A": "N A", "w/": "with",
}  # fmt: skip
# Before a number.
_REFERENCES = {
    "No": "number", "NO": "number", "no": "number", "Nr": "number", "Nos": "numbers", "nos": "numbers",
    "Vol": "volume", "vol": "volume", "Vols": "volumes", "vols": "volumes", "Fig": "figure", "fig": "figure",
    "Figs": "figures", "figs": "figures", "p": "page", "P": "page", "pp": "pages", "Pp": "pages", "pg": "page",
    "Ch": "chapter", "ch": "chapter", "Chap": "chapter", "chap": "chapter", "Sec": "section", "sec": "section",
    "Sect": "section", "Eq": "equation", "eq": "equation", "Eqs": "equations", "eqs": "equations", "Art": "article",
    "art": "article", "Ref": "reference", "ref": "reference", "Tab": "table", "tab": "table", "Ex": "example",
    "Rm": "room", "rm": "room", "Apt": "apartment", "apt": "apartment", "ext": "extension", "Ext": "extension",
    "para": "paragraph", "v": "version", "ver": "version", "Ver": "version", "Ep": "episode", "ep": "episode",
    "Pt": "part", "pt": "part", "Op": "opus", "op": "opus", "Lv": "level", "lv": "level", "Lvl": "level",
    "lvl": "level", "c": "circa", "l": "line", "ll": "lines",
}  # fmt: skip
_ANSWER_BEFORE = frozenset(words("or and said say says answer answered is was yes a the with mean means"))
_NEEDS_PERIOD = frozenset(words("no NO c P v sec tab art ex pt ref l ll op ch p Ex Tab Art Ref Op Pt"))
# Letters with periods that are kept together.
_SAID_TOGETHER = frozenset(("USA", "UK"))
_MAX_SPELLED = 3  # letters with periods; more are a word (N.A.T.O.)
# Capitals that are spelled although the lexicon has words of the same letters.
_LETTERS = {"US": "U S", "AI": "A I"}
# These end a sentence only at the end of the text.
_NEVER_LAST = ("also known as", "for example", "that is", "versus", "namely", "compare")
# These end a sentence before any capital letter.
_MAY_END = ("et cetera", "et al", "respectively")


def _with_period(match: re.Match[str], spoken: str, *, any_capital: bool = False) -> str:
    ends = match.group().endswith(".") and ends_sentence(match, any_capital=any_capital)
    return spoken + "." if ends else spoken


def _word(match: re.Match[str]) -> str:
    spoken = _WORDS[match.group()]
    if spoken in _NEVER_LAST and match.string[match.end() : match.end() + 2].strip():
        return spoken
    return _with_period(match, spoken, any_capital=spoken in _MAY_END)


def _street(match: re.Match[str]) -> str | None:
    return _with_period(match, f"{match['name']} {_STREETS[match['kind']]}")


def _saint(_match: re.Match[str]) -> str:
    return "Saint "


def _letters(match: re.Match[str]) -> str:
    letters = match.group().replace(".", "")
    is_word = letters in _SAID_TOGETHER or len(letters) > _MAX_SPELLED
    return _with_period(match, letters if is_word else " ".join(letters))


def _reference(match: re.Match[str]) -> str | None:
    name = match["name"]
    if (name in _NEEDS_PERIOD and not match["dot"]) or (name == "no" and previous_word(match) in _ANSWER_BEFORE):
        return None
    return _REFERENCES[name] + " "


def _capital_words(match: re.Match[str]) -> str | None:
    """US spelled, unless the context is in capitals: "TELL US NOW"."""
    near = match.string[max(0, match.start() - 40) : match.end() + 40]
    return _LETTERS[match.group()] if any(char.islower() for char in near) else None


RULES: tuple[Rule, ...] = (
    rule(rf"(?<![\w.])(?<!\d )(?:{either(_WORDS)})(?![\w])", _word),
    rule(rf"(?<![\w/])(?:{either(_BARE_WORDS)})(?![\w/.]\w|\w|/)", lambda m: _BARE_WORDS[m.group()], needs=PLAIN),
    rule(
        rf"(?<![\w./-])(?P<name>{either(_REFERENCES)})(?P<dot>\.?)(?: ?(?=#?\d)|(?<=\.) (?=(?:[IVX]{{2,5}}|[VX])\b))",
        _reference,
    ),
    rule(r"№ ?(?=\d)", "number "),
    rule(r"(?<=[a-z]\b) v\.? (?=[A-Z][a-z])", lambda m: " versus " if "." in m.group() else None),
    # "Main St." and "Elm Dr." end a name, "St. Paul" and "Dr. Lee" begin one.
    rule(
        rf"(?P<name>\b(?:[A-Z][a-z]{{1,20}}(?:['’]s)?|\d{{1,3}}(?:st|nd|rd|th))) (?P<kind>{either(_STREETS)})"
        r"(?:\.(?!\w)|(?=[,;]))"
        r"(?! [A-Z][a-z]{1,20} [A-Z][a-z]{1,20} (?:said|was|is)\b)",
        lambda m: _street(m) if not _begins_name(m) else None,
    ),
    rule(r"\bSt\. ?(?=[A-Z])|\bSt (?=[A-Z][a-z])", _saint),
    rule(r"\bSte\. ?(?=[A-Z])", "Sainte "),
    rule(r"\b(?P<t>Mrs?|Ms)\.(?P<gap> ?)", lambda m: TITLES[m["t"]] + " "),
    rule(rf"\b(?P<t>{either(TITLES)})\. ?(?=[A-Z]|and )", lambda m: TITLES[m["t"]] + " "),
    rule(rf"\b(?P<t>{either(_BARE_TITLES)}) (?=[A-Z])", lambda m: TITLES[m["t"]] + " "),
    rule(
        rf"(?<=[\w&])(?P<gap>,? )(?P<e>{either(_ENDINGS)})(?:\.|(?=,))",
        lambda m: _with_period(m, m["gap"] + _ENDINGS[m["e"]]),
    ),
    rule(r"\b(?P<e>Jr|Sr)\.(?= [a-z])", lambda m: _ENDINGS[m["e"]]),
    rule(r"\bProf\.", lambda m: _with_period(m, "professor")),
    rule(r"\b(?P<kind>Blvd|Hwy|Pkwy|Ave|Rd)\b\.?", lambda m: _with_period(m, _STREETS[m["kind"]])),
    rule(r"(?<=[A-Z][a-z])(?P<gap>,? )(?P<e>Jr|Sr|Inc|Ltd|Corp)\b(?!\.)", lambda m: m["gap"] + _ENDINGS[m["e"]]),
    rule(r"\bPh\.? ?D\.?(?!\w)", lambda m: _with_period(m, "P H D")),
    rule(r"(?<![\w.])(?:[A-Z]\.){2,8}(?!\w)|(?<![\w.])(?:[A-Z]\.){1,8}[A-Z](?![\w])", _letters),
    rule(rf"\b(?:{either(_LETTERS)})\b(?!\.\w| ?\$)", _capital_words),
    rule(
        r"(?<![\w&])(?P<a>[A-Z]{1,3})&(?P<b>[A-Z]{1,2})(?![\w&])",
        lambda m: f"{' '.join(m['a'])} and {' '.join(m['b'])}",
    ),
    rule(
        r"(?<![\w.'’])(?:[A-HJ-Z]\.(?= [A-Z][a-z.])|I\.(?= [A-Z]\. [A-Z]))",
        lambda m: None if ends_sentence(m) else m.group()[0],
    ),
)


def _begins_name(match: re.Match[str]) -> bool:
    """Whether "St." or "Dr." after a capitalized word belongs to the next name: "Ask Dr. Lee"."""
    if match["kind"] not in ("St", "Dr") or not match.group().endswith("."):
        return False
    following = re.compile(r" [A-Z][a-z]").match(match.string, match.end())
    return following is not None and match["name"] not in STREET_NAMES


# Common street names: "Main St. The shop ..." ends a sentence, "Visit St. Paul" does not.
STREET_NAMES = frozenset(
    words(
        "Main Elm Oak Park High Broad Church Wall Baker Market State Union King Queen Water First Second Third Fourth "
        "Fifth Washington Maple Pine Cedar Bridge Mill Front Spring School Center Pearl Walnut Chestnut Court"
    )
)
