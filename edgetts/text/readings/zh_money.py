"""Chinese money: signs and codes before or after the amount, 万 and million, prices per unit.

In: "￥1,500.50", "$10,000", "€5万", "HK$50", "5k美元". Out: the amount, then the currency's name.
"""

from __future__ import annotations

import re

from edgetts.text.readings.euro import COMMA_PRICE, point_price
from edgetts.text.readings.rule import DASHES, MINUS, NOT_GOING_ON, NOT_INSIDE, NUMBER, Rule, either, rule
from edgetts.text.readings.zh_numbers import cardinal, number
from edgetts.text.readings.zh_units import per

_SIGNS = {
    "¥": "元", "￥": "元", "CN¥": "元", "RMB¥": "元", "$": "美元", "US$": "美元", "U.S.$": "美元", "€": "欧元",
    "£": "英镑", "HK$": "港元", "NT$": "新台币", "A$": "澳元", "AU$": "澳元", "C$": "加元", "CA$": "加元",
    "NZ$": "新西兰元", "S$": "新加坡元", "MX$": "墨西哥比索", "R$": "雷亚尔", "JP¥": "日元", "₹": "卢比", "₩": "韩元",
    "₽": "卢布", "฿": "泰铢", "₫": "越南盾", "₱": "比索", "₺": "里拉", "₪": "谢克尔", "₦": "奈拉", "₴": "格里夫纳",
    "₿": "比特币",
}  # fmt: skip
_CODES = {
    "RMB": "元", "CNY": "元", "USD": "美元", "EUR": "欧元", "GBP": "英镑", "HKD": "港元", "JPY": "日元",
    "TWD": "新台币", "AUD": "澳元", "CAD": "加元", "SGD": "新加坡元", "KRW": "韩元", "INR": "卢比", "RUB": "卢布",
    "CHF": "瑞士法郎", "THB": "泰铢", "BTC": "比特币",
}  # fmt: skip
CODE_NAMES = _CODES | {"CNY": "人民币", "RMB": "人民币"}  # names without an amount
_ALL = {**_SIGNS, **_CODES}
_SCALES = {
    "k": 10**3, "K": 10**3, "m": 10**6, "M": 10**6, "mn": 10**6, "million": 10**6, "b": 10**9, "B": 10**9,
    "bn": 10**9, "billion": 10**9, "t": 10**12, "T": 10**12, "tn": 10**12, "trillion": 10**12, "thousand": 10**3,
}  # fmt: skip
_WAN, _YI = 10**4, 10**8
_SCALE = rf"(?: ?(?P<scale>{either(_SCALES)})(?![A-Za-z])| ?(?P<big>[十百千]?[万亿]))?"
_NAMES = "元|块钱|块|人民币|美元|美金|欧元|英镑|港元|港币|日元"
_SIGN = rf"(?P<sign>(?<![A-Za-z])(?:{either(_SIGNS)}|(?:{either(_CODES)}) ?(?=\d)))"


def _amount(match: re.Match[str]) -> str:
    groups = match.groupdict()
    name = groups.get("name") or ""
    currency = _ALL[groups["sign"].strip()]
    if name and name not in ("元", "块钱", "块"):
        currency = name
    spoken = _scaled(groups["amount"], groups.get("scale"), groups.get("big"))
    if groups.get("upto"):
        upto = _scaled(groups["upto"], groups.get("scale"), groups.get("big"))
        low = number(groups["amount"], counts=True, price=True)
        spoken = f"{low if groups.get('scale') or groups.get('big') else spoken}到{upto}"
    minus = "负" if groups.get("minus") or groups.get("minus2") else ""
    return f"{minus}{spoken}{currency}{per(groups.get('per') or '')}"


def _scaled(amount: str, scale: str | None, big: str | None) -> str:
    if not scale:
        return number(amount, counts=True, price=True) + (big or "")
    whole, _, decimals = amount.replace(",", "").partition(".")
    value = int((whole or "0") + decimals) * _SCALES[scale]
    value, rest = divmod(value, 10 ** len(decimals))
    if rest:
        return number(amount) + {10**3: "千", 10**6: "百万", 10**9: "十亿", 10**12: "万亿"}[_SCALES[scale]]
    for unit, unit_name in ((_YI, "亿"), (_WAN, "万")):
        # 2,500,000 is 二百五十万; 12,345 is read in full.
        if value >= unit and value % (unit // _WAN or 1) == 0 and value % unit == 0:
            return cardinal(value // unit) + unit_name if value // unit != 2 else f"两{unit_name}"
    return cardinal(value)


RULES: tuple[Rule, ...] = (
    rule(COMMA_PRICE, point_price),
    rule(
        rf"{_SIGN} ?(?P<amount>{NUMBER}) ?[{DASHES}] ?(?:{either(_SIGNS)})?(?P<upto>{NUMBER}){NOT_GOING_ON}{_SCALE}"
        rf"(?P<name>{_NAMES})?(?P<per>/[A-Za-z\u4e00-\u9fff]{{1,6}}[²³]?)?(?![{DASHES}]\d)",
        _amount,
    ),
    rule(
        rf"(?:(?<![A-Za-z0-9)])(?P<minus>[{MINUS}]) ?)?{_SIGN} ?(?P<minus2>[{MINUS}](?=\d))?(?P<amount>{NUMBER})"
        rf"{NOT_GOING_ON}{_SCALE}(?P<name>{_NAMES})?(?P<per>/(?:[A-Za-z]{{1,6}}[²³]?|[\u4e00-\u9fff]))?",
        _amount,
    ),
    rule(
        rf"{NOT_INSIDE}(?P<amount>{NUMBER}){_SCALE} ?(?P<sign>[€£¥￥₹₩₽฿₫]|\$(?!\d)|(?:{either(_CODES)})(?![A-Za-z]))"
        rf"(?P<per>/(?:[A-Za-z]{{1,6}}[²³]?|[\u4e00-\u9fff]))?",
        _amount,
    ),
    rule(rf"{NOT_INSIDE}(?P<n>{NUMBER}) ?¢", lambda m: f"{number(m['n'], counts=True)}美分"),
    # 100-200元, 10万-20万元: later rules read the second amount.
    rule(
        rf"{NOT_INSIDE}(?<![A-Za-z]-)(?P<a>{NUMBER})(?P<big>[百千万亿]?) ?[{DASHES}] ?"
        rf"(?={NUMBER}[百千万亿]?(?:{_NAMES}))",
        lambda m: f"{number(m['a'], counts=True, price=True)}{m['big']}到",
    ),
    rule(rf"(?<![A-Za-z0-9)元])[{MINUS}](?={NUMBER}[百千万亿]?(?:{_NAMES}))", "负"),
    # 5k美元, 12,000.50元, 3.00块
    rule(
        rf"{NOT_INSIDE}(?P<n>{NUMBER})(?P<k>[kKwW])?(?P<name>美元|美金|欧元|英镑|元|块钱|港元|日元)",
        lambda m: (
            (
                _scaled(m["n"], "k", None)
                if m["k"] in ("k", "K")
                else number(m["n"], counts=True, price=True) + ("万" if m["k"] else "")
            )
            + m["name"]
        ),
    ),
)
