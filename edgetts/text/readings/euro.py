"""Prices in euros as much of Europe writes them: "€1,99" and "1.234,56 €". For both languages.

In: a match. Out: the same price with a decimal point, which the rules for money read.
"""

from __future__ import annotations

import re

COMMA_PRICE = (
    r"(?<=€)(?P<gap> ?)(?P<a>\d{1,3}(?:\.\d{3}){0,4}),(?P<b>\d\d)(?![\d,.]\d|\d)"
    r"|(?<![\d.,])(?P<c>\d{1,3}(?:\.\d{3}){0,4}),(?P<d>\d\d)(?= ?€)"
)


def point_price(match: re.Match[str]) -> str:
    """The price with a point before the cents and no marks between thousands."""
    whole, cents = match["a"] or match["c"], match["b"] or match["d"]
    return f"{whole.replace('.', '')}.{cents}"
