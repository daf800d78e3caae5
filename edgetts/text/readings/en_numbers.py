"""English numbers as words: cardinals, ordinals, years, digit by digit, decimals, fractions.

In: digits. Out: words without hyphens, with "and" before the last two digits, as in upstream.
"""

from __future__ import annotations

from edgetts.text.readings.rule import MAX_DIGITS, words

_SMALL = words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SCALES = ("", "thousand", "million", "billion", "trillion")
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_FRACTIONS = {2: ("half", "halves"), 4: ("quarter", "quarters")}
VULGAR = {
    "½": (1, 2), "⅓": (1, 3), "⅔": (2, 3), "¼": (1, 4), "¾": (3, 4), "⅕": (1, 5), "⅖": (2, 5), "⅗": (3, 5),
    "⅘": (4, 5), "⅙": (1, 6), "⅚": (5, 6), "⅐": (1, 7), "⅛": (1, 8), "⅜": (3, 8), "⅝": (5, 8), "⅞": (7, 8),
    "⅑": (1, 9), "⅒": (1, 10),
}  # fmt: skip
_DECADES = {"ten": "tens"}
_GROUP = 1000


def cardinal(n: int) -> str:
    """The cardinal: 1234 is "one thousand two hundred and thirty four". Up to `MAX_DIGITS` digits."""
    if n < len(_SMALL):
        return _SMALL[n]
    words: list[str] = []
    for scale in reversed(range(len(_SCALES))):
        group = n // _GROUP**scale % _GROUP
        if not group:
            continue
        if scale:
            words += [_below_thousand(group, link=False), _SCALES[scale]]
        else:
            words += ["and"] * (bool(words) and group < 100) + [_below_thousand(group, link=True)]
    return " ".join(words)


def _below_thousand(n: int, *, link: bool) -> str:
    hundreds, rest = divmod(n, 100)
    words = [_SMALL[hundreds], "hundred"] if hundreds else []
    if hundreds and rest and link:
        words.append("and")
    if rest:
        words.append(_below_hundred(rest))
    return " ".join(words)


def _below_hundred(n: int) -> str:
    if n < len(_SMALL):
        return _SMALL[n]
    tens, rest = divmod(n, 10)
    return f"{_TENS[tens]} {_SMALL[rest]}" if rest else _TENS[tens]


def ordinal(n: int) -> str:
    """The ordinal: 21 is "twenty first"."""
    *start, last = cardinal(n).split(" ")
    regular = last[:-1] + "ieth" if last.endswith("y") else last + "th"
    return " ".join([*start, _ORDINALS.get(last, regular)])


def digits(text: str) -> str:
    """The digits of `text` one by one; other characters are dropped."""
    return " ".join(_SMALL[int(char)] for char in text if char.isdecimal())


def year(n: int) -> str:
    """1905 is "nineteen oh five", 2005 "two thousand five", 1900 "nineteen hundred"."""
    century, rest = divmod(n, 100)
    if n % 1000 == 0 or n < 1000:
        return cardinal(n)
    if century % 10 == 0 and rest < 10:
        return f"{cardinal(century // 10)} thousand {cardinal(rest)}"
    if not rest:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {cardinal(rest)}" if rest >= 10 else f"{cardinal(century)} oh {cardinal(rest)}"


def pair(text: str) -> str:
    """Three or four digits in pairs, as in names of models and screens: 380 "three eighty", 1080 "ten eighty"."""
    if len(text) == 4 and text[0] != "0":
        return year(int(text)) if text[1:] != "000" else cardinal(int(text))
    if len(text) == 3 and text[0] != "0" and text[1:] != "00":
        rest = int(text[1:])
        return f"{_SMALL[int(text[0])]} {'oh ' if rest < 10 else ''}{_below_hundred(rest)}"
    return cardinal(int(text)) if text[0] != "0" else digits(text)


def decade(century: int, tens: int) -> str:
    """19, 90 is "nineteen nineties"; 18, 0 "eighteen hundreds"; 20, 0 "two thousands"; 0, 90 "nineties"."""
    if not tens:
        return f"{cardinal(century // 10)} thousands" if century % 10 == 0 else f"{cardinal(century)} hundreds"
    name = _below_hundred(tens)
    plural = _DECADES.get(name, name[:-1] + "ies")
    return f"{cardinal(century)} {plural}" if century else plural


def number(text: str) -> str:
    """A number as written: "1,234.5", ".5", "007"."""
    whole, dot, decimals = text.replace(",", "").partition(".")
    if not whole:
        spoken = ""
    elif len(whole) > MAX_DIGITS or (whole[0] == "0" and len(whole) > 1):
        spoken = digits(whole)
    else:
        spoken = cardinal(int(whole))
    return f"{spoken} point {digits(decimals)}".strip() if dot else spoken


def fraction(numerator: int, denominator: int) -> str:
    """3, 4 is "three quarters". Both at least 1, the denominator at least 2."""
    single, plural = _FRACTIONS.get(denominator, (ordinal(denominator), ordinal(denominator) + "s"))
    if denominator > 2 and denominator % 10 == 2 and denominator != 12:
        return f"{cardinal(numerator)} over {cardinal(denominator)}"  # not "twenty seconds"
    return f"{cardinal(numerator)} {single if numerator == 1 else plural}"


def is_one(text: str) -> bool:
    """Whether `text` takes the singular."""
    return text == "1"
