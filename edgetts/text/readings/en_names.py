"""Names of letters and digits in English: "A4", "B2B", "CO2", "AA1234", "MP3", "GPT-5", "1080p", "221B".

In: such names. Out: short groups of letters spelled, up to two digits as a number, three as "three eighty", more one by
one. The hyphens of terms stay.
"""

from __future__ import annotations

import re

from edgetts.text.readings.en_numbers import cardinal, digits, pair, year
from edgetts.text.readings.rule import Rule, rule

_RUN = re.compile(r"[A-Za-z]+|\d+")
_MAX_SPELLED = 3  # letters; longer groups are words
_VOWELS = frozenset("aeiouyAEIOUY")
_CENTURIES = ("19", "20")  # FY2024
_PAIRED = 3  # digits


def name_digits(text: str) -> str:
    """The digits of a name."""
    if text[0] == "0" and len(text) > 1:
        return digits(text)
    if len(text) < _PAIRED:
        return cardinal(int(text))
    if text[:2] in _CENTURIES and len(text) == len("2024"):
        return year(int(text))
    return pair(text) if len(text) == _PAIRED else digits(text)


def spelled(letters: str) -> str:
    """Letters of a name; spelled if they are few capitals or cannot be a word."""
    if len(letters) == 1:
        return letters
    is_short = len(letters) <= _MAX_SPELLED and (letters.isupper() or len(letters) < _MAX_SPELLED)
    if is_short or (len(letters) <= _MAX_SPELLED + 1 and not _VOWELS & set(letters)):
        return " ".join(letters)
    return letters


def _name(match: re.Match[str]) -> str:
    runs = _RUN.findall(match.group())
    return " ".join(name_digits(run) if run.isdecimal() else spelled(run) for run in runs)


def _model(match: re.Match[str]) -> str:
    text = match["digits"]
    return f"nine {cardinal(int(text[1:]))}" if text == "911" else pair(text)


def _house(match: re.Match[str]) -> str:
    """A number with a letter after it, such as a house or model: 221B, 1080p, 6E."""
    number = match["digits"]
    spoken = pair(number) if len(number) == 4 else cardinal(int(number)) if number[0] != "0" else digits(number)
    return f"{spoken.replace(' and ', ' ')} {spelled(match['letters'])}"


def _term(match: re.Match[str]) -> str:
    """GPT-5-nano, F5-TTS, COVID-19, F-16: each part separately, hyphens kept."""
    parts = match.group().split("-")
    said = []
    for part in parts:
        runs = _RUN.findall(part)
        said.append(" ".join(name_digits(run) if run.isdecimal() else run for run in runs))
    return "-".join(said)


# After the rules for 1st, 90s and 5x.
RULES: tuple[Rule, ...] = (
    rule(r"(?:(?<=\b[RG]TX )|(?<=\bPorsche ))(?P<digits>\d{3,4})(?![\d.,])", _model),
    rule(
        r"(?<![A-Za-z0-9-])(?=[A-Za-z0-9-]{0,40}\d)[A-Za-z][A-Za-z0-9]{0,20}(?:-[A-Za-z0-9]{1,20}){1,6}(?![A-Za-z0-9-])",
        _term,
    ),
    rule(r"(?<![A-Za-z0-9])[A-Za-z]{1,20}\d{1,15}(?:[A-Za-z]{1,10}\d{0,6}){0,3}(?![A-Za-z0-9])", _name),
    rule(r"(?<![A-Za-z0-9.,])(?P<digits>\d{1,4})(?P<letters>[A-Za-z])(?![A-Za-z0-9])", _house),
    rule(r"(?<![A-Za-z0-9.,])\d{1,6}[A-Za-z]{1,10}(?:\d{1,6}[A-Za-z]{0,10}){0,3}(?![A-Za-z0-9])", _name),
)
