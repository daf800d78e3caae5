"""English signs and plain numbers: ranges, scores, fractions, arithmetic, ordinals, remaining digits.

In: text whose money, units, dates, names and telephone numbers are words already. Out: text without digits. The last
file of rules.
"""

from __future__ import annotations

import re

from edgetts.text.readings.en_context import is_count, is_year_before, next_word
from edgetts.text.readings.en_dates import AM_PM_WORDS, am_pm_period
from edgetts.text.readings.en_numbers import VULGAR, cardinal, fraction, number, ordinal, pair, year
from edgetts.text.readings.en_units import UNIT_SIGNS
from edgetts.text.readings.prepare import GREEK, superscript
from edgetts.text.readings.rule import (
    CAPITALS,
    DASHES,
    GROUPED,
    MAX_DIGITS,
    MINUS,
    NOT_GOING_ON,
    NOT_INSIDE,
    NUMBER,
    PLAIN,
    RATIO,
    SIGNS,
    Rule,
    either,
    needing,
    rule,
)

_MAX_DENOMINATOR, _OTHER_DENOMINATORS = 20, frozenset((32, 50, 64, 100, 1000))
_RATED = re.compile(
    r"\b(?:rat(?:ed|ing|e|es)|scor(?:ed|e|es|ing)|gave|give|gives|got|get|review|grade)\b[^.!?]{0,24}$", re.I
)
_FIFTY = 50
_OUT_OF = frozenset((5, 10, 20, 100))
_FIRST_YEAR, _LAST_YEAR = 1100, 2099
_FIRST_OLD_YEAR = 1001
_POWERS = {2: "squared", 3: "cubed"}
_SIGN_WORDS = {
    "±": "plus or minus", "×": "times", "÷": "divided by", "≈": "approximately", "≠": "is not equal to",
    "≤": "less than or equal to", "≥": "greater than or equal to", "∞": "infinity", "√": "square root of",
    "©": "copyright", "®": "registered", "™": "trademark", "→": "to", "⇒": "means", "∑": "sum", "∆": "delta",
    "°": "degrees", "‰": "per thousand", "¢": "cents", "№": "number", "µ": "micro", "∙": "times", "⋅": "times",
    "§": "section", "¶": "paragraph", "€": "euros", "£": "pounds", "¥": "yen", "₹": "rupees", "$": "dollars",
}  # fmt: skip
_LETTER_SIGNS = {"C++": "C plus plus", "c++": "C plus plus", "C#": "C sharp", "F#": "F sharp", "G#": "G sharp",
                 "D#": "D sharp", "A#": "A sharp"}  # fmt: skip


def _mixed(match: re.Match[str]) -> str:
    n, d = VULGAR[match["f"]]
    part = fraction(n, d)
    if not match["whole"]:
        return part
    part = part.replace("one ", "a ", 1) if n == 1 else part
    return f"{number(match['whole'])} and {part}"


def _mixed_slash(match: re.Match[str]) -> str | None:
    n, d = int(match["n"]), int(match["d"])
    if not 0 < n < d:
        return None
    part = fraction(n, d)
    return f"{number(match['whole'])} and " + (part.replace("one ", "a ", 1) if n == 1 else part)


def _fraction(match: re.Match[str]) -> str | None:
    n, d = int(match["n"]), int(match["d"])
    if n == d == _FIFTY:
        return "fifty fifty"
    if _RATED.search(match.string[max(0, match.start() - 40) : match.start()]) and d in _OUT_OF:
        return f"{cardinal(n)} out of {cardinal(d)}"
    if n == d or (d == 10 and not next_word(match)):
        return f"{cardinal(n)} out of {cardinal(d)}"
    if 0 < n < d and (d <= _MAX_DENOMINATOR or d in _OTHER_DENOMINATORS) and d > 1 and match["d"][0] != "0":
        return fraction(n, d)
    return f"{number(match['n'])} over {number(match['d'])}"


def _range(match: re.Match[str]) -> str:
    a, b = match["a"], match["b"]
    if a == b == str(_FIFTY):
        return "fifty fifty"
    if len(a) == len(b) == _MODEL_DIGITS and a.isdecimal() and b.isdecimal() and a > b:
        return f"{pair(a)} {pair(b)}"  # Boeing 747-400
    return f"{_plain(match['a'])} to {_plain(match['b'])}{_scale_of(match)}"


def _scale_of(match: re.Match[str]) -> str:
    return f" {_SCALES[match['scale']]}" if match["scale"] else ""


_MODEL_DIGITS = 3
_SCALES = {
    "k": "thousand",
    "K": "K",
    "M": "million",
    "m": "million",
    "bn": "billion",
    "B": "billion",
    "mil": "million",
    "mn": "million",
}


def _plain(text: str) -> str:
    return year(int(text)) if _looks_year(text) else number(text)


def _looks_year(text: str) -> bool:
    return len(text) == 4 and text.isdecimal() and _FIRST_YEAR <= int(text) <= _LAST_YEAR


def _number(match: re.Match[str]) -> str:
    """Remaining numbers: years by form and context, all others as numbers."""
    text = match["n"]
    minus = "minus " if match["minus"] else "plus " if match["plus"] else ""
    if match["minus"] or match["plus"] or len(text) != 4 or not text.isdecimal() or text[0] == "0":
        return minus + number(text)
    value = int(text)
    if _FIRST_YEAR <= value <= _LAST_YEAR:
        return number(text) if is_count(match) else year(value)
    return year(value) if _FIRST_OLD_YEAR <= value < _FIRST_YEAR and is_year_before(match) else number(text)


def _power(match: re.Match[str]) -> str:
    up = match["up"] or ""
    n = superscript(up.lstrip("⁻")) if up else int(match["n"])
    minus = "minus " if match["minus"] or up.startswith("⁻") else ""
    return f" {_POWERS[n]}" if not minus and n in _POWERS else f" to the power of {minus}{cardinal(n)}"


def _ordinal(match: re.Match[str]) -> str:
    return ordinal(int(match["n"].replace(",", "")))


def _scaled(match: re.Match[str]) -> str:
    return f"{number(match['n'])} {_SCALES[match['scale'].strip()]}"


def _am_pm(match: re.Match[str]) -> str:
    return AM_PM_WORDS[match["am_pm"]] + am_pm_period(match)


def _sign(match: re.Match[str]) -> str:
    before, after = match.string[match.start() - 1 : match.start()], match.string[match.end() : match.end() + 1]
    left = " " if before and not before.isspace() else ""
    right = " " if after and not after.isspace() and (after.isalnum() or after in "$€£") else ""
    return f"{left}{_SIGN_WORDS[match.group()]}{right}"


_BILLION = r"B(?= (?:people|[a-z]{3,20}s)\b)"  # not "exit 4B off"

BEFORE_NUMBERS: tuple[Rule, ...] = (
    rule(
        r"(?<![\d.,/])(?P<n>\d{1,2}\.\d)/(?P<d>5|10)(?![\d/.])", lambda m: f"{number(m['n'])} out of {number(m['d'])}"
    ),
    rule(
        rf"{NOT_INSIDE}(?<![A-Za-z-])(?P<n>{NUMBER})(?P<scale>bn|mn|k|M(?= [a-z])|{_BILLION}| mil)(?![A-Za-z0-9])",
        _scaled,
    ),
    rule(r"(?<![A-Za-z])(?:C\+\+|c\+\+|[CFGDA]#)(?!\w)", lambda m: _LETTER_SIGNS.get(m.group()), needs=SIGNS),
    rule(rf"(?<![\d.,/])(?P<whole>\d{{1,6}})? ?(?P<f>[{''.join(VULGAR)}])", _mixed),
    rule(r"(?<![\d.,/$])(?P<whole>\d{1,4})[ -](?P<n>\d{1,3})/(?P<d>\d{1,3})(?![\d/])", _mixed_slash),
    rule(r"(?<![\d.,/])(?P<n>\d{1,6})[/⁄](?P<d>[1-9]\d{0,5})(?:ths?|rds?)?(?![\d/]|[.,]\d|\w)", _fraction),
    rule(RATIO, lambda m: f"{number(m['a'])} to {number(m['b'])}"),
    rule(r"(?<=\w)(?P<minus>)(?P<n>)(?P<up>⁻?[⁰¹²³⁴-⁹]{1,4})", _power),
    rule(rf"(?<=\w)\^(?P<minus>[{MINUS}]?)(?P<n>\d{{1,4}})(?P<up>)(?!\w)", _power),
    rule(rf"{NOT_INSIDE}(?P<n>{GROUPED}|\d{{1,{MAX_DIGITS}}})(?:st|nd|rd|th|ST|ND|RD|TH)(?![A-Za-z])", _ordinal),
)


def _about(match: re.Match[str]) -> str | None:
    """None between two quantities: "5 kg ~ 10 kg"."""
    return None if _QUANTITY_BEFORE.search(match.string, max(0, match.start() - 12), match.start()) else "about "


# Signs before a quantity with any unit or currency: ~5 kg, <10%, >= $50.
_AMOUNT = rf"(?=[$€£¥￥]?(?:\.?\d|[{''.join(VULGAR)}]))"
_QUANTITY_BEFORE = re.compile(rf"\d(?: ?(?:{either(UNIT_SIGNS)}))? ?\Z")
_ABOUT = rule(rf"(?<![\d~%°)\]])~ ?{_AMOUNT}", _about)
_COMPARED: tuple[Rule, ...] = (
    rule(
        rf"(?<=[\w)%]) ?<=? ?(?=[\d.$€£\-−])|(?<=\d) ?<=? ?(?=\w)|(?<![\w<=>-])<=? ?{_AMOUNT}",
        lambda m: " less than or equal to " if "=" in m.group() else " less than ",
    ),
    rule(
        rf"(?<=[\w)%]) ?>=? ?(?=[\d.$€£\-−])|(?<=\d) ?>=? ?(?=\w)|(?<![\w<=>-])>=? ?{_AMOUNT}",
        lambda m: " greater than or equal to " if "=" in m.group() else " greater than ",
    ),
)
BEFORE_QUANTITIES: tuple[Rule, ...] = (_ABOUT, *needing(SIGNS, _COMPARED))  # while the amount is still in digits
NUMBERS: tuple[Rule, ...] = (
    rule(r"(?<![Ͱ-Ͽἀ-῿])[α-ωΓΔΘΛΞΠΣΦΨΩ](?![Ͱ-Ͽἀ-῿])", lambda m: GREEK.get(m.group()), needs=CAPITALS),
    # #5 and §5.
    rule(r"(?<![\w&#])#(?=\d)", "number "),
    rule(r"(?<![\w&#/])#(?=[A-Za-z])", "hashtag "),
    rule(r"§§ ?(?=\d)", "sections "),
    rule(r"(?<![\w.])@(?=[A-Za-z_])", "at "),
    _ABOUT,
    rule(r"\+/[-−] ?", "plus or minus "),
    rule(r"!= ?(?=[\w$])", "is not equal to "),
    rule(
        r"(?<![A-Za-z\d])(?P<a>[a-z]) ?(?P<o>[<>]) ?(?=[a-z](?![A-Za-z\d]))",
        lambda m: m["a"] + {"<": " less than ", ">": " greater than "}[m["o"]],
    ),
    # Arithmetic: a sign between two terms, or any sign before an equals sign.
    rule(
        rf"(?<=\d) [{MINUS}*] (?=\d{{1,15}}(?:\.\d{{1,9}})? ?(?:[=+×÷]|[{MINUS}] ))",
        lambda m: " times " if "*" in m.group() else " minus ",
    ),
    rule(
        rf"(?<=\d)(?:(?P<x>[x×*])|(?P<m>[{MINUS}])|/)(?=\d{{1,15}}(?:\.\d{{1,9}})?=)",
        lambda m: " times " if m["x"] else " minus " if m["m"] else " over ",
    ),
    rule(r"(?<=\d) ?\* ?(?=\d)|(?<=\d) x (?=\d{1,15}(?:\.\d{1,9})? =)", " times "),
    rule(r"(?<=\d) / (?=\d)", " divided by "),
    rule(r"(?<=[\w)%]) ?\+ ?(?=[\w(])(?!\+)", " plus "),
    rule(r"(?<=\d) ?\+(?![\w+])", " plus"),
    rule(r"(?<=[\w)%°²³]) ?(?<![<>=!])=(?![=>]) ?(?=[\w($€£.\-−√~≈])", " equals "),
    *_COMPARED,
    rule(r"(?<=\w) ?& ?(?=\w)|(?<= )&(?= )", lambda m: "and" if m.group() == "&" else " and "),
    rule(r"(?<=\d) ?% ?", " percent "),
    # Ranges, scores and rows of numbers; then remaining digits.
    rule(r"(?<![\w.-])\d{1,4}(?:-\d{1,4}){2,12}(?![\w-])", lambda m: ", ".join(map(number, m.group().split("-")))),
    rule(
        rf"{NOT_INSIDE}(?<![A-Za-z]-)(?P<a>{NUMBER})(?:[{DASHES}]| [–—] )(?P<b>{NUMBER})"
        rf"(?:(?P<scale>bn|[kKMmB])(?![A-Za-z]))?{NOT_GOING_ON}(?![{DASHES}]\d)",
        _range,
    ),
    rule(rf"(?:(?<![\w)\]])(?:(?P<minus>[{MINUS}])|(?P<plus>\+)) ?)?(?P<n>{NUMBER})", _number),
    rule(rf"(?P<n>\d{{1,{MAX_DIGITS}}})(?P<minus>)(?P<plus>)", _number),
)
AFTER_NUMBERS: tuple[Rule, ...] = (
    rule(f"[{''.join(_SIGN_WORDS)}]", _sign, needs=CAPITALS),
    rule(r"(?<![\w.])(?P<am_pm>[ap])\.m\.", _am_pm, needs=CAPITALS),
    rule(r"(?<=[A-Z])/(?=[A-Z])", " "),
    rule(r"(?<![\w/])/(?=[A-Za-z])", "slash "),
    rule(r"(?<=\w)\\(?=\w)", " backslash "),
    rule(
        r"(?<=[A-Za-z])/(?=[A-Za-z])|(?<= )/(?= )", lambda m: " slash " if m.string[m.start() - 1] != " " else "slash"
    ),
    rule(r"(?<=\w)_(?=\w)", " "),
    rule(r"(?<=\w)@(?=\w)|(?<= )@(?= )", lambda m: "at" if m.string[m.start() - 1] == " " else " at "),
    rule(r"  {1,}", " ", needs=PLAIN),
    rule(r" (?=[,.!?;:](?:\s|$))", "", needs=PLAIN),
)
