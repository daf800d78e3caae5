"""Telephone numbers and other numbers that are read digit by digit: cards, codes, extensions. For both languages.

In: text with such numbers. Out: their digits, in groups. `rules` takes the language's reading of groups of digits. A
number is a telephone number by its form, or by a word before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from edgetts.text.readings.rule import MAX_DIGITS, Rule, rule

_GROUPS = re.compile(r"\d+|[A-Z]+")
_GAP = r"[ \-‐‑–.]"
_EN_WORDS = (
    "phone|telephone|tel|mobile|cell|cellphone|whatsapp|fax|hotline|helpline|call|calls|called|calling|dial|dialed|"
    "dialing|ring|text|number is|number|reach us at|contact|landline"
)
_EN_CODES = (
    "code|pin|passcode|password|zip|zip code|postcode|extension|account|account number|passport|order|order number|"
    "tracking number|serial|serial number|license|id|otp|flight|reference|booking"
)
_ZH_WORDS = (
    "电话|手机|手机号|号码|座机|传真|热线|拨打|拨|致电|来电|联系|联系电话|客服|验证码|房间号|密码|邮编|学号|工号|编号|单号|订单号|账号|卡号|"
    "尾号|身份证|身份证号|QQ|微信|代码|股票代码|车牌|房号|口令|呼叫|打"
)
_AFTER_WORD = r"(?:\.|:|：| is| at| to| no\.?| number| #| ID)?(?: is| at| to)?"
_EMERGENCY = "911|112|999|000|111|101|211|311|411|511|611|711|811"
_ROUND = "00000"
_NOT_COUNTED = r"(?! [a-z]{2,20}s\b)"  # not before a plural: "order 12000 chips"
_BEFORE_COUNTS = r"(?! ?(?:people|times|of|men|women|calls? per|percent|million|years|days|miles))"


def rules(say: Callable[[list[str]], str], *, plus: str) -> tuple[Rule, ...]:
    """say: reads groups of digits or capitals. plus: the reading of a leading plus sign."""

    def spoken(match: re.Match[str]) -> str:
        groups = match.groupdict()
        said = say(_GROUPS.findall(groups["digits"] or groups["alone"]))
        return groups.get("before", "") + (plus if groups.get("plus") else "") + said

    def if_long(match: re.Match[str]) -> str | None:
        return spoken(match) if 7 <= sum(c.isdecimal() for c in match["digits"]) <= MAX_DIGITS else None

    end = r"(?![\d%]|[.,:]\d|[-–/]\d)"
    start = r"(?<![\d.,:/$€£¥￥+])(?<!\d[-–])"
    return (
        # Too long for a quantity.
        rule(rf"(?P<digits>\d{{{MAX_DIGITS + 1},}})", spoken),
        # +1 (415) 555-2671, +49 30 1234567, 0086 ...
        rule(
            rf"(?<![\w)])(?P<plus>\+) ?(?P<digits>\d{{1,4}}(?:{_GAP}?\(\d{{1,5}}\))?(?:{_GAP}?\d{{1,12}}){{1,6}}){end}",
            if_long,
        ),
        rule(rf"(?<!\w)(?P<digits>(?:1{_GAP})?\(\d{{2,5}}\) ?\d{{3,8}}(?:{_GAP}\d{{2,8}}){{0,3}}){end}", spoken),
        # 1-800-FLOWERS, 1-800-555-1234, 415-555-2671, 415.555.2671, 321 434-5049
        rule(rf"{start}(?P<digits>1-[89]\d\d-[A-Z]{{2,10}}(?:-[A-Z]{{2,10}})?)(?!\w)", spoken),
        rule(rf"{start}(?P<digits>(?:1{_GAP})?[2-9]\d\d({_GAP})\d{{3}}{_GAP}\d{{4}}){end}", spoken),
        rule(rf"{start}(?P<digits>[2-9]\d\d[ -]\d{{3}}[ -]\d{{4}}){end}", spoken),
        # Mobile numbers in China.
        rule(rf"{start}(?P<digits>(?:86[ -])?1[3-9]\d(?P<gap>[ -]?)\d{{4}}(?P=gap)\d{{4}}){end}", spoken),
        rule(rf"{start}(?P<digits>0\d(?P<gap>[ .])\d\d(?:(?P=gap)\d\d){{3}}){end}", spoken),
        # Numbers with a leading zero; with an exchange: 555-1234.
        rule(rf"{start}(?P<digits>0\d{{1,4}}[ \-–]\d{{3,8}}(?:[ \-–]\d{{2,8}}){{0,3}}){end}", if_long),
        rule(rf"{start}(?P<digits>0\d{{9,11}}){end}", spoken),
        rule(rf"{start}(?P<digits>(?:400|800)-?\d{{3}}-\d{{4}}|[48]00-\d{{4}}-\d{{3}}){end}", spoken),
        rule(rf"{start}(?P<digits>\d{{3,4}}[-‑]\d{{4}}){end}(?![ ]?[年月日])", _not_years(spoken)),
        # Cards, social security, emergency.
        rule(rf"{start}(?P<digits>\d{{4}}(?:[ -]\d{{4}}){{2,4}}){end}", spoken),
        rule(rf"{start}(?P<digits>\d{{3}}-\d\d-\d{{4}}|\d{{5}}-\d{{4}}|9-1-1){end}", spoken),
        rule(
            r"(?P<before>\b(?i:call|dial|dialed|called|dialing|calling|text|ring|phone) )"
            rf"(?P<digits>{_EMERGENCY}|988){end}{_BEFORE_COUNTS}",
            spoken,
        ),
        rule(
            rf"{start}(?P<digits>911){end}(?= (?i:call|calls|operator|dispatch|emergency|center|caller))"
            r"|(?<![\s\S])(?P<alone>911)(?=[.!?]?\s?$)",
            spoken,
        ),
        rule(
            rf"(?P<before>(?<=[a-z], )[A-Z][A-Z] )(?P<digits>\d{{5}}(?:-\d{{4}})?){end}", spoken
        ),  # a state and its ZIP code
        # Identified by the word before.
        rule(
            rf"(?P<before>\b(?i:{_EN_WORDS}|{_EN_CODES}){_AFTER_WORD} )"
            rf"(?P<digits>\d{{5,12}}(?:{_GAP}\d{{2,8}}){{0,4}}){end}{_NOT_COUNTED}",
            spoken,
        ),
        rule(rf"(?P<before>\b(?i:{_EN_CODES}|ext\.){_AFTER_WORD} )(?P<digits>\d{{3,4}}){end}{_NOT_COUNTED}", spoken),
        rule(
            rf"(?P<before>(?:{_ZH_WORDS})(?:是|为|：|:|，|号| )?)(?P<digits>\d{{3,15}}(?:[ -]\d{{2,8}}){{0,4}})"
            rf"{end}(?![元块个人年月日米次分秒天岁万亿千百多行条张页字句台部位名折])",
            spoken,
        ),
        rule(
            rf"(?P<before>\b(?:Phone|Tel|Telephone|Mobile|Fax|Call)[:.]? )"
            rf"(?P<digits>\d{{2,5}}(?:{_GAP}\d{{2,8}}){{1,5}}){end}",
            spoken,
        ),
        # Ten or more digits, unless round.
        rule(
            rf"{start}(?P<digits>\d{{10,{MAX_DIGITS}}}){end}",
            lambda m: None if m["digits"].endswith(_ROUND) else spoken(m),
        ),
    )


def _not_years(read: Callable[[re.Match[str]], str]) -> Callable[[re.Match[str]], str | None]:
    """`read`, except for a range such as 1999-2005."""

    def unless(match: re.Match[str]) -> str | None:
        first, last = _GROUPS.findall(match["digits"])
        is_range = len(first) == len(last) and int(first) < int(last)
        return None if is_range else read(match)

    return unless
