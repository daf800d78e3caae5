"""English units after a number: "5 kg", "100 km/h", "3 m²", "5'10\"", "−5 °C", "20%".

In: text with signs. Out: words, in the singular after one and as adjectives ("a 5 km run").
"""

from __future__ import annotations

import re

from edgetts.text.readings.en_context import is_adjective
from edgetts.text.readings.en_numbers import VULGAR, fraction, is_one, number, pair
from edgetts.text.readings.rule import (
    CAPITALS,
    DASHES,
    MINUS,
    NOT_GOING_ON,
    NOT_INSIDE,
    NUMBER,
    PLAIN,
    SIGNS,
    Rule,
    either,
    rule,
)

# sign -> singular; the plural adds an s unless _PLURALS has it.
_UNITS = {
    "nm": "nanometer", "µm": "micrometer", "μm": "micrometer", "mm": "millimeter", "cm": "centimeter",
    "dm": "decimeter", "m": "meter", "km": "kilometer", "in": "inch", "ft": "foot", "yd": "yard", "mi": "mile",
    "nmi": "nautical mile", "µg": "microgram", "mcg": "microgram", "mg": "milligram", "g": "gram", "kg": "kilogram",
    "t": "ton", "oz": "ounce", "lb": "pound", "lbs": "pound", "ml": "milliliter", "mL": "milliliter",
    "cl": "centiliter", "cL": "centiliter", "dl": "deciliter", "dL": "deciliter", "l": "liter", "L": "liter",
    "gal": "gallon", "qt": "quart", "fl oz": "fluid ounce", "tbsp": "tablespoon", "tsp": "teaspoon",
    "ns": "nanosecond", "µs": "microsecond", "μs": "microsecond", "ms": "millisecond", "s": "second", "sec": "second",
    "secs": "second", "min": "minute", "mins": "minute", "h": "hour", "hr": "hour", "hrs": "hour", "yr": "year",
    "yrs": "year", "wk": "week", "wks": "week", "mos": "month", "Hz": "hertz", "kHz": "kilohertz", "KHz": "kilohertz",
    "MHz": "megahertz", "GHz": "gigahertz", "THz": "terahertz", "kB": "kilobyte", "KB": "kilobyte", "MB": "megabyte",
    "GB": "gigabyte", "TB": "terabyte", "PB": "petabyte", "KiB": "kibibyte", "MiB": "mebibyte", "GiB": "gibibyte",
    "TiB": "tebibyte", "kb": "kilobit", "Mb": "megabit", "Gb": "gigabit", "kbit": "kilobit", "Mbit": "megabit",
    "Gbit": "gigabit", "mW": "milliwatt", "W": "watt", "kW": "kilowatt", "KW": "kilowatt", "MW": "megawatt",
    "GW": "gigawatt", "Wh": "watt hour", "kWh": "kilowatt hour", "KWh": "kilowatt hour", "MWh": "megawatt hour",
    "GWh": "gigawatt hour", "TWh": "terawatt hour", "mAh": "milliamp hour", "Ah": "amp hour", "mV": "millivolt",
    "V": "volt", "kV": "kilovolt", "mA": "milliamp", "Ω": "ohm", "kΩ": "kilohm", "J": "joule", "kJ": "kilojoule",
    "MJ": "megajoule", "cal": "calorie", "kcal": "kilocalorie", "eV": "electron volt", "Pa": "pascal",
    "hPa": "hectopascal", "kPa": "kilopascal", "MPa": "megapascal", "N": "newton", "Nm": "newton meter", "bar": "bar",
    "mbar": "millibar", "psi": "pound per square inch", "dB": "decibel", "dBA": "decibel", "pF": "picofarad",
    "nF": "nanofarad", "µF": "microfarad", "hp": "horsepower", "px": "pixel", "MP": "megapixel",
    "pts": "point",
    "dpi": "dot per inch", "ppm": "part per million", "ppb": "part per billion", "rpm": "revolution per minute",
    "RPM": "revolution per minute", "bpm": "beat per minute", "BPM": "beat per minute", "fps": "frame per second",
    "FPS": "frame per second", "mph": "mile per hour", "MPH": "mile per hour", "mpg": "mile per gallon",
    "kph": "kilometer per hour", "kmh": "kilometer per hour", "bps": "bit per second", "kbps": "kilobit per second",
    "Kbps": "kilobit per second", "Mbps": "megabit per second", "Gbps": "gigabit per second", "ac": "acre",
    "ha": "hectare", "sq ft": "square foot", "sq. ft": "square foot", "sqft": "square foot", "sqm": "square meter",
    "sq m": "square meter", "sq km": "square kilometer", "sq mi": "square mile", "sq in": "square inch",
    "sq yd": "square yard", "cu ft": "cubic foot", "cu m": "cubic meter", "cc": "cubic centimeter",
    "cwt": "hundredweight", "mol": "mole", "lm": "lumen", "lx": "lux", "Sv": "sievert", "mSv": "millisievert",
    "mmHg": "millimeter of mercury", "°C": "degree Celsius", "°F": "degree Fahrenheit", "°": "degree",
    "ºC": "degree Celsius", "ºF": "degree Fahrenheit", "° C": "degree Celsius", "°N": "degree north",
    "°S": "degree south", "°E": "degree east", "°W": "degree west", "° F": "degree Fahrenheit", "%": "percent",
    "‰": "per thousand", "‱": "per ten thousand",
}  # fmt: skip
_LENGTHS = ("mm", "cm", "dm", "m", "km", "in", "ft", "mi", "yd")
for _length in _LENGTHS:
    _UNITS |= {_length + two: f"square {_UNITS[_length]}" for two in ("²", "2", "^2")}
    _UNITS |= {_length + three: f"cubic {_UNITS[_length]}" for three in ("³", "3", "^3")}
del _UNITS["in2"], _UNITS["in3"], _UNITS["mi2"], _UNITS["mi3"]

_PLURALS = {
    "foot": "feet", "inch": "inches", "percent": "percent", "per thousand": "per thousand",
    "per ten thousand": "per ten thousand", "hertz": "hertz", "kilohertz": "kilohertz", "megahertz": "megahertz",
    "gigahertz": "gigahertz", "terahertz": "terahertz", "lux": "lux", "horsepower": "horsepower", "bar": "bars",
    "hundredweight": "hundredweight",
}  # fmt: skip
_GLUED_ONLY = frozenset(("in", "t", "N", "J", "MP", "ac"))  # units only without a space: not "5 in the morning"
_SCALES = {"C": "Celsius", "F": "Fahrenheit"}
_PER_WORDS = {
    "h": "hour", "hr": "hour", "s": "second", "sec": "second", "min": "minute", "d": "day", "day": "day",
    "night": "night", "wk": "week", "week": "week", "mo": "month", "month": "month", "yr": "year", "y": "year",
    "year": "year", "a": "year", "pp": "person", "kg": "kilogram", "g": "gram", "t": "ton", "lb": "pound",
    "oz": "ounce", "l": "liter", "L": "liter", "ml": "milliliter", "mL": "milliliter", "dl": "deciliter",
    "dL": "deciliter", "gal": "gallon", "m": "meter", "km": "kilometer", "mi": "mile", "ft": "foot", "in": "inch",
    "m²": "square meter", "m2": "square meter", "m³": "cubic meter", "m3": "cubic meter", "km²": "square kilometer",
    "s²": "second squared", "kWh": "kilowatt hour", "MWh": "megawatt hour", "GB": "gigabyte", "MB": "megabyte",
    "ea": "piece", "pc": "piece", "cm²": "square centimeter", "cm³": "cubic centimeter", "sqft": "square foot",
}  # fmt: skip

UNIT_SIGNS = frozenset(_UNITS)
_UNIT = rf"(?P<unit>{either(_UNITS)})"
_END = r"(?![A-Za-z0-9²³°])(?!-[A-Za-z])"
_PER_UNIT = rf"(?:/(?P<per>{either(_PER_WORDS)})(?![A-Za-z0-9/]))?"
_PERIOD = r"(?:(?<=ft|lb|oz|in|hr|yd|mi)\.(?= [a-z\d]|,)|(?<=lbs|hrs|yrs|min|sec|gal|pts)\.(?= [a-z\d]|,))?"
_SIGNED = rf"(?:(?<![\w)\]])(?P<minus>[{MINUS}]) ?)?"


def per(written: str) -> str:
    """The reading of "/kg" after a price: "per kilogram"; "" for "". Unknown words are kept."""
    names = [name.strip() for name in written.split("/") if name.strip()]
    return " ".join(f"per {_PER_WORDS.get(name, name)}" for name in names)


def plural(unit: str) -> str:
    """The plural of a unit's name; of "mile per hour", the plural of the first part."""
    if unit in _PLURALS:
        return _PLURALS[unit]
    head, sep, rest = unit, "", ""
    for joint in (" per ", " of ", " Celsius", " Fahrenheit", " north", " south", " east", " west"):
        if joint in unit:
            head, _, rest = unit.partition(joint)
            sep = joint
            break
    *before, last = head.split(" ")
    return " ".join([*before, _PLURALS.get(last, last + "s")]) + sep + rest


def _measure(match: re.Match[str]) -> str | None:
    groups = match.groupdict()
    sign, gap = groups["unit"], groups.get("gap") or ""
    if gap and sign in _GLUED_ONLY and not match.group().endswith("."):
        return None
    name = _UNITS[sign]
    amount = groups["amount"]
    single = (is_one(amount) and not groups.get("upto")) or gap == "-" or is_adjective(match)
    spoken = f"{number(amount)} to {number(groups['upto'])}" if groups.get("upto") else number(amount)
    minus = "minus " if groups.get("minus") else ""
    per_unit = f" per {_PER_WORDS[groups['per']]}" if groups.get("per") else ""
    return f"{minus}{spoken} {name if single else plural(name)}{per_unit}"


def _part(match: re.Match[str]) -> str | None:
    """1/4 tsp, ¾ mi, 1½ kg."""
    groups = match.groupdict()
    if groups.get("vulgar"):
        n, d = VULGAR[groups["vulgar"]]
    else:
        n, d = int(groups["n"]), int(groups["d"])
    if not 0 < n < d:
        return None
    unit = _UNITS[groups["unit"]]
    if groups["whole"]:
        part = fraction(n, d).replace("one ", "a ", 1) if n == 1 else fraction(n, d)
        return f"{number(groups['whole'])} and {part} {plural(unit)}"
    return f"{fraction(n, d)} {unit}" if n == 1 else f"{fraction(n, d)} of {'an' if unit[0] in 'aeiou' else 'a'} {unit}"


def _height(match: re.Match[str]) -> str:
    feet = f"{number(match['feet'])} foot"
    return f"{feet} {number(match['inches'])}" if match["inches"] else f"{number(match['feet'])} feet"


def _inches(match: re.Match[str]) -> str:
    name = "inch" if is_one(match["amount"]) or match["next"] in _SCREENS else "inches"
    return f"{number(match['amount'])} {name}"


_SCREENS = ("screen", "display", "monitor", "tv", "TV", "pipe", "tablet", "laptop", "panel", "vinyl", "record")
_SIDES = "|".join((*_SCREENS, "wide", "tall", "long", "deep", "thick", "high", "by", "x", "×"))


def _by(match: re.Match[str]) -> str:
    def side(text: str) -> str:
        return pair(text) if len(text) == 4 and text.isdecimal() else number(text)

    return " by ".join(side(match[name]) for name in ("a", "b", "c") if match[name])


def _times(match: re.Match[str]) -> str:
    return f"{number(match['amount'])} times"


def _percent_range(match: re.Match[str]) -> str:
    minus = "minus " if match["minus"] else ""
    return f"{minus}{number(match['a'])} percent to {number(match['b'])} percent"


def _scientific(match: re.Match[str]) -> str:
    minus = "minus " if match["sign"] and match["sign"] in MINUS else ""
    unit = f" {plural(_UNITS[match['unit']])}" if match["unit"] else ""
    return f"{number(match['amount'])} times ten to the power of {minus}{number(match['power'])}{unit}"


RULES: tuple[Rule, ...] = (
    rule(r"(?<![\w/.] )(?<![\w/.])km/h(?![\w/])", "kilometers per hour", needs=SIGNS),
    rule(
        rf"{NOT_INSIDE}(?<!\w)(?P<amount>{NUMBER})[eE](?P<sign>[{MINUS}+]?)(?P<power>\d{{1,3}})(?!\w)"
        rf"(?: ?{_UNIT}{_END})?",
        _scientific,
    ),
    rule(rf"(?<![\d.,/])(?:(?P<whole>\d{{1,3}}) ?)?(?P<vulgar>[{''.join(VULGAR)}])(?: |-)?{_UNIT}{_END}", _part),
    rule(rf"(?<![\d.,/])(?:(?P<whole>\d{{1,3}}) )?(?P<n>\d{{1,2}})/(?P<d>[1-9]\d?)(?: |-)?{_UNIT}{_END}", _part),
    rule(
        r"(?<![\d.,/])(?P<feet>\d{1,2}) ?ft\.? (?P<inches>\d{1,2}(?:\.\d)?) ?in\b(?:\.(?= [a-z]))?",
        lambda m: f"{number(m['feet'])} foot {number(m['inches'])}",
    ),
    rule(
        rf"(?<=\bper )(?P<unit>{either(_PER_WORDS)})(?![\w/])(?:\.(?= [a-z]))?",
        lambda m: _PER_WORDS[m["unit"]],
        needs=PLAIN,
    ),
    rule(r"(?<![\d.'′])(?P<feet>\d)['′’] ?(?P<inches>\d{1,2}(?:\.\d)?)(?:[\"″”]|''|’’)(?!\w)", _height),
    rule(r"(?<![\d.'′\w])(?P<feet>\d{1,3})(?P<inches>)['′](?= (?:tall|high|long|wide|deep)\b)", _height),
    rule(rf"{NOT_INSIDE}(?P<amount>\d{{1,3}}(?:\.\d{{1,2}})?)[\"″”](?= (?P<next>{_SIDES})\b)", _inches),
    rule(
        rf"{NOT_INSIDE}(?P<a>{NUMBER}) ?[x×] ?(?P<b>{NUMBER})(?: ?[x×] ?(?P<c>{NUMBER}))?(?!\w|\.\d| ?=)",
        lambda m: None if "×" in m.group() and not m["c"] and len(m["a"]) < 2 else _by(m),
    ),
    rule(rf"{NOT_INSIDE}(?P<amount>{NUMBER})[xX×](?![\w])", _times),
    rule(rf"{_SIGNED}{NOT_INSIDE}(?P<a>{NUMBER}) ?% ?[{DASHES}] ?(?P<b>{NUMBER}) ?%", _percent_range),
    rule(
        rf"{NOT_INSIDE}(?<!= )(?<![A-Za-z/⁄])(?<![A-Za-z]-)(?P<first>{NUMBER} ?{_UNIT}) ?[{DASHES}] ?"
        rf"(?={NUMBER} ?(?:{either(_UNITS)})(?:(?<=[%‰‱°])|{_END}))",
        lambda m: f"{m['first']} to ",
    ),
    rule(
        rf"{_SIGNED}{NOT_INSIDE}(?<![A-Za-z/⁄])(?<![A-Za-z]-)(?P<amount>{NUMBER})"
        rf"(?: ?[{DASHES}] ?(?P<upto>{NUMBER}))?{NOT_GOING_ON}(?P<gap>[ -]?)"
        rf"{_UNIT}(?:(?<=[%‰‱°])|{_END}){_PER_UNIT}{_PERIOD}",
        _measure,
    ),
    rule(r"(?<=degrees )[CF]\b", lambda m: _SCALES[m.group()], needs=CAPITALS),
    rule(
        rf"{_SIGNED}{NOT_INSIDE}(?P<amount>\d{{1,3}}\.\d)(?P<scale>[CF])\b",
        lambda m: f"{'minus ' if m['minus'] else ''}{number(m['amount'])} degrees {_SCALES[m['scale']]}",
    ),
)
