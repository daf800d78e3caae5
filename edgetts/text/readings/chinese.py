"""The order of the Chinese rules.

In: Chinese text in simplified characters, with Latin words perhaps. Out: text in characters and letters. As in
English, the clearest forms come first, plain figures last.
"""

from __future__ import annotations

from edgetts.text.readings import phone, web, zh_dates, zh_money, zh_numbers, zh_signs, zh_special, zh_units
from edgetts.text.readings.rule import FIGURES, SIGNS, Rules, ascii_only, needing
from edgetts.text.traced import TracedText

_MOBILE_DIGITS = 11
_SHORT_DIGITS = 6


def _groups(parts: list[str]) -> str:
    """A number in one piece has 幺 for 1, as upstream says it; one written in groups 一."""
    is_whole = len(parts) == 1 and (len(parts[0]) == _MOBILE_DIGITS or len(parts[0]) <= _SHORT_DIGITS)
    return "".join(
        zh_numbers.digits(p, one="幺" if is_whole else "一") if p.isdecimal() else " ".join(p) for p in parts
    )


_WEB = ascii_only(web.rules(web.ZH_SIGNS, zh_numbers.name_digits, zh_numbers.digits, apart=""))
_PHONE = ascii_only(phone.rules(_groups, plus="加"))
_WITH_FIGURES = (
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
    *needing(FIGURES, _WITH_FIGURES),
    *needing(SIGNS, (*zh_signs.NUMBERS, *zh_special.LATE, *zh_signs.AFTER_NUMBERS)),
)
_ALL = Rules(RULES, spaced=False)


def read(text: TracedText) -> TracedText:
    """`text` as it is said."""
    return _ALL.apply(text)
