"""The order of the Chinese rules.

In: Chinese text in simplified characters, possibly with Latin words. Out: text in characters and letters. As in
English, the most specific forms come first, plain digits last.
"""

from __future__ import annotations

from edgetts.text.readings import phone, web, zh_dates, zh_money, zh_numbers, zh_signs, zh_special, zh_units
from edgetts.text.readings.rule import DIGITS, SIGNS, Rules, ascii_only, needing
from edgetts.text.traced import TracedText

_MOBILE_DIGITS = 11
_SHORT_DIGITS = 6


def _groups(parts: list[str]) -> str:
    """Groups of digits of a telephone number. 1 is 幺 in an ungrouped number, as in upstream, and 一 in groups."""
    is_whole = len(parts) == 1 and (len(parts[0]) == _MOBILE_DIGITS or len(parts[0]) <= _SHORT_DIGITS)
    return "".join(
        zh_numbers.digits(p, one="幺" if is_whole else "一") if p.isdecimal() else " ".join(p) for p in parts
    )


_WEB = ascii_only(web.rules(web.ZH_SIGNS, zh_numbers.name_digits, zh_numbers.digits, separator=""))
_PHONE = ascii_only(phone.rules(_groups, plus="加"))
_WITH_DIGITS = (
    *zh_signs.BEFORE_QUANTITIES,
    *zh_special.EARLY,
    *_PHONE,
    *zh_money.RULES,
    *zh_dates.RULES,
    *zh_units.RULES,
    *zh_signs.BEFORE_NUMBERS,
)
RULES = (
    *needing(SIGNS, _WEB),
    *needing(DIGITS, _WITH_DIGITS),
    *needing(SIGNS, (*zh_signs.NUMBERS, *zh_special.LATE, *zh_signs.AFTER_NUMBERS)),
)
_ALL = Rules(RULES, spaced=False)


def read(text: TracedText) -> TracedText:
    """The spoken form of `text`."""
    return _ALL.apply(text)
