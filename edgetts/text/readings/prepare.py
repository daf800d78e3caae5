"""Normalizes equivalent characters for the rules of both languages.

In: text as typed. Out: text with full-width letters, digits and signs as ASCII, decimal digits of other scripts as
ASCII digits, single-character Roman numerals as digits, circled numbers and squared units decomposed, and digits
joined that are grouped by marks other than commas. The full-width comma stays: it separates numbers, whereas an ASCII
comma may group digits.
"""

from __future__ import annotations

import html
import re
import unicodedata

from edgetts.text.readings.rule import words
from edgetts.text.traced import TracedText

_BLOCKS = (
    "\uff01-\uff0b\uff0d-\uff5e"  # full-width forms, without the comma
    "\uffe0-\uffe1\uffe5-\uffe6"  # full-width currency signs
    "\u2474-\u249b\u3220-\u3229"  # numbers in parentheses and with periods
    "\u2236\u301c"  # ratio and wave dash
    "\u2460-\u2473"  # circled numbers
    "\u2080-\u2089"  # subscripts
    "\u3380-\u33df"  # squared units
    "\u2103\u2109\u2126"  # degrees Celsius and Fahrenheit, the ohm sign
    "\ufe69-\ufe6b"  # small $, % and @
    "\ufb00-\ufb06"  # ligatures: ﬁ, ﬂ
)
_ROMAN = re.compile("[\u2160-\u216b\u2170-\u217b]")  # one to twelve
_FORMS = re.compile(f"[{_BLOCKS}]")
# Digits grouped by other marks than the comma: 1'000'000, 1_000_000, 1 000 000, 10 000.
_GROUPED = re.compile(
    r"(?<![\w.,'’])(?<!\d )[1-9]\d{0,2}(?:(?:['’]\d{3}){1,5}|(?:_\d{3}){1,5}|(?: \d{3}){2,5}| 000)(?!\w|['’_ .]\d)",
    re.ASCII,
)
_GROUPED_BY_PERIODS = re.compile(r"(?<![\w.,])[1-9]\d{0,2}(?:\.\d{3}){2}(?!\w|\.\w|,\d)", re.ASCII)  # 1.000.000
# HTML entities.
_ENTITY = re.compile(r"&(?:amp|lt|gt|quot|apos|nbsp|mdash|ndash|hellip|copy|reg|euro|pound|yen|deg|times|#\d{2,5});")
# Emoticons. Each becomes one emoji, which is reported as not spoken, so that their letters are not read.
_EMOTICON = re.compile(r"(?:(?<=[\s\u3400-\u9fff])|(?<![\s\S]))(?:[:;=]['’]?-?[)(DPpOo3|/*]|[xX]D+|\^_+\^)(?![\w/)])")
_SAD = frozenset("(/|")
_NEAR = 100  # characters before an emoticon that are searched for an open parenthesis
_OTHER_FORMS = {"\u2236": ":", "\u301c": "~"}
_ASCII_DIGIT = re.compile(r"\d", re.ASCII)
# The Greek letter in place of the micro sign, in units.
_MICRO = re.compile(r"(?<=\d)(?P<gap> ?)μ(?=[mgslLFAVWH](?![A-Za-z]))")
_SEPARATOR = re.compile(r"[^\d]")
_OTHER_DIGIT = re.compile(r"[^\W_a-zA-Z0-9\u3400-\u9fff]")  # candidates: decimal digits of other scripts

# Names of single Greek letters in both languages.
GREEK = dict(
    zip(
        "αβγδεζηθικλμνξοπρστυφχψωΓΔΘΛΞΠΣΦΨΩ",
        words(
            "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma tau upsilon "
            "phi chi psi omega gamma delta theta lambda xi pi sigma phi psi omega"
        ),
        strict=True,
    )
)


def prepare(text: TracedText) -> TracedText:
    """`text` with unified characters."""
    if _ASCII_DIGIT.search(text.text):
        text = text.substitute(_GROUPED, lambda m: _SEPARATOR.sub("", m.group()))
        text = text.substitute(_GROUPED_BY_PERIODS, lambda m: _SEPARATOR.sub("", m.group()))
    if "&" in text.text:
        text = text.substitute(_ENTITY, lambda m: html.unescape(m.group()))
    text = text.substitute(_EMOTICON, _emoticon)
    if text.text.isascii():
        return text
    text = text.substitute(_ROMAN, lambda m: str(int(unicodedata.numeric(m.group()))))
    text = text.substitute(_FORMS, lambda m: _form(m.group()))
    text = text.substitute(_MICRO, lambda m: f"{m['gap']}µ")
    return text.substitute(_OTHER_DIGIT, lambda m: str(unicodedata.decimal(m.group(), m.group())))


def _emoticon(match: re.Match[str]) -> str:
    before = match.string[max(0, match.start() - _NEAR) : match.start()]
    if match.group()[-1] == ")" and before.rfind("(") > before.rfind(")"):
        return match.group()  # a closing bracket
    return "\N{SLIGHTLY FROWNING FACE}" if match.group()[-1] in _SAD else "\N{SLIGHTLY SMILING FACE}"


def superscript(text: str) -> int:
    """The value of superscript digits."""
    return int("".join(str(unicodedata.digit(char)) for char in text))


def _form(char: str) -> str:
    form = _OTHER_FORMS.get(char) or unicodedata.normalize("NFKC", char)
    return f" {form} " if "\u2460" <= char <= "\u2473" else form
