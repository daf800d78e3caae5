"""Prices in euros with a decimal comma: "€1,99" and "1.234,56 €". For both languages.

In: a match. Out: the price with a decimal point, for the rules for money.
"""

from __future__ import annotations

import re

COMMA_PRICE = (
    r"(?<=€)(?P<gap> ?)(?P<a>\d{1,3}(?:\.\d{3}){0,4}),(?P<b>\d\d)(?![\d,.]\d|\d)"
    r"|(?<![\d.,])(?P<c>\d{1,3}(?:\.\d{3}){0,4}),(?P<d>\d\d)(?= ?€)"
)


def point_price(match: re.Match[str]) -> str:
    """The price with a decimal point and without thousands separators."""
    whole, cents = match["a"] or match["c"], match["b"] or match["d"]
    return f"{whole.replace('.', '')}.{cents}"
