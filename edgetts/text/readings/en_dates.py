"""English dates, times, years and decades.

In: "2024-01-05", "Jan. 5th", "7:05 pm", "the '90s", "in 1905". Out: words. A date of digits alone is read month first
unless only day first is possible, as in upstream.
"""

from __future__ import annotations

import re

from edgetts.text.readings.en_context import ends_sentence, next_word, previous_word
from edgetts.text.readings.en_numbers import cardinal, decade, digits, is_one, number, ordinal, year
from edgetts.text.readings.rule import CAPITALS, DASHES, Rule, either, rule, words

_MONTHS = words("january february march april may june july august september october november december")
_SHORT = {
    "Jan": 1, "Feb": 2, "Mar": 3, "Apr": 4, "Jun": 6, "Jul": 7, "Aug": 8, "Sep": 9, "Sept": 9, "Oct": 10, "Nov": 11,
    "Dec": 12,
}  # fmt: skip
_NUMBER_OF = {
    **{name.capitalize(): n for n, name in enumerate(_MONTHS, 1)},
    **{name.upper(): n for n, name in enumerate(_MONTHS, 1)},
    **_SHORT,
    **{name.upper(): n for name, n in _SHORT.items()},
}
_DAYS = {
    "Mon": "Monday", "Tue": "Tuesday", "Tues": "Tuesday", "Wed": "Wednesday", "Weds": "Wednesday", "Thu": "Thursday",
    "Thur": "Thursday", "Thurs": "Thursday", "Fri": "Friday", "Sat": "Saturday", "Sun": "Sunday",
}  # fmt: skip
_DAY_NAMES, _MONTH_NAMES = either(_DAYS), either(_NUMBER_OF)
_MONTH = rf"(?<![A-Za-z])(?P<month>{_MONTH_NAMES})\b\.?"
_DAY = r"(?P<day>0?[1-9]|[12]\d|3[01])"
_LAST_DAY = r"(?P<upto>0?[1-9]|[12]\d|3[01])"
_NTH = r"(?:st|nd|rd|th)?"  # ordinal suffix
_YEAR = r"(?P<year>1\d{3}|20\d{2})"
_DATE_END = r"(?![\d:/%]|[.,]\d|-\d)"
_NOT_A_DAY = r"(?! (?:miles|km|kilometers|meters|hours|days|steps|times|people|pages|men|minutes|million|percent)\b)"
_MAX_HOUR, _MAX_MINUTE, _NOON = 24, 59, 12
_AM_PM = r"(?P<am_pm>[apAP])(?:\.?[mM]\b\.?|\.[mM]\.?(?![\w.]))"


def _date(match: re.Match[str]) -> str | None:
    groups = match.groupdict()
    month = _NUMBER_OF[groups["month"]] if not groups["month"].isdecimal() else int(groups["month"])
    day = int(groups["day"])
    if not 1 <= month <= len(_MONTHS):
        if not 1 <= day <= len(_MONTHS):
            return None
        month, day = day, month
    article = "" if previous_word(match) == "the" else "the "
    spoken = f"{article}{ordinal(day)}"
    if groups.get("upto"):
        spoken += f" to the {ordinal(int(groups['upto']))}"
    spoken += f" of {_MONTHS[month - 1]}"
    if groups.get("year"):
        spoken += f"{groups.get('comma') or ''} {year(_full_year(groups['year']))}"
    return spoken


def _full_year(text: str) -> int:
    value = int(text)
    if len(text) > 2:
        return value
    return value + (2000 if value < 70 else 1900)


def _between_days(match: re.Match[str]) -> str:
    return f"{_day_of(match['m1'], match['d1'])} to {_day_of(match['m2'], match['d2'])}"


def _day_of(month: str, day: str) -> str:
    return f"the {ordinal(int(day))} of {_MONTHS[_NUMBER_OF[month] - 1]}"


def _month_year(match: re.Match[str]) -> str:
    return f"{_MONTHS[_NUMBER_OF[match['month']] - 1]} {year(int(match['year']))}"


def _month_in_digits(match: re.Match[str]) -> str:
    return f"{_MONTHS[int(match['month']) - 1]} {year(int(match['year']))}"


def _day_name(match: re.Match[str]) -> str:
    return _DAYS[match["name"]]


def _month_name(match: re.Match[str]) -> str:
    return _MONTHS[_NUMBER_OF[match["month"]] - 1]


def _time(match: re.Match[str]) -> str | None:
    groups = match.groupdict()
    spoken = _clock(groups["hour"], groups["minute"], groups.get("second"), groups.get("am_pm"))
    if spoken is None:
        return None
    if groups.get("hour2"):
        until = _clock(groups["hour2"], groups["minute2"], None, groups.get("am_pm2"))
        if until is None:
            return None
        spoken += f" to {until}"
    return spoken + am_pm_period(match)


def _clock(hour: str, minute: str | None, second: str | None, am_pm: str | None) -> str | None:
    hours, minutes = int(hour), int(minute or "0")
    if hours > _MAX_HOUR or minutes > _MAX_MINUTE or (am_pm and not 1 <= hours <= _NOON):
        return None
    if minutes:
        spoken = f"{cardinal(hours)} {'oh ' if minutes < 10 else ''}{cardinal(minutes)}"
    elif am_pm or (second and int(second)):
        spoken = cardinal(hours)
    elif hours in (0, _MAX_HOUR):
        spoken = "midnight"
    else:
        spoken = f"{cardinal(hours)} o'clock" if hours <= _NOON else f"{cardinal(hours)} hundred"
    if second and int(second):
        name = "second" if int(second) == 1 else "seconds"
        spoken += ("" if minutes else " o'clock") + f" and {cardinal(int(second))} {name}"
    return spoken + (f" {AM_PM_WORDS[am_pm.lower()]}" if am_pm else "")


AM_PM_WORDS = {"a": "A M", "p": "P M"}
# Capitalized words that continue a time of day: "5 p.m. EST", "7 p.m. Monday".
_CONTINUATION = re.compile(
    rf" (?:[A-Z]{{2,3}}T|[ECMP]T|UTC|Eastern|Central|Mountain|Pacific|Atlantic|Greenwich|Standard|Daylight|"
    rf"[A-Z][a-z]{{1,20}} (?:[Tt]ime|Standard|Daylight)|{_DAY_NAMES}|(?:{'|'.join(_DAYS.values())})|{_MONTH_NAMES})\b"
)


def _period(match: re.Match[str]) -> str:
    """The period if "the 5th of Oct." ends a sentence."""
    return "." if match.group().endswith(".") and ends_sentence(match) else ""


def am_pm_period(match: re.Match[str]) -> str:
    """The period if "7 p.m." ends a sentence: before any capital letter, except of a continuation."""
    is_continued = _CONTINUATION.match(match.string, match.end()) is not None
    return "." if match.group().endswith(".") and ends_sentence(match, any_capital=not is_continued) else ""


def _hours_to(match: re.Match[str]) -> str | None:
    first = _clock(match["hour"], None, None, match["am_pm1"] or match["am_pm"])
    last = _clock(match["hour2"], None, None, match["am_pm"])
    if first is None or last is None:
        return None
    if not match["am_pm1"]:
        first = cardinal(int(match["hour"]))
    return f"{first} to {last}{am_pm_period(match)}"


def _decade(match: re.Match[str]) -> str:
    century = int(match["century"]) if match["century"] else 0
    return decade(century, int(match["tens"]) * 10)


_DECADE_WORDS = frozenset(
    ["the", "his", "her", "their", "my", "our", "your", "its", "early", "mid", "late", "and", "or", "to"]
)


_OF_DECADES = frozenset(words("music hits fashion style kid kids movies rock pop era nostalgia cartoons classics"))


def _military(hour: str) -> str:
    return f"oh {cardinal(int(hour))}" if hour[0] == "0" else cardinal(int(hour))


def _duration_short(match: re.Match[str]) -> str:
    return f"{cardinal(int(match['h']))} {'hour' if is_one(match['h']) else 'hours'} {cardinal(int(match['m']))}"


def _tens(match: re.Match[str]) -> str | None:
    """90s is a decade after or before certain words, else seconds."""
    before = previous_word(match)
    if next_word(match) in _OF_DECADES:
        return _decade(match)
    return _decade(match) if before in _DECADE_WORDS or before.endswith("ies") else None


def _season(match: re.Match[str]) -> str | None:
    first, last = int(match["a"]), int(match["b"])
    if last != (first + 1) % 100:
        return None
    return f"{year(int(match['century']) * 100 + first)} to {'oh ' if last < 10 else ''}{cardinal(last)}"


def _years(match: re.Match[str]) -> str | None:
    first, last = int(match["a"]), int(match["b"])
    return f"{year(first)} to {year(last)}" if first < last else None


def _era(match: re.Match[str]) -> str:
    letters = " ".join(match["era"].replace(".", "").upper())
    if match["year"]:
        return f"{year(int(match['year']))} {letters}{_period(match)}"
    return f"{letters} {year(int(match['later']))}"


def _duration(match: re.Match[str]) -> str:
    parts = [("h", "hour"), ("m", "minute"), ("s", "second")]
    said = [f"{number(match[key])} {name if is_one(match[key]) else name + 's'}" for key, name in parts if match[key]]
    return " ".join(said)


_HOUR, _MINUTE = r"(?<![\d:.,/])(?P<hour>\d{1,2}):(?P<minute>[0-5]\d)", r"(?::(?P<second>[0-5]\d))?"
_UNTIL = rf"(?: ?[{DASHES}] ?(?P<hour2>\d{{1,2}}):(?P<minute2>[0-5]\d)(?: ?(?P<am_pm2>[apAP])\.?[mM]\b\.?)?)?"

RULES: tuple[Rule, ...] = (
    rule(
        rf"(?<![A-Za-z])(?P<a>{_DAY_NAMES})\.? ?[{DASHES}] ?(?P<b>{_DAY_NAMES})\b(?:\.(?= [a-z\d]))?",
        lambda m: f"{_DAYS[m['a']]} to {_DAYS[m['b']]}",
        needs=CAPITALS,
    ),
    rule(
        rf"(?<![A-Za-z])(?P<a>{_MONTH_NAMES})\.?[{DASHES}](?P<b>{_MONTH_NAMES})\b(?:\.(?= [a-z\d]))?",
        lambda m: f"{_MONTHS[_NUMBER_OF[m['a']] - 1]} to {_MONTHS[_NUMBER_OF[m['b']] - 1]}",
        needs=CAPITALS,
    ),
    rule(
        rf"(?<![A-Za-z])(?P<name>{_DAY_NAMES})(?:\.(?= [a-z\d]|,)|(?=,? (?:{_MONTH_NAMES})\b|,? \d))",
        _day_name,
        needs=CAPITALS,
    ),
    rule(
        r"(?<![A-Za-z])(?P<name>Tue|Tues|Weds|Thu|Thur|Thurs)(?:\.|(?=,))",
        lambda m: _DAYS[m["name"]] + _period(m),
        needs=CAPITALS,
    ),
    rule(
        rf"(?<![A-Za-z])(?P<m1>{_MONTH_NAMES})\.? (?P<d1>\d{{1,2}}){_NTH} ?[{DASHES}] ?(?P<m2>{_MONTH_NAMES})\.? "
        rf"(?P<d2>\d{{1,2}}){_NTH}{_DATE_END}",
        _between_days,
    ),
    # "T" between date and time in ISO 8601.
    rule(r"(?<=\d)T(?=\d\d:\d\d)", ", "),
    rule(r"(?<![\d/])24/7/365(?![\d/])", "twenty four seven three sixty five"),
    rule(r"(?<![\d/])24/7(?![\d/])", "twenty four seven"),
    rule(rf"(?<=\d0s) ?[{DASHES}] ?(?=['’]?\d{{2,4}}s)", " to "),
    rule(r"(?<![\d:.,])(?P<h>[01]\d|2[0-4])00(?= (?:hours|hrs)\b)", lambda m: f"{_military(m['h'])} hundred"),
    rule(r"(?<![\w.,])(?P<h>\d{1,2})h(?P<m>[0-5]\d)(?!\w)", _duration_short),
    rule(r"(?<![\d/])9/11(?![\d/])", "nine eleven"),
    # Digits alone. The groups are named for the American order; _date swaps them if necessary.
    rule(rf"(?<![\d./-]){_YEAR}(?P<sep>[-/.])(?P<month>0?[1-9]|1[0-2])(?P=sep){_DAY}(?!\d|[-/.]\d)", _date),
    rule(
        rf"(?<![\d./-])(?P<month>0?[1-9]|[12]\d|3[01])(?P<sep>[-/.]){_DAY}(?P=sep)"
        r"(?P<year>1\d{3}|20\d{2}|(?<=[/])\d{2})(?!\d|[-/.]\d)",
        _date,
    ),
    rule(r"(?<![\d./-])(?P<month>0[1-9])/(?P<day>0[1-9]|[12]\d|3[01])(?![\d/])", _date),
    rule(rf"(?<![\d./-]){_YEAR}[-/](?P<month>0[1-9]|1[0-2])(?![\d/-])", _month_in_digits),
    rule(rf"(?<![\d./-])(?P<month>0[1-9]|1[0-2])/{_YEAR}(?![\d/-])", _month_in_digits),
    # With a month's name.
    rule(rf"{_MONTH} {_DAY}{_NTH}(?: ?[{DASHES}] ?{_LAST_DAY}{_NTH})?(?P<comma>,)? {_YEAR}{_DATE_END}", _date),
    rule(rf"{_MONTH} {_DAY}{_NTH}(?: ?[{DASHES}] ?{_LAST_DAY}{_NTH})?{_DATE_END}(?![A-Za-z]){_NOT_A_DAY}", _date),
    rule(
        rf"(?<![\d.,:/-]){_DAY}{_NTH}(?: ?[{DASHES}] ?{_LAST_DAY}{_NTH})?(?: of)? {_MONTH}"
        rf"(?:(?P<comma>,)? {_YEAR}{_DATE_END})?"
        r"(?![\d'’])",
        _date,
    ),
    rule(rf"{_MONTH},? {_YEAR}{_DATE_END}(?!s\b)", _month_year),
    rule(
        rf"(?<![A-Za-z])(?P<month>{either(k for k in _SHORT if k not in ('Mar', 'Jun', 'Jul'))})\.(?= \w)",
        _month_name,
        needs=CAPITALS,
    ),
    # The clock.
    rule(r"(?<=:\d\d)(?:\.\d{1,6})?Z\b", " U T C"),
    rule(rf"(?<![\d:.,/])(?P<hour>\d{{1,2}})\.(?P<minute>[0-5]\d) ?{_AM_PM}", _time),
    rule(rf"{_HOUR}{_MINUTE}(?: ?{_AM_PM})?{_UNTIL}(?![\d:]|\.\d)", _time),
    rule(
        rf"(?<![\d:.,/$€£])(?P<hour>\d{{1,2}})(?: ?(?P<am_pm1>[apAP])\.?[mM]\b\.?)? ?[{DASHES}] ?"
        rf"(?P<hour2>\d{{1,2}}) ?{_AM_PM}",
        _hours_to,
    ),
    rule(rf"(?<![\d:.,/$€£])(?P<hour>\d{{1,2}})(?P<minute>) ?{_AM_PM}", _time),
    rule(
        r"(?<![\w.,])(?:(?P<h>\d{1,3})h ?(?P<m>\d{1,2})m(?:in)?(?: ?(?P<s>\d{1,2})s)?)(?!\w)",
        _duration,
    ),
    rule(
        r"(?<![\w.,])(?P<h>)(?P<m>\d{1,3})m(?:in)? ?(?P<s>\d{1,2})s(?!\w)",
        _duration,
    ),
    # Years.
    rule(r"(?<![\d.,$€£])(?P<century>1[1-9]|20)(?P<tens>\d)0['’]?s\b", _decade),
    rule(r"(?<![\w'’])['’‘](?P<century>)(?P<tens>[0-9])0['’]?s\b", _decade),
    rule(r"(?<![\w.,$€£:'’])(?P<century>)(?P<tens>[2-9])0['’]?s\b", _tens),
    rule(
        r"(?<![\w'’])['’‘](?P<yy>\d{2})(?![\w'’])", lambda m: digits(m["yy"]) if m["yy"][0] == "0" else number(m["yy"])
    ),
    rule(rf"(?<![\d.,/-])(?P<a>1[1-9]\d\d|20\d\d) ?[{DASHES}] ?(?P<b>1[1-9]\d\d|20\d\d)(?![\d/%-]|[.,]\d)", _years),
    rule(rf"(?<![\d.,/-])(?P<century>1[1-9]|20)(?P<a>\d\d)[/{DASHES}](?P<b>\d\d)(?![\d/%-]|[.,]\d)", _season),
    rule(
        r"(?<![\d.,])(?P<later>)(?P<year>\d{1,4}) ?(?P<era>B\.?C\.?E\.?|BCE|B\.C\.|BC|A\.D\.|AD|C\.E\.|CE)(?![A-Za-z])",
        _era,
    ),
    rule(r"\b(?P<year>)(?P<era>A\.D\.|AD) (?P<later>\d{1,4})(?![\d,])", _era),
)
