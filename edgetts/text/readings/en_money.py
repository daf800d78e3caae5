"""English money: signs and codes before or after the amount, cents, thousands and millions, prices per unit.

In: text with signs, e.g. "$1,500.50", "€2bn", "£3.20/kg", "20 USD", "50¢". Out: words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgetts.text.readings.en_context import is_adjective
from edgetts.text.readings.en_numbers import cardinal, is_one, number
from edgetts.text.readings.en_units import per
from edgetts.text.readings.euro import COMMA_PRICE, point_price
from edgetts.text.readings.rule import DASHES, MINUS, NOT_GOING_ON, NOT_INSIDE, NUMBER, Rule, either, rule


@dataclass(frozen=True)
class _Currency:
    one: str
    many: str
    cent: str = ""  # of a hundred; "" where prices have none
    cents: str = ""
    is_terse: bool = False  # "one euro fifty" rather than "one euro and fifty cents"


_DOLLAR = _Currency("dollar", "dollars", "cent", "cents")
_POUND = _Currency("pound", "pounds", "penny", "pence", is_terse=True)
_EURO = _Currency("euro", "euros", "cent", "cents", is_terse=True)
_YEN = _Currency("yen", "yen")
_YUAN = _Currency("yuan", "yuan")


def _dollar(country: str) -> _Currency:
    return _Currency(f"{country} dollar", f"{country} dollars", "cent", "cents")


_SIGNS = {
    "$": _DOLLAR, "€": _EURO, "£": _POUND, "¥": _YEN, "￥": _YUAN, "Rs.": _Currency("rupee", "rupees"),
    "Rs": _Currency("rupee", "rupees"), "US $": _dollar("U S"), "₹": _Currency("rupee", "rupees", "paisa", "paise"),
    "₩": _Currency("won", "won"), "₽": _Currency("ruble", "rubles"), "฿": _Currency("baht", "baht"),
    "₫": _Currency("dong", "dong"), "₴": _Currency("hryvnia", "hryvnias"), "₺": _Currency("lira", "lira"),
    "₪": _Currency("shekel", "shekels"), "₦": _Currency("naira", "naira"), "₱": _Currency("peso", "pesos"),
    "₿": _Currency("bitcoin", "bitcoins"), "R$": _Currency("real", "reais"), "US$": _dollar("U S"),
    "U.S.$": _dollar("U S"), "HK$": _dollar("Hong Kong"), "A$": _dollar("Australian"), "AU$": _dollar("Australian"),
    "C$": _dollar("Canadian"), "CA$": _dollar("Canadian"), "NZ$": _dollar("New Zealand"), "S$": _dollar("Singapore"),
    "NT$": _dollar("New Taiwan"), "MX$": _Currency("Mexican peso", "Mexican pesos"), "CN¥": _YUAN, "RMB¥": _YUAN,
}  # fmt: skip
_CODES = {
    "USD": _dollar("U S"), "EUR": _EURO, "GBP": _POUND, "JPY": _YEN, "CNY": _YUAN, "RMB": _YUAN,
    "HKD": _dollar("Hong Kong"), "AUD": _dollar("Australian"), "CAD": _dollar("Canadian"),
    "NZD": _dollar("New Zealand"), "SGD": _dollar("Singapore"), "INR": _SIGNS["₹"], "KRW": _SIGNS["₩"],
    "RUB": _SIGNS["₽"], "CHF": _Currency("Swiss franc", "Swiss francs"), "BTC": _SIGNS["₿"],
    "SEK": _Currency("Swedish krona", "Swedish kronor"), "NOK": _Currency("Norwegian krone", "Norwegian kroner"),
    "DKK": _Currency("Danish krone", "Danish kroner"), "MXN": _SIGNS["MX$"], "BRL": _SIGNS["R$"],
}  # fmt: skip
CODE_NAMES = {code: currency.one for code, currency in _CODES.items()}
_ALL = {**_SIGNS, **_CODES}
_SCALES = {
    "k": "thousand", "K": "thousand", "m": "million", "M": "million", "mn": "million", "mm": "million",
    "MM": "million", "mil": "million", "b": "billion", "B": "billion", "bn": "billion", "Bn": "billion",
    "BN": "billion", "t": "trillion", "T": "trillion", "tn": "trillion", "trn": "trillion", "thousand": "thousand",
    "million": "million", "billion": "billion", "trillion": "trillion", "crore": "crore", "lakh": "lakh",
}  # fmt: skip
_CENT_DIGITS = 2
_SCALE = (
    rf"(?:(?P<scale>{either(_SCALES)})(?![A-Za-z0-9])|[ -](?P<word>thousand|million|billion|trillion|crore|lakh)\b)"
)
_BEFORE = rf"(?<![A-Za-z])(?P<sign>{either(_SIGNS)}|(?:{either(_CODES)})(?=[ \d.]))"
_AFTER = rf"(?P<sign>[€£¥￥₹₩₽฿₫₴₺₪₦₱]|\$(?![\d.])|(?<![A-Za-z])(?:{either(_CODES)})(?![A-Za-z]))"
_PER = r"(?:(?P<per>(?:/ ?[A-Za-z]{1,12}[²³]?){1,3})(?![A-Za-z/]))?"
_CODE = rf"(?: (?P<code>{either(_CODES)})\b)?"


def _amount(match: re.Match[str]) -> str:
    groups = match.groupdict()
    currency = _ALL[groups.get("code") or groups["sign"]]
    scale = _SCALES.get(groups.get("scale") or groups.get("word") or "", "")
    unit = per(groups.get("per") or "")
    amount = groups["amount"]
    if groups.get("upto"):
        spoken = f"{number(amount)} to {_scaled(groups['upto'], scale, currency)}"
    elif scale or not currency.cent:
        one = not scale and is_one(amount)
        name = currency.one if one or is_adjective(match) else currency.many
        spoken = f"{number(_whole(amount))} {scale} {name}" if scale else f"{number(_whole(amount))} {name}"
    else:
        spoken = _price(amount, currency, terse=bool(unit), adjective=is_adjective(match))
    minus = "minus " if groups.get("minus") or groups.get("minus2") else ""
    return minus + spoken + (f" {unit}" if unit else "")


def _scaled(amount: str, scale: str, currency: _Currency) -> str:
    return f"{number(amount)} {scale} {currency.many}" if scale else _price(amount, currency, terse=False)


def _whole(amount: str) -> str:
    """The amount without decimals if they are all zero."""
    whole, _, decimals = amount.partition(".")
    return amount if decimals.strip("0") else whole or amount


def _price(amount: str, currency: _Currency, *, terse: bool, adjective: bool = False) -> str:
    whole, _, decimals = amount.replace(",", "").partition(".")
    name = currency.one if is_one(whole or "0") or adjective else currency.many
    if len(decimals) != _CENT_DIGITS or not currency.cent:
        return f"{number(_whole(amount))} {name if not decimals.strip('0') or adjective else currency.many}"
    cents, units = int(decimals), int(whole or "0")
    if not cents:
        return f"{number(whole or '0')} {name}"
    cents_name = currency.cent if cents == 1 else currency.cents
    if not units:
        return f"{cardinal(cents)} {cents_name}"
    if adjective or (cents > 9 and (terse or currency.is_terse)):
        return f"{number(whole)} {name} {cardinal(cents)}"
    return f"{number(whole)} {name} and {cardinal(cents)} {cents_name}"


def _pence(match: re.Match[str]) -> str:
    return f"{number(match['amount'])} {_POUND.cent if is_one(match['amount']) else _POUND.cents}"


def _cents(match: re.Match[str]) -> str:
    return f"{number(match['amount'])} {'cent' if is_one(match['amount']) else 'cents'}"


RULES: tuple[Rule, ...] = (
    rule(r"(?<![\w)\]])\+ ?(?=[$€£¥]?\.?\d)", "plus "),
    rule(COMMA_PRICE, point_price),
    rule(rf"(?<=illion)[{DASHES}](?=[$€£¥]?\d)", " to "),
    # $5-10, $5–$10 million; then one amount, the sign first; then the sign last.
    rule(
        rf"{_BEFORE} ?(?P<amount>{NUMBER}) ?[{DASHES}] ?(?P=sign)?(?P<upto>{NUMBER}){NOT_GOING_ON}(?:{_SCALE})?{_PER}"
        rf"(?![{DASHES}]\d)",
        _amount,
    ),
    rule(
        rf"(?:(?<![\w)])(?P<minus>[{MINUS}]) ?)?{_BEFORE} ?(?P<minus2>[{MINUS}](?=\d))?(?P<amount>{NUMBER})"
        rf"{NOT_GOING_ON}(?:{_SCALE})?{_PER}{_CODE}",
        _amount,
    ),
    rule(rf"{NOT_INSIDE}(?P<amount>{NUMBER})(?:{_SCALE})? ?{_AFTER}{_PER}", _amount),
    rule(rf"{NOT_INSIDE}(?P<amount>{NUMBER}) ?¢", _cents),
    rule(r"(?<![\w.,])(?P<amount>\d{1,2})p(?!\w)", _pence),
    rule(rf"{NOT_INSIDE}(?P<amount>{NUMBER}) ?kr(?!\w)", lambda m: f"{number(m['amount'])} kronor"),
)
