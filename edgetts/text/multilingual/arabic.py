"""Readings of numbers, dates, times of day, money, units and signs in standard Arabic.

In: text with its marks as typed. Out: the same in words. Vowel marks, Latin words and unlisted abbreviations stay
unchanged. Numbers are nominative, except years; those up to 99 agree with the next noun by its ending.
"""

from __future__ import annotations

import re

from edgetts.text.multilingual import numbers
from edgetts.text.readings.rule import words
from edgetts.text.traced import TracedText

_DIGITS = {ord(char): str(number % 10) for number, char in enumerate("٠١٢٣٤٥٦٧٨٩۰۱۲۳۴۵۶۷۸۹")} | {
    ord("٫"): ".",
    ord("٬"): ",",
    ord("٪"): "%",
}
_MONTHS = words("يناير فبراير مارس أبريل مايو يونيو يوليو أغسطس سبتمبر أكتوبر نوفمبر ديسمبر")
_DAY_UNITS = ("", "الحادي", "الثاني", "الثالث", "الرابع", "الخامس", "السادس", "السابع", "الثامن", "التاسع")
_HOURS = (
    "الثانية عشرة", "الواحدة", "الثانية", "الثالثة", "الرابعة", "الخامسة", "السادسة", "السابعة", "الثامنة", "التاسعة",
    "العاشرة", "الحادية عشرة",
)  # fmt: skip
_NUMBER = r"\d{1,3}(?:,\d{3}){1,5}(?:\.\d{1,9})?|\d{1,18}(?:[.,]\d{1,9})?"
_DATE = re.compile(r"(?<![\w/.-])(\d{1,2})([/.-])(\d{1,2})\2(\d{4})(?![\w/-])")
_ISO_DATE = re.compile(r"(?<![\w/.-])(\d{4})-(\d{2})-(\d{2})(?![\w/-])")
_YEAR = re.compile(
    r"((?:عام|سنة|لعام|لسنة|(?:" + "|".join(_MONTHS) + r")(?: من)?) )([12]\d{3})(?![.,/-]?\d)(?: ?(م|هـ)(?!\w))?"
)
_ERAS = {"م": " ميلادية", "هـ": " هجرية"}
_HOUR = re.compile(r"(الساعة )(1[0-2]|[1-9])(?![\d:]|[.,]\d)")
_TIME = re.compile(r"(?<![\w:.,])([01]?\d|2[0-3]):([0-5]\d)(?![\w:]|[.,]\d)")
_MONEY_WORDS = {  # one, two, three to ten, eleven and more
    "$": ("دولار", "دولاران", "دولارات", "دولارا"), "USD": ("دولار", "دولاران", "دولارات", "دولارا"),
    "€": ("يورو", "يورو", "يورو", "يورو"), "£": ("جنيه", "جنيهان", "جنيهات", "جنيها"),
    "ر.س": ("ريال", "ريالان", "ريالات", "ريالا"), "SAR": ("ريال", "ريالان", "ريالات", "ريالا"),
    "د.إ": ("درهم", "درهمان", "دراهم", "درهما"), "AED": ("درهم", "درهمان", "دراهم", "درهما"),
    "ج.م": ("جنيه", "جنيهان", "جنيهات", "جنيها"), "EGP": ("جنيه", "جنيهان", "جنيهات", "جنيها"),
}  # fmt: skip
_CURRENCY = "|".join(re.escape(sign) for sign in _MONEY_WORDS)
_MONEY = re.compile(
    rf"(?:(?P<before>{_CURRENCY}) ?(?P<first>{_NUMBER})|(?<![\w.,])(?P<second>{_NUMBER}) ?(?P<after>{_CURRENCY}))"
    r"(?!\w|[.,]\d)"
)
_UNITS = {
    "كم/س": ("كيلومتر في الساعة", "كيلومتران في الساعة", "كيلومترات في الساعة", "كيلومترا في الساعة"),
    "km/h": ("كيلومتر في الساعة", "كيلومتران في الساعة", "كيلومترات في الساعة", "كيلومترا في الساعة"),
    "كم": ("كيلومتر", "كيلومتران", "كيلومترات", "كيلومترا"), "km": ("كيلومتر", "كيلومتران", "كيلومترات", "كيلومترا"),
    "سم": ("سنتيمتر", "سنتيمتران", "سنتيمترات", "سنتيمترا"), "cm": ("سنتيمتر", "سنتيمتران", "سنتيمترات", "سنتيمترا"),
    "م²": ("متر مربع", "متران مربعان", "أمتار مربعة", "مترا مربعا"), "m": ("متر", "متران", "أمتار", "مترا"),
    "كغ": ("كيلوغرام", "كيلوغرامان", "كيلوغرامات", "كيلوغراما"),
    "كجم": ("كيلوغرام", "كيلوغرامان", "كيلوغرامات", "كيلوغراما"),
    "kg": ("كيلوغرام", "كيلوغرامان", "كيلوغرامات", "كيلوغراما"), "g": ("غرام", "غرامان", "غرامات", "غراما"),
    "°C": ("درجة مئوية", "درجتان مئويتان", "درجات مئوية", "درجة مئوية"),
    "°م": ("درجة مئوية", "درجتان مئويتان", "درجات مئوية", "درجة مئوية"),
    "℃": ("درجة مئوية", "درجتان مئويتان", "درجات مئوية", "درجة مئوية"), "°": ("درجة", "درجتان", "درجات", "درجة"),
}  # fmt: skip
_FEMININE_SIGNS = frozenset(("°C", "°م", "℃", "°"))
_QUANTITY = re.compile(
    rf"(?<![\w.,])(?P<number>{_NUMBER}) ?(?P<unit>"
    + "|".join(re.escape(unit) for unit in sorted(_UNITS, key=len, reverse=True))
    + r")(?![\w/²])"
)
_PERCENT = re.compile(rf"(?<![\w.,])(?P<number>{_NUMBER}) ?%")
_PHONE = re.compile(
    r"(?<![\w.,/-])(?:\+\d{1,3}[ -])?\d{2,4}(?:[ -]\d{2,4}){2,4}(?![\w/-])"
    r"|(?<![\w.,/-])\d{3}-\d{4}(?![\w/-])|\+\d{8,14}\b"
)
_FRACTIONS = {
    (1, 2): "نصف",
    (1, 3): "ثلث",
    (2, 3): "ثلثان",
    (1, 4): "ربع",
    (3, 4): "ثلاثة أرباع",
    (1, 5): "خمس",
    (1, 8): "ثمن",
    (1, 10): "عشر",
}
_FRACTION = re.compile(r"(?<![\w/.,])(\d{1,3})/(\d{1,3})(?![\w/]|[.,]\d)")
_RANGE = re.compile(r"(?<![\w.,-])(\d{1,6})[-–](\d{1,6})(?![\w-]|[.,]\d)")
_MINUS = re.compile(r"(?<![\w.,)])[-−](?=\d)")
# Between letters and digits; particles of one letter are written with the number.
_EDGE = re.compile(r"(?<=[A-Za-z])-(?=\d)|(?<=[^\W\d_])(?<!\b[وبلفك])(?=\d)|(?<=\d)(?=[^\W\d_])")
_CARDINAL = re.compile(rf"(?P<number>{_NUMBER})(?P<noun>(?: [\u0621-\u0652]{{2,30}})?)")
_OTHERS = {
    "&": " و ",
    "+": " زائد ",
    "=": " يساوي ",
    "×": " في ",
    "÷": " على ",
    "#": " رقم ",
    "%": " بالمئة ",
    "@": " آت ",
}
_OTHER = re.compile(f"[{re.escape(''.join(_OTHERS))}]")
_MARKS = re.compile("[\u064b-\u0652]")  # short vowels
_CONJUNCTION = "و"


def read(text: TracedText) -> TracedText:
    """`text` with numbers and signs in words."""
    text = text.translate(_DIGITS)
    text = text.substitute(_DATE, lambda m: _date(m, int(m[1]), int(m[3]), int(m[4])))
    text = text.substitute(_ISO_DATE, lambda m: _date(m, int(m[3]), int(m[2]), int(m[1])))
    text = text.substitute(_YEAR, _year)
    text = text.substitute(_HOUR, lambda m: m[1] + _HOURS[int(m[2]) % 12])
    text = text.substitute(_TIME, lambda m: _time(int(m[1]), int(m[2])))
    text = text.substitute(
        _MONEY, lambda m: _counted(m["first"] or m["second"], _MONEY_WORDS[m["before"] or m["after"]])
    )
    text = text.substitute(_MINUS, lambda _: "سالب ")
    text = text.substitute(_PERCENT, lambda m: f"{_said(m['number'])} بالمئة")
    text = text.substitute(
        _QUANTITY, lambda m: _counted(m["number"], _UNITS[m["unit"]], feminine=m["unit"] in _FEMININE_SIGNS)
    )
    text = text.substitute(_FRACTION, _fraction)
    text = text.substitute(_PHONE, _phone)
    text = text.substitute(_RANGE, lambda m: f"{_said(m[1])} إلى {numbers.arabic_oblique(_said(m[2]))}")
    text = text.substitute(_EDGE, lambda _: " ")
    text = text.substitute(_CARDINAL, _cardinal)
    return text.substitute(_OTHER, lambda m: _OTHERS[m.group()])


def _parts(written: str) -> tuple[int, str]:
    if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", written):
        whole, _, rest = written.replace(",", "").partition(".")
    else:
        whole, _, rest = written.replace(",", ".").partition(".")
    return int(whole), rest


def _said(written: str, *, feminine: bool = False) -> str:
    """A number in words."""
    if len(written) > 1 and written[0] == "0" and written.isdigit():
        return numbers.arabic_digits(written)
    whole, rest = _parts(written)
    words = numbers.arabic_feminine(whole) if feminine and not rest else numbers.arabic(whole)
    if not rest:
        return words
    return f"{words} فاصلة {numbers.decimals(rest, numbers.arabic, numbers.arabic_digits)}"


def _counted(written: str, noun: tuple[str, str, str, str], *, feminine: bool = False) -> str:
    """A number and its noun: one dollar, two dollars in one word, three to ten with the plural, more with the
    singular."""
    one, two, few, many = noun
    whole, rest = _parts(written)
    if rest:
        return f"{_said(written)} {one}"
    if whole == 1:
        return f"{one} {'واحدة' if feminine else 'واحد'}"
    if whole == 2:
        return two
    last = whole % 100
    form = few if 3 <= last <= 10 else many if last > 10 else one
    words = _said(written, feminine=feminine)
    if last == 0 and words.endswith("ان"):
        words = words[:-1]  # two hundred and two thousand lose their ending before a noun
    return f"{words} {form}"


def _date(match: re.Match[str], day: int, month: int, year: int) -> str:
    if not (1 <= day <= 31 and 1 <= month <= 12):
        return match.group()
    return f"{_day(day)} من {_MONTHS[month - 1]} عام {numbers.arabic_oblique(numbers.arabic(year))}"


def _year(match: re.Match[str]) -> str:
    era = _ERAS[match[3]] if match[3] else ""
    return match[1] + numbers.arabic_oblique(numbers.arabic(int(match[2]))) + era


def _day(number: int) -> str:
    """The day of a month, as an ordinal: "الثاني عشر"."""
    if number in (1, 10):
        return "الأول" if number == 1 else "العاشر"
    tens, units = divmod(number, 10)
    if tens == 0:
        return _DAY_UNITS[units]
    if tens == 1:
        return f"{_DAY_UNITS[units]} عشر"
    whole = "العشرين" if tens == 2 else "الثلاثين"
    return f"{_DAY_UNITS[units]} و{whole}" if units else whole


def _time(hour: int, minute: int) -> str:
    said = _HOURS[hour % 12]
    if not minute:
        return said
    if minute in (15, 30):
        return f"{said} {'والربع' if minute == 15 else 'والنصف'}"
    if minute <= 2:
        return f"{said} {'ودقيقة' if minute == 1 else 'ودقيقتان'}"
    return f"{said} و{numbers.arabic_feminine(minute)} {'دقائق' if minute <= 10 else 'دقيقة'}"


def _fraction(match: re.Match[str]) -> str:
    above, below = int(match[1]), int(match[2])
    return (
        _FRACTIONS.get((above, below)) or f"{numbers.arabic(above)} على {numbers.arabic_oblique(numbers.arabic(below))}"
    )


def _phone(match: re.Match[str]) -> str:
    return numbers.phone(match.group(), numbers.arabic_digits, "، ", "زائد ")


def _cardinal(match: re.Match[str]) -> str:
    noun = _MARKS.sub("", match["noun"].strip())
    feminine = noun.endswith(("ات", "ة")) and not noun.startswith(_CONJUNCTION)
    return _said(match["number"], feminine=feminine) + match["noun"]
