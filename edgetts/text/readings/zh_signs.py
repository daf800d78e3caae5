"""Chinese signs, names with digits, and plain numbers: ranges, scores, fractions, arithmetic, remaining digits.

In: text whose money, units, dates and telephone numbers are words already. Out: text without digits. The last file of
rules.
"""

from __future__ import annotations

import re

from edgetts.text.readings.prepare import GREEK, superscript
from edgetts.text.readings.rule import (
    CAPITALS,
    DASHES,
    MINUS,
    NOT_GOING_ON,
    NOT_INSIDE,
    NUMBER,
    RATIO,
    SIGNS,
    Rule,
    needing,
    rule,
)
from edgetts.text.readings.zh_dates import is_score
from edgetts.text.readings.zh_numbers import MEASURES, cardinal, digits, name_digits, number

_VULGAR = {
    "½": (1, 2), "⅓": (1, 3), "⅔": (2, 3), "¼": (1, 4), "¾": (3, 4), "⅕": (1, 5), "⅖": (2, 5), "⅗": (3, 5),
    "⅘": (4, 5), "⅙": (1, 6), "⅚": (5, 6), "⅛": (1, 8), "⅜": (3, 8), "⅝": (5, 8), "⅞": (7, 8), "⅑": (1, 9),
    "⅒": (1, 10),
}  # fmt: skip
_SIGNS = {
    "±": "正负", "×": "乘", "÷": "除以", "≈": "约等于", "≠": "不等于", "≤": "小于等于", "≥": "大于等于",
    "∞": "无穷大", "√": "根号", "™": "商标", "©": "版权", "®": "注册商标", "→": "到", "°": "度", "§": "第", "№": "第",
    "$": "美元", "€": "欧元", "£": "英镑", "¥": "元", "￥": "元", "₹": "卢比",
}  # fmt: skip
_DAYS = "一二三四五六日天"
_NUMERALS = "零一二三四五六七八九十百千万两"
_SERVICES = "10000|10010|10086|12306|12315|12320|12333|12345|12348|12366|12580|95\\d{3}"
_FAMOUS = (
    r"985(?=[高大院和、]|工程)|211(?=[高大院和、]|工程)|315(?=晚会)|911(?=事件|恐)|(?<=波音)7\d7|(?<=空客)3\d0|996(?=工作|的)|"
    r"(?:110|112|114|119|120|122)(?=报警|急救|热线|电话|指挥|救护|平台|火警)|007(?!\d)|"
    r"(?<![\s\S])(?:110|112|114|119|120|122)(?=[。.!！]?\s?$)"
)
_LETTERS_DIGITS = r"(?<![A-Za-z\d])(?P<a>[A-Za-z]{1,20})(?P<gap>-?)(?P<n>\d{1,15})(?![\d]|\.\d|,\d{3})"
_OLD_ZERO = "〇"
_MAX_POINTS = 3  # digits
_RUN = re.compile(r"\d+|\D+")


def _mixed(match: re.Match[str]) -> str:
    n, d = _VULGAR[match["f"]]
    whole = f"{number(match['whole'])}又" if match["whole"] else ""
    return f"{whole}{cardinal(d)}分之{cardinal(n)}"


def _fraction(match: re.Match[str]) -> str:
    whole = f"{number(match['whole'])}又" if match["whole"] else ""
    return f"{whole}{number(match['d'])}分之{number(match['n'])}"


def _range(match: re.Match[str]) -> str:
    if is_score(match):
        return f"{number(match['a'])}比{number(match['b'])}"
    counts = (match["counted"] is not None or bool(match["big"])) and match["ordinal"] is None
    if not match["counted"] and not match["ordinal"] and not match["big"] and _falls(match["a"], match["b"]):
        return f"{number(match['a'])}比{number(match['b'])}"
    low, high = number(match["a"], counts=counts) + match["big"], number(match["b"], counts=counts)
    return f"{match['ordinal'] or ''}{low}到{high}"


def _falls(high: str, low: str) -> bool:
    """Whether the first number is the larger one, which is possible in a score but not in a range."""
    return high.isdecimal() and low.isdecimal() and len(high) <= _MAX_POINTS and int(high) > int(low)


def _name(match: re.Match[str]) -> str:
    return f"{match['a']}{match['gap']}{name_digits(match['n'])}"


def _mix(match: re.Match[str]) -> str:
    return "".join(name_digits(run) if run.isdecimal() else run for run in _RUN.findall(match.group()))


def _number(match: re.Match[str]) -> str:
    sign = "负" if match["minus"] else "正" if match["plus"] else ""
    counts = match["counted"] is not None and match["ordinal"] is None
    return f"{match['ordinal'] or ''}{sign}{number(match['n'], counts=counts)}"


def _scientific(match: re.Match[str]) -> str:
    minus = "负" if match["sign"] and match["sign"] in MINUS else ""
    return f"{number(match['n'])}乘以十的{minus}{number(match['e'])}次方"


def _power(match: re.Match[str]) -> str:
    up = match["up"] or ""
    n = superscript(up.lstrip("⁻")) if up else int(match["n"])
    if match["minus"] or up.startswith("⁻"):
        return f"的负{cardinal(n)}次方"
    return {2: "的平方", 3: "的立方"}.get(n, f"的{cardinal(n)}次方")


def _letters_compared(match: re.Match[str]) -> str:
    return match["a"] + {"<": "小于", ">": "大于"}[match["o"]]


def _service(match: re.Match[str]) -> str:
    return digits(match.group(), one="幺")


BEFORE_NUMBERS: tuple[Rule, ...] = (
    rule(r"(?<![一二三四五六七八九〇])一[〇零](?=[月日号])", "十", needs=CAPITALS),
    rule(r"(?<![\d.,A-Za-z])(?P<n>\d{3,4})(?=号?房间|号房|室(?![内外]))", lambda m: digits(m["n"], one="幺")),
    rule(_OLD_ZERO + r"|(?<=[一二三四五六七八九〇零])[○◯](?=[一二三四五六七八九〇零年])", "零", needs=CAPITALS),
    rule(rf"(?<![A-Za-z\d.,])(?:{_SERVICES})(?!\d|[.,]\d| ?[元人个块米年万次])", _service),
    rule(
        rf"(?<![\d.,])(?:{_FAMOUS})",
        lambda m: digits(m.group(), one="一" if m.group()[0] in "2379" and m.group() != "911" else "幺"),
    ),
    rule(r"(?<![\d/])24/7(?![\d/])", "二十四七"),
    rule(r"(?<![\d.,/])(?P<whole>\d{1,6})? ?(?P<f>[½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞⅑⅒])", _mixed),
    rule(r"(?<![\d.,/])(?:(?P<whole>\d{1,4}) )?(?P<n>\d{1,6})[/⁄](?P<d>[1-9]\d{0,5})(?![\d/]|[.,]\d)", _fraction),
    rule(RATIO, lambda m: f"{number(m['a'])}比{number(m['b'])}"),
    rule(r"(?<=\w)(?P<minus>)(?P<n>)(?P<up>⁻?[⁰¹²³⁴-⁹]{1,4})", _power),
    rule(r"(?<=\w)\^(?P<minus>[-−]?)(?P<n>\d{1,4})(?P<up>)(?![A-Za-z0-9_.])", _power),
    rule(rf"{NOT_INSIDE}(?<!\w)(?P<n>{NUMBER})[eE](?P<sign>[{MINUS}+]?)(?P<e>\d{{1,3}})(?!\w)", _scientific),
    rule(r"(?<![\d.,A-Za-z])(?P<n>[1-9]\d?)(?:st|nd|rd|th)(?![A-Za-z])", lambda m: f"第{cardinal(int(m['n']))}"),
    rule(r"(?<![A-Za-z])(?:No|NO|no|Nr)\.? ?(?=\d)|№ ?(?=\d)|§ ?(?=\d)", "第"),
    rule(r"(?<![A-Za-z])(?:Vol|vol)\.? ?(?P<n>\d{1,4})(?!\d)", lambda m: f"第{number(m['n'])}卷"),
    rule(r"(?<![A-Za-z])(?:[Ff]ig)\.? ?(?P<n>\d{1,4})(?!\d)", lambda m: f"图{number(m['n'])}"),
    rule(r"(?<![\w#])#(?P<n>\d{1,6})(?!\d)", lambda m: f"{number(m['n'])}号"),
    # Rooms, roads, schools and screens digit by digit; minutes and seconds.
    rule(r"(?<![\d.,A-Za-z-])\d{3}(?=医院|路(?!人)|中学|国道|省道|高地)", _service),
    rule(r"(?<![\d.,])(?:360|480|720|1080|1440|2160)(?=[pP](?![A-Za-z]))", lambda m: digits(m.group())),
    rule(
        r"(?<![\d.,'])(?P<m>\d{1,2})['′’](?P<s>\d{1,2})[\"″”]",
        lambda m: f"{cardinal(int(m['m']))}分{cardinal(int(m['s']))}秒",
    ),
    # Names of letters and digits.
    rule(
        r"(?<![A-Za-z\d])(?P<a>[A-Za-z]{1,6})(?P<b>\d{1,3})-(?P<n>\d{3,6})(?![\dA-Za-z.])",
        lambda m: f"{m['a']}{name_digits(m['b'])}-{digits(m['n'])}",
    ),
    rule(_LETTERS_DIGITS + r"(?![A-Za-z])", _name),
    rule(r"(?<![A-Za-z\d])[A-Za-z]{1,20}\d{1,6}(?:[A-Za-z]{1,10}\d{0,6}){1,3}(?![A-Za-z\d])", _mix),
)


def _about(match: re.Match[str]) -> str | None:
    """None between two quantities: 5公斤~10公斤, 周一~5号."""
    return None if _QUANTITY_BEFORE.search(match.string, max(0, match.start() - 6), match.start()) else "约"


# Signs before a quantity with any unit or currency: ~5公斤, <10%, 约占~30元.
_AMOUNT = r"(?=[$€£￥¥]?(?:\.?\d|[½⅓⅔¼¾]))"
_QUANTITY_BEFORE = re.compile(r"(?:\d|[\d零一二三四五六七八九十百千万亿半][^\s\d，。、；：,.!?！？]{0,3}) ?\Z")
_ABOUT: tuple[Rule, ...] = (
    rule(rf"(?<=[约近])[~～] ?{_AMOUNT}", ""),
    rule(rf"(?<![A-Za-z\d~～%％℃°)）])[~～] ?{_AMOUNT}", _about),
)
_COMPARED: tuple[Rule, ...] = (
    rule(
        rf"(?<=[\w)%]) ?<=? ?(?=[\d.$€£￥¥\-−])|(?<=\d) ?<=? ?(?=\w)|(?<![\w<=>-])<=? ?{_AMOUNT}",
        lambda m: "小于等于" if "=" in m.group() else "小于",
    ),
    rule(
        rf"(?<=[\w)%]) ?>=? ?(?=[\d.$€£￥¥\-−])|(?<=\d) ?>=? ?(?=\w)|(?<![\w<=>-])>=? ?{_AMOUNT}",
        lambda m: "大于等于" if "=" in m.group() else "大于",
    ),
)
BEFORE_QUANTITIES: tuple[Rule, ...] = (  # while the amounts are still in digits
    rule(
        rf"{NOT_INSIDE}(?<![A-Za-z-])(?P<first>{NUMBER}[百千万亿]?(?P<unit>[\u4e00-\u9fffA-Za-z]{{1,3}})) ?[{DASHES}] ?"
        rf"(?=第?{NUMBER}[百千万亿]?(?P=unit))",
        lambda m: f"{m['first']}到",
    ),
    *_ABOUT,
    *needing(SIGNS, _COMPARED),
)
NUMBERS: tuple[Rule, ...] = (
    rule(r"\+/[-−] ?", "正负"),
    rule(r"!= ?(?=\w)", "不等于"),
    rule(
        r"(?<![A-Za-z\d])(?P<a>[a-z]) ?(?P<o>[<>]) ?(?=[a-z](?![A-Za-z\d]))",
        _letters_compared,
    ),
    rule(r"(?<=[\d万亿千百])\+(?=[岁人个年天次种名条款家所国项位篇部套])", "多"),
    *_ABOUT,
    rule(r"(?<=[\d)]) ?[*×x] ?(?=[\d(])", "乘", needs=CAPITALS),
    rule(r"(?<=\d) ?÷ ?(?=\d)|(?<=\d) / (?=\d)", "除以"),
    rule(rf"(?<=\d) ?[{MINUS}] ?(?=\d{{1,15}}(?:\.\d{{1,9}})? ?=)", "减"),
    rule(r"(?<=[\w)%]) ?\+ ?(?=[\w(])(?!\+)", "加"),
    rule(r"(?<=[\d万亿千百])\+", "加"),
    rule(r"(?<=[\w)%²³]) ?(?<![<>=!])=(?![=>]) ?(?=[\w($\-−√])", "等于"),
    *_COMPARED,
    rule(  # Qwen2.5-7B is a name
        r"(?<=[A-Za-z])(?P<a>\d{1,4}(?:\.\d{1,4})?)-(?P<b>\d{1,4}(?:\.\d{1,4})?)(?=[A-Za-z](?![a-z]))",
        lambda m: f"{number(m['a'])}-{number(m['b'])}",
    ),
    rule(
        rf"{NOT_INSIDE}(?<![A-Za-z]-)(?P<ordinal>第)?(?P<a>{NUMBER})(?P<big>[百千万亿]?)"
        rf"(?: ?[{DASHES}] ?)第?(?P<b>{NUMBER}){NOT_GOING_ON}"
        rf"(?![{DASHES}]\d)(?=(?P<counted>[多余几]?(?:{MEASURES})))?",
        _range,
    ),
    rule(
        rf"(?:(?:(?<![\w)\]])|(?<=[为是至到约达得了在于值温差比率量]))(?:(?P<minus>[{MINUS}])|(?P<plus>\+)) ?)?"
        rf"(?P<ordinal>第)?(?P<n>{NUMBER})"
        rf"(?=(?P<counted>[多余几]?(?:{MEASURES})))?",
        _number,
    ),
)
AFTER_NUMBERS: tuple[Rule, ...] = (
    rule(
        rf"(?P<first>第[{_NUMERALS}]{{1,12}}(?P<unit>[^\W\d_])) ?[{DASHES}] ?(?=第[{_NUMERALS}]{{1,12}}(?P=unit))",
        lambda m: f"{m['first']}到",
        needs=CAPITALS,
    ),
    rule(
        rf"(?P<first>(?P<day>周|星期|礼拜)[{_DAYS}]) ?[{DASHES}] ?(?=(?P=day)[{_DAYS}])",
        lambda m: f"{m['first']}到",
        needs=CAPITALS,
    ),
    rule(r"(?<![Ͱ-Ͽἀ-῿])[α-ωΓΔΘΛΞΠΣΦΨΩ](?![Ͱ-Ͽἀ-῿])", lambda m: GREEK.get(m.group()), needs=CAPITALS),
    rule(f"[{''.join(_SIGNS)}]", lambda m: _SIGNS[m.group()]),
    rule(r"@(?=\w)", "艾特"),
    rule(r"(?<=[A-Za-z]) ?& ?(?=[A-Za-z])", " and "),
    rule(r"和/或", "和或"),
    rule(
        r"(?<=[元米里克斤升吨次页字个块时零一二三四五六七八九十百千万亿])/"
        r"(?=[人天年月周日次小分秒平立公千斤克升米吨度台件晚夜])",
        "每",
    ),
    rule(r"(?<=[\u4e00-\u9fff])/(?=[\u4e00-\u9fff])", "或"),
    rule(r"(?<=\w)/(?=\w)", "斜杠"),
    rule(r"(?<=\w) ?& ?(?=\w)", "和"),
    rule(r"(?<=[零一二三四五六七八九十百千万亿]) ?% ?", "百分号"),
)
