"""Chinese dates, times and years.

In: "2024-01-05", "2025年01月11日", "7:30", "8:00-17:00", "90后", "2019-2021年". Out: years digit by digit, 2:00 as
两点.
"""

from __future__ import annotations

import re

from edgetts.text.readings.rule import DASHES, Rule, rule
from edgetts.text.readings.zh_numbers import cardinal, digits

_MONTH, _DAY = r"(?P<month>0?[1-9]|1[0-2])", r"(?P<day>0?[1-9]|[12]\d|3[01])"
_YEAR = r"(?P<year>1\d{3}|20\d{2})"
_MAX_HOUR, _MAX_MINUTE = 24, 59
_SCORE_BEFORE = re.compile(
    r"(?:比分|战胜|击败|战平|逼平|险胜|大胜|完胜|负于|不敌|领先|落后|大比分|总分|以|赢|输|胜|负|平|局|比例|长宽比)[^。！？\n]{0,6}$"
)
_SCORE_AFTER = re.compile(r"(?:的?比分|战胜|击败|险胜|大胜|获胜|取胜|领先|落后|战平|逼平|不敌|负于|完胜)")
_AM_PM_BEFORE = re.compile("[早晚中凌上下](?:上|午|晨) ?\\Z")
_AM_PM_WORDS = {"a": "上午", "p": "下午"}


def is_score(match: re.Match[str]) -> bool:
    """Whether two numbers are a score, by the words next to them."""
    before = match.string[max(0, match.start() - 12) : match.start()]
    return _SCORE_BEFORE.search(before) is not None or _SCORE_AFTER.match(match.string, match.end()) is not None


def _n(text: str) -> str:
    return cardinal(int(text))


def _date(match: re.Match[str]) -> str:
    day = match.groupdict().get("day")
    return f"{digits(match['year'])}年{_n(match['month'])}月" + (f"{_n(day)}日" if day else "")


def clock(hour: str, minute: str, second: str | None) -> str | None:
    """2:05 is 两点零五分."""
    hours, minutes = int(hour), int(minute)
    if hours > _MAX_HOUR or minutes > _MAX_MINUTE:
        return None
    spoken = ("两" if hours == 2 else cardinal(hours)) + "点"
    if minutes:
        spoken += f"{'零' if minutes < 10 else ''}{cardinal(minutes)}分"
    elif second:
        spoken += "零分"
    return spoken + (f"{'零' if int(second) < 10 else ''}{cardinal(int(second))}秒" if second else "")


def _time(match: re.Match[str]) -> str | None:
    if is_score(match) and not match["second"]:
        return None
    spoken = clock(match["hour"], match["minute"], match["second"])
    if spoken is None:
        return None
    if match["am_pm"]:
        spoken = _am_pm(match) + spoken
    if match["hour2"]:
        until = clock(match["hour2"], match["minute2"], None)
        if until is None:
            return None
        spoken += f"到{until}"
    return spoken


def _am_pm(match: re.Match[str]) -> str:
    """The Chinese word for am or pm; "" if the text before already has one."""
    return (
        ""
        if _AM_PM_BEFORE.search(match.string, max(0, match.start() - 3), match.start())
        else _AM_PM_WORDS[match["am_pm"].lower()]
    )


def _hour_only(match: re.Match[str]) -> str:
    return _am_pm(match) + (clock(match["hour"], "0", None) or "")


def _year(match: re.Match[str]) -> str | None:
    year = match["y"]
    if int(year) % 100 == 0 and match["count"]:
        return None  # a count: 2000年前, 5000年历史
    return digits(year)


def _years(match: re.Match[str]) -> str | None:
    if not match["unit"] and int(match["a"]) >= int(match["b"]):
        return None
    return f"{digits(match['a'])}{'年' if match['first'] else ''}到{digits(match['b'])}{match['unit']}"


_FORWARD = r"(?![\d:]|\.\d)"
RULES: tuple[Rule, ...] = (
    rule(rf"(?<![\d./-]){_YEAR}(?P<sep>[-/.]){_MONTH}(?P=sep){_DAY}(?!\d|[-/.]\d)(?P<ri>日?)", _date),
    rule(rf"(?<![\d./-]){_MONTH}/{_DAY}/{_YEAR}(?![\d/])", _date),
    rule(rf"(?<![\d./-]){_DAY}\.{_MONTH}\.{_YEAR}(?![\d.])", _date),
    rule(rf"(?<![\d./-]){_YEAR}-(?P<month>0[1-9]|1[0-2])(?![\d-])", _date),
    # Ranges: 3月-5月, 上午9点-11点.
    rule(rf"(?<=[\d\u4e00-\u9fff][月日号年天周点时分秒岁])[{DASHES}](?=\d)", "到"),
    rule(r"(?<!\d)0(?P<n>[1-9])(?=[月日号])", lambda m: cardinal(int(m["n"]))),
    rule(rf"(?<!\d)(?P<a>[12]\d{{3}})(?P<first>年?) ?[{DASHES}至到] ?(?P<b>[12]\d{{3}})(?P<unit>年)(?!级)", _years),
    rule(
        rf"(?<![\d.,/-])(?P<a>1[1-9]\d\d|20\d\d)(?P<first>)[{DASHES}](?P<b>1[1-9]\d\d|20\d\d)(?P<unit>)(?![\d%-]|[.,]\d)",
        _years,
    ),
    rule(r"(?<!\d)(?P<a>20\d\d)[-/](?P<b>\d\d)(?=赛季|学年|财年)", lambda m: f"{digits(m['a'])}到{digits(m['b'])}"),
    rule(r"(?<![\d.,])(?P<y>[12]\d{3})(?= ?年(?!级)(?P<count>前|后|来|多|历史|间|的历史|内|以上|以前|以来)?)", _year),
    rule(
        r"(?<![\d.,])(?:\d\d(?=年\d{1,2}月)|0\d(?=年(?!级)))"
        r"|(?:(?<=[在从到自于是，。、 ])|(?<![\s\S]))[5-9]\d(?=年(?![级代来间前后内的多历以]))",
        lambda m: digits(m.group()),
    ),
    rule(r"(?<![\d.,])(?P<y>[0-9][05])(?=后(?![来面边天退期备续]))", lambda m: digits(m["y"])),
    rule(r"(?<![\d.,])(?P<y>1\d|20)(?P<t>\d0)(?=年代)", lambda m: digits(m.group())),
    rule(
        rf"(?<![\d:.,/])(?P<hour>\d{{1,2}}):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?"
        rf"(?: ?(?P<am_pm>[ap])\.?m(?![A-Za-z\d])\.?)?"
        rf"(?: ?[{DASHES}至到] ?(?P<hour2>\d{{1,2}}):(?P<minute2>[0-5]\d))?{_FORWARD}",
        _time,
        re.IGNORECASE,
    ),
    rule(r"(?<![\d:.,/$])(?P<hour>1[0-2]|[1-9]) ?(?P<am_pm>[ap])\.?m(?![A-Za-z\d])\.?", _hour_only, re.IGNORECASE),
    rule(r"(?<![\d第.,:])2(?=点(?![\d]))", "两"),
)
