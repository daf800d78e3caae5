"""The order of the English rules.

In: English text with single spaces. Out: text in words. Each file's rules see the output of those before: the most
specific forms come first (addresses, telephone numbers, money), plain digits last.
"""

from __future__ import annotations

from edgetts.text.readings import (
    en_abbreviations,
    en_dates,
    en_money,
    en_names,
    en_numbers,
    en_roman,
    en_signs,
    en_special,
    en_units,
    en_written,
    phone,
    web,
)
from edgetts.text.readings.rule import CAPITALS, DIGITS, SIGNS, Rules, ascii_only, needing
from edgetts.text.traced import TracedText

_WEB = ascii_only(web.rules({**web.EN_SIGNS, "point": "point"}, en_names.name_digits, en_numbers.digits, separator=" "))


def _groups(parts: list[str]) -> str:
    return ", ".join(en_numbers.digits(part) if part.isdecimal() else " ".join(part) for part in parts)


_PHONE = ascii_only(phone.rules(_groups, plus="plus "))
_WITH_DIGITS = (
    *en_signs.BEFORE_QUANTITIES,
    *en_special.EARLY,
    *_PHONE,
    *en_money.RULES,
    *en_dates.RULES,
    *en_units.RULES,
    *en_special.LATE,
    *en_signs.BEFORE_NUMBERS,
    *en_names.RULES,
)
_SPACED = (
    *needing(SIGNS, _WEB),
    *needing(CAPITALS, (*en_abbreviations.RULES, *en_roman.RULES)),
    *needing(DIGITS, _WITH_DIGITS),
    *needing(SIGNS, (*en_written.BEFORE_SIGNS, *en_signs.NUMBERS)),
)
_UNSPACED = needing(SIGNS, (*en_written.AFTER_SIGNS, *en_signs.AFTER_NUMBERS))
RULES = (*_SPACED, *_UNSPACED)
_SPACED_RULES, _UNSPACED_RULES = Rules(_SPACED, spaced=True), Rules(_UNSPACED, spaced=False)


def read(text: TracedText) -> TracedText:
    """The spoken form of `text`."""
    return _UNSPACED_RULES.apply(_SPACED_RULES.apply(text))
