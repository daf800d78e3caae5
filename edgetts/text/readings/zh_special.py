"""Chinese special forms with digits and signs: license plates, dates of events, ISBNs, currency pairs, code, arrows.

In: simplified text before telephone numbers, money, dates and units are read. Out: words, or a form that those rules
read correctly: "粤B·88888", "9·11事件", "10.1假期", "USD/CNY", "《1984》", "24/3/5", "C++语言", "wx_123", "↑3%".
"""

from __future__ import annotations

import re
import unicodedata

from edgetts.text.readings.rule import CAPITALS, DASHES, MINUS, SIGNS, Rule, either, rule
from edgetts.text.readings.zh_money import CODE_NAMES
from edgetts.text.readings.zh_numbers import cardinal, digits

_LONG_GROUP = 5  # digits: longer than a year, a score or a number in a list
_PROVINCES = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"
_CURRENCIES = either({*CODE_NAMES.values(), "人民币", "美金", "港币"})
_MONTHS, _DAYS = 12, 31
_ION = {"⁺": "正", "⁻": "负"}
_EVENTS = "假期|长假|黄金周|节(?![课点省约目拍])|大促|购物|事件|事变|运动|晚会|地震|暴雨|惨案|起义"
_RUN = re.compile(r"\d|[^\d]+")


def _by_digits(text: str) -> str:
    return "".join(digits(run) if run.isdecimal() else run for run in _RUN.findall(text))


def _row(match: re.Match[str]) -> str:
    groups = match.group().split("-")
    is_code = any(len(group) >= _LONG_GROUP for group in groups)
    return ",".join(digits(group) if is_code or group[0] == "0" else cardinal(int(group)) for group in groups)


def _short_date(match: re.Match[str]) -> str | None:
    """24/3/5 has the year first, 3/5/24 last, decided by the ranges of month and day."""
    first, second, third = match["a"], match["b"], match["c"]
    if len(first) == 2 and int(first) > _MONTHS and 1 <= int(second) <= _MONTHS and 1 <= int(third) <= _DAYS:
        year, month, day = first, second, third
    elif 1 <= int(first) <= _MONTHS and 1 <= int(second) <= _DAYS and len(third) == 2:
        year, month, day = third, first, second
    else:
        return None
    return f"二零{digits(year)}年{cardinal(int(month))}月{cardinal(int(day))}日"


def _named(code: str) -> str:
    return CODE_NAMES.get(code, code)


EARLY: tuple[Rule, ...] = (
    rule(
        rf"(?<=[{_PROVINCES}])(?P<city>[A-Z])[·•.・ ]?(?P<n>(?=[A-Z\d]{{0,5}}\d)[A-Z\d]{{5,6}})(?![A-Za-z\d])",
        lambda m: m["city"] + _by_digits(m["n"]),
    ),
    rule(
        r"(?P<name>ISBN(?:-1[03])?[:：]? ?)(?P<n>(?:97[89][- ]?)?\d{1,5}[- ]\d{1,7}[- ]\d{1,6}[- ]?[\dX])(?![\w-])",
        lambda m: m["name"] + ",".join(_by_digits(group) for group in re.split("[- ]", m["n"])),
    ),
    # 9·11, 3·15, 12·9: digit by digit; 10.1假期, 3.8节: without the point.
    rule(r"(?<![\d.,])\d{1,2}[·•・]\d{1,2}(?![\d.,·倍万亿%])", lambda m: digits(m.group())),
    rule(
        rf"(?<![\d.,第])(?P<m>[1-9]\d?)\.(?P<d>[1-9]\d?)(?=(?:{_EVENTS}))",
        lambda m: cardinal(int(m["m"])) + cardinal(int(m["d"])),
    ),
    rule(r"(?<=《)(?:1\d|20)\d\d(?=》)", lambda m: digits(m.group())),
    rule(r"(?<=\d)转(?:分机)?(?P<n>\d{1,5})(?!\d)|(?<=分机)(?P<n2>\d{1,5})(?!\d)", lambda m: _extension(m)),
    # Days and months in digits.
    rule(r"(?<![\d./-])(?P<a>\d{1,2})/(?P<b>\d{1,2})/(?P<c>\d{1,2})(?![\d/])", _short_date),
    rule(
        r"(?<![\d./-])(?P<y>(?:19|20)\d\d)/(?P<m>0[1-9]|1[0-2])(?![\d/-])",
        lambda m: f"{digits(m['y'])}年{cardinal(int(m['m']))}月",
    ),
    rule(
        r"(?<![\d./-])(?P<m>0[1-9]|1[0-2])/(?P<y>(?:19|20)\d\d)(?![\d/-])",
        lambda m: f"{digits(m['y'])}年{cardinal(int(m['m']))}月",
    ),
    rule(r"(?<![\d./-])(?P<m>[1-9]|1[0-2])/1(?![\d/.]|[一-龥]?[赔赛])", lambda m: f"{cardinal(int(m['m']))}月一日"),
    # A height, a topic.
    rule(
        r"(?<![\d.,])(?P<a>[12])米(?P<b>\d\d)(?![\d.,]|[厘毫分]?米|[cm])",
        lambda m: f"{'一两'[int(m['a']) - 1]}米{digits(m['b'])}",
    ),
    rule(r"#(?P<topic>[^#\s]{1,40})#", lambda m: m["topic"], needs=SIGNS),
    # Rows and codes.
    rule(
        r"(?<![\w.+-])(?!9-1-1(?!\d))\d{1,7}(?:-\d{1,7}){2,12}(?![\w-])(?<!\d{4}-\d-\d)(?<!\d{3}-\d{4}-\d{4})",
        lambda m: _line(m),
    ),
    rule(
        rf"(?<![A-Za-z\d-])(?P<l>[A-Z])(?P<a>\d{{1,2}})[{DASHES}](?=(?P=l)\d{{1,2}}(?![A-Za-z\d-]))",
        lambda m: f"{m['l']}{m['a']}到",
    ),
    # Pairs of currencies, by code or name.
    rule(
        rf"(?<![A-Za-z/])(?P<a>{either(CODE_NAMES)}|{_CURRENCIES})/(?P<b>{either(CODE_NAMES)}|{_CURRENCIES})(?![A-Za-z/])",
        lambda m: f"{_named(m['a'])}兑{_named(m['b'])}",
        needs=SIGNS,
    ),
    # Signs before fractions and ranges.
    rule(rf"(?<=[1-9]/[1-9])[{DASHES}](?=[1-9]/[1-9])", "到"),
    rule(rf"(?<![\w)\]%°.])[{MINUS}](?=\d{{1,4}}/[1-9]\d{{0,3}}(?![\d/]))", "负"),
    # Later rules read the numbers with their units.
    rule(
        rf"(?:(?<=[\s(:=，。：])|(?<![\s\S]))[{MINUS}](?P<a>\d{{1,4}}(?:\.\d{{1,3}})?)(?P<dash>[{DASHES}])(?P<minus>[{MINUS}]?)"
        rf"(?=\d{{1,4}}(?:\.\d{{1,3}})?(?![{DASHES}\d=]|[.,]\d| ?=))",
        lambda m: f"负{m['a']}{'到负' if m['minus'] else m['dash']}",
    ),
    rule(r"(?<=[\w)])(?P<n>[²³⁴⁵⁶⁷]?)(?P<s>[⁺⁻])(?![⁰¹²³⁴-⁹])", lambda m: _charge(m)),
    rule(r"[↑▲△⬆] ?(?=[$€£￥]?[\d.])", "上升", needs=SIGNS),
    rule(r"[↓▼▽⬇] ?(?=[$€£￥]?[\d.])", "下降", needs=SIGNS),
    # Code.
    rule(r"(?<![A-Za-z])(?P<l>[CcFf])#(?![A-Za-z\d#])", lambda m: f"{m['l']} sharp ", needs=SIGNS),
    rule(r"(?:(?<=[\s\u4e00-\u9fff\"'“‘(（、，])|(?<![\s\S]))\.(?=NET(?![A-Za-z])|[a-z]{2})", "点", needs=CAPITALS),
    rule(r"(?<![<\-=]) ?-{1,3}> ?(?=\S)", "到", needs=SIGNS),
    rule(r"(?<=[^\s=]) ?={2,3} ?(?=[\w\"'($-])", "等于", needs=SIGNS),
    rule(r"(?<=[\w)]) ?&& ?(?=[\w(!])", "和", needs=SIGNS),
    rule(r"(?<=[\w)]) ?\|\| ?(?=[\w(!])", "或", needs=SIGNS),
    rule(r"(?<=[A-Za-z])\+{1,2}(?![A-Za-z\d+])(?! ?[\u4e00-\u9fff]\+)", lambda m: "加" * len(m.group()), needs=SIGNS),
    rule(r"(?<=[\u4e00-\u9fff])\+(?![\w+(])", "加", needs=SIGNS),
)
LATE: tuple[Rule, ...] = (
    rule(r"(?<=[零一二三四五六七八九十百千万亿])/(?=[零一二三四五六七八九十百千万亿])", "斜杠"),
    rule(r"(?<=[^\W_])_(?=[^\W_])", "下划线"),
    rule(r"\\", "反斜杠"),
    rule(r"(?<=\w) ?(?<!\|)\|(?!\|) ?(?=\w)", ","),
    rule(r"∑", "求和"),
)


def _extension(match: re.Match[str]) -> str:
    if match["n2"]:
        return digits(match["n2"], one="幺")
    return match.group()[: match.start("n") - match.start()] + digits(match["n"], one="幺")


def _line(match: re.Match[str]) -> str | None:
    parts = match.group().split("-")
    is_day = len(parts) == 3 and len(parts[0]) == 4 and all(len(part) <= 2 for part in parts[1:])
    is_phone = len(parts) == 3 and len(parts[0]) in (3, 4) and parts[0][0] in "0148"
    return None if is_day or is_phone else _row(match)


def _charge(match: re.Match[str]) -> str:
    return (cardinal(unicodedata.digit(match["n"])) if match["n"] else "") + _ION[match["s"]]
