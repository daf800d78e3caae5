"""Numbers in Spanish and Arabic words, by `num2words`, in the forms for a sentence.

In: whole numbers, decimals as written. Out: words. Does not know texts.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from functools import lru_cache

MAX_NUMBER = 10**12  # larger ones are read digit by digit
_MAX_JOINT_DECIMALS = 2  # more are read digit by digit: 3,25 "coma veinticinco"
_MIN_PHONE_DIGITS = 7
_one_at_a_time = threading.Lock()  # the Arabic converter is stateful

_AR_ALONE = (("مئتا", "مئتان"), ("ألفا", "ألفان"), ("مليونا", "مليونان"), ("مليارا", "ملياران"))
_AR_FEMININE_UNITS = {
    1: "واحدة", 2: "اثنتان", 3: "ثلاث", 4: "أربع", 5: "خمس", 6: "ست", 7: "سبع", 8: "ثمان", 9: "تسع", 10: "عشر",
    11: "إحدى عشرة", 12: "اثنتا عشرة",
}  # fmt: skip
_AR_OBLIQUE = (("ان", "ين"), ("ون", "ين"), ("اثنا", "اثني"))
_AR_KEPT = frozenset(("مليون", "ثمان"))  # end alike and have one form


def spanish(number: int) -> str:
    """1 is "uno"; digit by digit if the number is too large."""
    return _words(number, "es") if number < MAX_NUMBER else spanish_digits(str(number))


def spanish_before(number: int, *, feminine: bool) -> str:
    """The form before a noun: "un", "veintiún", "veintiuna", "doscientas"."""
    words = spanish(number)
    if feminine:
        words = words.replace("cientos", "cientas").replace("quinientos", "quinientas")
        return words[:-1] + "a" if words.endswith("uno") else words
    if words.endswith("veintiuno"):
        return words[:-4] + "ún"
    return words[:-1] if words.endswith("uno") else words


@lru_cache(maxsize=1024)
def spanish_ordinal(number: int, *, feminine: bool) -> str:
    """1 is "primero" or "primera"."""
    words = _words(number, "es", to="ordinal")
    return " ".join(word[:-1] + "a" for word in words.split()) if feminine else words


def spanish_digits(digits_text: str) -> str:
    """Digit by digit."""
    return " ".join(_words(int(digit), "es") for digit in digits_text)


def arabic(number: int) -> str:
    """1 is "واحد", the form for masculine nouns; digit by digit if the number is too large."""
    if number >= MAX_NUMBER:
        return arabic_digits(str(number))
    words = _words(number, "ar").replace(" و ", " و")
    for short, alone in _AR_ALONE:
        if words.endswith(short):
            return words[: -len(short)] + alone
    return words


def arabic_feminine(number: int) -> str:
    """The form for feminine nouns, of numbers up to 99; above, that of `arabic`."""
    if number in _AR_FEMININE_UNITS:
        return _AR_FEMININE_UNITS[number]
    if 12 < number < 20:
        return f"{_AR_FEMININE_UNITS[number - 10].replace('ثمان', 'ثماني')} عشرة"
    tens, units = divmod(number, 10)
    if number >= 100 or not units:
        return arabic(number)
    unit = "ثمان" if units == 8 else _AR_FEMININE_UNITS[units]
    return f"{'إحدى' if units == 1 else unit} و{arabic(tens * 10)}"


def arabic_oblique(words: str) -> str:
    """The words after another noun, such as a year's: "ألفين وستة وعشرين"."""
    found = []
    for word in words.split():
        changed = word
        for nominative, oblique in _AR_OBLIQUE if word.removeprefix("و") not in _AR_KEPT else ():
            if word.endswith(nominative):
                changed = word[: -len(nominative)] + oblique
                break
        found.append(changed)
    return " ".join(found)


def arabic_digits(digits_text: str) -> str:
    """Digit by digit."""
    return " ".join(_words(int(digit), "ar") for digit in digits_text)


def phone(written: str, digits: Callable[[str], str], comma: str, plus: str) -> str:
    """Each group of a telephone number digit by digit; figures that are too few for one as they are."""
    groups = re.findall(r"\d+", written)
    if sum(map(len, groups)) < _MIN_PHONE_DIGITS:
        return written
    return (plus if written.startswith("+") else "") + comma.join(map(digits, groups))


def decimals(digits_text: str, number: Callable[[int], str], digits: Callable[[str], str]) -> str:
    """The digits after the decimal mark: one number if they are few and do not begin with 0, else digit by digit."""
    return (
        number(int(digits_text))
        if len(digits_text) <= _MAX_JOINT_DECIMALS and digits_text[0] != "0"
        else digits(digits_text)
    )


@lru_cache(maxsize=1024)
def _words(number: int, language: str, to: str = "cardinal") -> str:
    from num2words import num2words  # imports all its languages: only when needed

    with _one_at_a_time:
        return str(num2words(number, lang=language, to=to))
