"""Chinese units after a number, and percentages: "5kg", "10km/h", "3m²", "-3℃", "40%-60%", "5‰".

In: text with signs. Out: characters; a speed is 每小时十公里, a percentage 百分之五十.
"""

from __future__ import annotations

import re

from edgetts.text.readings.rule import DASHES, MINUS, NOT_GOING_ON, NOT_INSIDE, NUMBER, Rule, either, rule, words
from edgetts.text.readings.zh_numbers import number

_UNITS = {
    "nm": "纳米", "µm": "微米", "μm": "微米", "um": "微米", "mm": "毫米", "cm": "厘米", "dm": "分米", "m": "米",
    "km": "公里", "KM": "公里", "Km": "公里", "CM": "厘米", "MM": "毫米", "in": "英寸", "ft": "英尺", "mi": "英里",
    "yd": "码", "µg": "微克", "ug": "微克", "mg": "毫克", "g": "克", "kg": "千克", "KG": "千克", "Kg": "千克",
    "t": "吨", "lb": "磅", "lbs": "磅", "oz": "盎司", "ml": "毫升", "mL": "毫升", "ML": "毫升", "l": "升", "L": "升",
    "cl": "厘升", "gal": "加仑", "ns": "纳秒", "µs": "微秒", "us": "微秒", "ms": "毫秒", "s": "秒", "min": "分钟",
    "h": "小时", "hr": "小时", "Hz": "赫兹", "kHz": "千赫", "KHz": "千赫", "MHz": "兆赫", "GHz": "吉赫", "mW": "毫瓦",
    "W": "瓦", "kW": "千瓦", "KW": "千瓦", "MW": "兆瓦", "GW": "吉瓦", "Wh": "瓦时", "kWh": "千瓦时", "KWh": "千瓦时",
    "MWh": "兆瓦时", "mAh": "毫安时", "mah": "毫安时", "Ah": "安时", "V": "伏", "kV": "千伏", "mV": "毫伏",
    "mA": "毫安", "Ω": "欧姆", "kΩ": "千欧", "J": "焦耳", "kJ": "千焦", "cal": "卡", "kcal": "千卡", "Pa": "帕",
    "hPa": "百帕", "kPa": "千帕", "MPa": "兆帕", "N": "牛", "dB": "分贝", "DB": "分贝", "db": "分贝", "px": "像素",
    "ppm": "ppm", "KB": "千字节", "kB": "千字节", "MB": "兆字节", "GB": "吉字节", "TB": "太字节", "ha": "公顷",
    "hp": "马力", "mmHg": "毫米汞柱", "mol": "摩尔", "lm": "流明", "eV": "电子伏", "°C": "摄氏度", "ºC": "摄氏度",
    "° C": "摄氏度", "°F": "华氏度", "° F": "华氏度", "°": "度",
}  # fmt: skip
for _length in ("mm", "cm", "dm", "m", "km"):
    _UNITS |= {_length + two: "平方" + _UNITS[_length] for two in ("²", "2", "^2")}
    _UNITS |= {_length + three: "立方" + _UNITS[_length] for three in ("³", "3", "^3")}
_RATES = {
    "km/h": ("小时", "公里"), "KM/H": ("小时", "公里"), "Km/h": ("小时", "公里"), "kph": ("小时", "公里"),
    "m/s": ("秒", "米"), "m/min": ("分钟", "米"), "km/s": ("秒", "公里"), "mph": ("小时", "英里"),
    "fps": ("秒", "帧"), "FPS": ("秒", "帧"), "rpm": ("分钟", "转"), "r/min": ("分钟", "转"), "bpm": ("分钟", "拍"),
    "Mbps": ("秒", "兆比特"), "Gbps": ("秒", "吉比特"), "kbps": ("秒", "千比特"), "Kbps": ("秒", "千比特"),
    "MB/s": ("秒", "兆字节"), "KB/s": ("秒", "千字节"), "GB/s": ("秒", "吉字节"), "m³/s": ("秒", "立方米"),
    "m3/s": ("秒", "立方米"), "L/min": ("分钟", "升"), "ml/h": ("小时", "毫升"),
}  # fmt: skip
_PER = {
    **{sign: _UNITS[sign] for sign in words("kg g t m km L l ml mL min h s kWh m² m³ m2 m3 lb")}, "day": "天",
    "d": "天", "week": "周", "month": "月", "mo": "月", "year": "年", "hour": "小时", "night": "晚", "hr": "小时",
    "dL": "分升", "dl": "分升", "cm²": "平方厘米", "cm³": "立方厘米",
}  # fmt: skip
_GLUED_ONLY = frozenset(("in", "us", "s", "t", "h", "g", "l", "N", "J", "V", "W", "m"))  # units only without a space
_SIGNED = rf"(?:(?<![A-Za-z0-9)\]%°])(?P<minus>[{MINUS}]) ?)?"
_SHARES = {"%": "百分之", "％": "百分之", "‰": "千分之", "‱": "万分之"}
_END = r"(?![A-Za-z0-9²³])"


def per(written: str) -> str:
    """The reading of "/kg" after a price: 每千克; "" for ""."""
    name = written.lstrip("/")
    return f"每{_PER.get(name, name)}" if name else ""


def _measure(match: re.Match[str]) -> str | None:
    groups = match.groupdict()
    sign = groups["unit"]
    if groups["gap"] and sign in _GLUED_ONLY:
        return None
    unit = _UNITS[sign]
    low = number(groups["amount"], counts=True)
    if groups["upto"]:
        negative = "负" if groups["below"] else ""
        low = f"{low}到{negative}{number(groups['upto'], counts=True)}"
    rate = f"每{_PER[groups['per']]}" if groups["per"] else ""
    return f"{'负' if groups['minus'] else ''}{low}{unit}{rate}"


def _rate(match: re.Match[str]) -> str:
    time, unit = _RATES[match["unit"]]
    low = number(match["amount"], counts=True)
    if match["upto"]:
        low = f"{low}到{number(match['upto'], counts=True)}"
    return f"每{time}{low}{unit}"


def _share(match: re.Match[str]) -> str:
    sign = "负" if match["minus"] else "正" if match["plus"] else ""
    share = _SHARES[match["sign"]]
    if not match["upto"]:
        return f"{sign}{share}{number(match['amount'])}"
    first = f"{sign}{share}{number(match['amount'])}"
    return f"{first}到{share if match['first'] else ''}{number(match['upto'])}"


_UPTO = rf"(?: ?[{DASHES}至到] ?(?P<below>[{MINUS}])?(?P<upto>{NUMBER}))?"

RULES: tuple[Rule, ...] = (
    rule(
        r"(?<![\d.])(?P<d>\d{1,3})°(?P<m>\d{1,2})['′’](?:(?P<s>\d{1,2})[\"″”])?",
        lambda m: f"{number(m['d'])}度{number(m['m'])}分" + (f"{number(m['s'])}秒" if m["s"] else ""),
    ),
    rule(
        rf"(?:(?<![A-Za-z0-9)\]%])(?:(?P<minus>[{MINUS}])|(?P<plus>\+)) ?)?{NOT_INSIDE}(?P<amount>{NUMBER})"
        rf"(?: ?(?P<first>[%‰])? ?[{DASHES}至到] ?(?P<upto>{NUMBER}))? ?(?P<sign>[%‰‱])",
        _share,
    ),
    rule(
        rf"{NOT_INSIDE}(?<![A-Za-z])(?P<amount>{NUMBER})(?: ?[{DASHES}至到] ?(?P<upto>{NUMBER}))? ?"
        rf"(?P<unit>{either(_RATES)}){_END}",
        _rate,
    ),
    # 5kg-10kg first, so that the dash is not taken for a minus sign.
    rule(
        rf"{_SIGNED}{NOT_INSIDE}(?<![A-Za-z])(?P<amount>{NUMBER})(?P<gap> ?)(?P<unit>{either(_UNITS)})"
        rf"(?P<below>)(?P<per>)(?P<upto>)(?=[{DASHES}]\d[\d.]{{0,9}}(?P=unit))",
        lambda m: f"{_measure(m)}到",
    ),
    rule(
        rf"(?<=到)[{DASHES}](?=\d)",
        "",
    ),
    rule(
        rf"{_SIGNED}{NOT_INSIDE}(?<![A-Za-z])(?<![A-Za-z]-)(?P<amount>{NUMBER}){_UPTO}{NOT_GOING_ON}(?P<gap> ?)"
        rf"(?P<unit>{either(_UNITS)})"
        rf"(?:(?<=°)|{_END})(?:/(?P<per>{either(_PER)})(?![A-Za-z]))?",
        _measure,
    ),
    rule(
        rf"{_SIGNED}{NOT_INSIDE}(?<![A-Za-z])(?P<a>{NUMBER})度?[{DASHES}至到](?P<b>{NUMBER})(?P<unit>度|摄氏度|华氏度)",
        lambda m: (
            f"{'负' if m['minus'] else ''}{number(m['a'], counts=True)}到{number(m['b'], counts=True)}{m['unit']}"
        ),
    ),
)
