"""The order of the English rules.

In: English text, white space single. Out: text in words. Each file's rules see what those before them left: what has
the clearest form comes first (addresses, telephone numbers, money), plain figures last.
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
from edgetts.text.readings.rule import apply, ascii_only
from edgetts.text.traced import TracedText

_WEB = ascii_only(web.rules({**web.EN_SIGNS, "point": "point"}, en_names.name_digits, en_numbers.digits, apart=" "))


def _groups(parts: list[str]) -> str:
    return ", ".join(en_numbers.digits(part) if part.isdecimal() else " ".join(part) for part in parts)


_PHONE = ascii_only(phone.rules(_groups, plus="plus "))
# Those that only figures or signs set off are skipped where there are none.
_WITH_FIGURES = (
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
_WORDS = (*en_abbreviations.RULES, *en_roman.RULES)
_SIGNS = (*en_written.BEFORE_SIGNS, *en_signs.NUMBERS)
_LEFT = (*en_written.AFTER_SIGNS, *en_signs.AFTER_NUMBERS)
RULES = (*_WEB, *_WORDS, *_WITH_FIGURES, *_SIGNS, *_LEFT)


def read(text: TracedText) -> TracedText:
    """`text` as it is said."""
    text = apply(text, _WEB, spaced=True)
    text = apply(text, _WORDS, spaced=True)
    text = apply(text, _WITH_FIGURES, spaced=True)
    text = apply(text, _SIGNS, spaced=True)
    return apply(text, _LEFT, spaced=False)
