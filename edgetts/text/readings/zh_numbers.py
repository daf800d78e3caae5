"""Chinese numbers as characters: cardinals, digit by digit, decimals; 2 is 两 before measure words.

In: digits. Out: characters.
"""

from __future__ import annotations

from edgetts.text.readings.rule import MAX_DIGITS

_DIGITS = "零一二三四五六七八九"
_PLACES = ("", "十", "百", "千")
_GROUPS = ("", "万", "亿", "万亿")
_GROUP = 10_000
_TWO, _PAIR = "二", "两"
_PAIR_BEFORE = tuple("百千万亿")

# Measure words: 2 before them is 两, but not in "2两", "2月", "2号", "2楼" and "2级".
MEASURES = (
    "个|只|条|张|位|名|人|年(?!级|代)|天|周|小时|分钟|秒|点|种|次|件|本|块|元|美元|欧元|英镑|港元|日元|斤|公斤|千克|克|毫克|米|公里|千米|"
    "厘米|毫米|升|毫升|吨|台|部|辆|座|家|间|套|双|对|把|杯|瓶|碗|盘|盒|包|袋|箱|支|枝|根|片|层|倍|成|岁|遍|回|场|句|段|篇|首|口|头|匹|颗|粒|项|"
    "份|门|幅|封|组|队|排|列|万|亿|千|百|摄氏度|华氏度|度|平方|立方|英寸|英尺|英里|海里|磅|盎司|公顷|亩|艘|架|栋|幢|所|届|批|股|滴|顿|集|页|"
    "代人|边|岸|侧|者|国|党|院|会|码|步|道题|扇|朵|棵|株|桶|串|束|勺|壶|匙|轮|趟|类|册"
)


def cardinal(n: int) -> str:
    """The cardinal: 10500 is 一万零五百, 200 两百, 12 十二. Up to `MAX_DIGITS` digits."""
    if n == 0:
        return _DIGITS[0]
    groups: list[int] = []
    while n:
        n, group = divmod(n, _GROUP)
        groups.append(group)
    spoken = ""
    is_gap = False
    for place in reversed(range(len(groups))):
        group = groups[place]
        if not group:
            is_gap = True
            continue
        if spoken and (is_gap or group < _GROUP // 10):
            spoken += _DIGITS[0]
        spoken += _below_ten_thousand(group) + _GROUPS[place]
        is_gap = False
    if spoken.startswith("一十"):
        spoken = spoken[1:]
    return _PAIR + spoken[1:] if spoken[0] == _TWO and spoken[1:].startswith(_PAIR_BEFORE) else spoken


def _below_ten_thousand(n: int) -> str:
    spoken, is_gap = "", False
    for place in (3, 2, 1, 0):
        digit = n // 10**place % 10
        if not digit:
            is_gap = bool(spoken)
            continue
        spoken += (_DIGITS[0] if is_gap else "") + _DIGITS[digit] + _PLACES[place]
        is_gap = False
    return spoken


def digits(text: str, *, one: str = "一") -> str:
    """The digits of `text` one by one. one: the reading of 1 (幺 in short telephone numbers)."""
    return "".join(one if char == "1" else _DIGITS[int(char)] for char in text if char.isdecimal())


def number(text: str, *, counts: bool = False, price: bool = False) -> str:
    """A number as written: "1,234.5", "007". counts: before a measure word. price: drop zeros at the end."""
    whole, dot, decimals = text.replace(",", "").partition(".")
    if price:
        decimals = decimals.rstrip("0")
    if counts and whole == "2" and not decimals:
        return _PAIR
    if len(whole) > MAX_DIGITS or (whole.startswith("0") and len(whole) > 1):
        spoken = digits(whole)
    else:
        spoken = cardinal(int(whole or "0"))
    return f"{spoken}点{digits(decimals)}" if dot and decimals else spoken


def name_digits(text: str) -> str:
    """The digits of a name: up to two as a number, more one by one."""
    return cardinal(int(text)) if len(text) <= 2 and not (text[0] == "0" and len(text) > 1) else digits(text)
