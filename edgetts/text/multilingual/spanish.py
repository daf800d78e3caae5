"""Spanish readings of numbers, dates, times of day, money, units, signs and abbreviations.

In: text with its marks as typed. Out: the same in words. Unchanged are Roman numerals except of centuries, chapters and
the like, unlisted abbreviations, and text without digits or signs. Numbers agree with the next noun by its ending.
Order matters: longer forms are read first.
"""

from __future__ import annotations

import re

from edgetts.text.multilingual import numbers
from edgetts.text.readings.rule import words
from edgetts.text.traced import TracedText

_MONTHS = words("enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre")
_NUMBER = (
    r"\d{1,3}(?:,\d{3}){1,5}\.\d{1,2}|\d{1,3}(?:,\d{3}){2,5}"  # as in Mexico and the United States
    r"|\d{1,3}(?:\.\d{3}){1,5}(?:,\d{1,9})?|\d{1,18}(?:[.,]\d{1,9})?"
)
_GROUPED = re.compile(r"\d{1,3}(?:\.\d{3})+(?:,\d+)?")
_COMMA_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+\.\d{1,2}|\d{1,3}(?:,\d{3}){2,}")  # where commas group
_LEFT = r"(?<![\w.,/:])"  # not preceded by a part of a number or word

_ABBREVIATIONS = {
    "Sr.": "señor", "Sra.": "señora", "Srta.": "señorita", "Sres.": "señores", "Dr.": "doctor", "Dra.": "doctora",
    "D.ª": "doña", "Dña.": "doña", "Ud.": "usted", "Uds.": "ustedes", "Vd.": "usted", "Vds.": "ustedes",
    "Prof.": "profesor", "Profa.": "profesora", "Lic.": "licenciado", "Ing.": "ingeniero", "Gral.": "general",
    "Avda.": "avenida", "Av.": "avenida", "Pza.": "plaza", "C/": "calle ", "pág.": "página", "págs.": "páginas",
    "tel.": "teléfono", "Tel.": "teléfono", "aprox.": "aproximadamente", "etc.": "etcétera", "p. ej.": "por ejemplo",
    "p.ej.": "por ejemplo", "EE. UU.": "Estados Unidos", "EE.UU.": "Estados Unidos", "núm.": "número", "Nº": "número",
    "n.º": "número", "N.º": "número", "nº": "número", "a. C.": "antes de Cristo", "d. C.": "después de Cristo",
    "S.A.": "ese a", "art.": "artículo", "cap.": "capítulo", "vol.": "volumen", "Sta.": "santa", "Sto.": "santo",
}  # fmt: skip
_ABBREVIATION = re.compile(
    r"(?<![\w.])(?:"
    + "|".join(re.escape(a) for a in sorted(_ABBREVIATIONS, key=len, reverse=True))
    + r")(?!\w)|(?<!\w)C/(?=\s?[A-ZÁÉÍÓÚ])"
)
_MAY_END = frozenset(("etc.", "a. C.", "d. C.", "EE. UU.", "EE.UU.", "S.A."))  # a sentence, with their own period
_SENTENCE_ENDS = re.compile(r"\s*$|\s+[A-ZÁÉÍÓÚÑ¿¡]")
_WEB = re.compile(
    r"(?<![\w@])(?:https?://)?[\w.-]{1,64}(?:@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}|\.(?:com|es|org|net|mx|ar|co|cl|eu|info)\b(?:/[\w./-]{0,100})?)",
    re.ASCII,
)
_WEB_SIGNS = {"@": " arroba ", ".": " punto ", "/": " barra ", "-": " guion ", "_": " guion bajo ", ":": " dos puntos "}
_WEB_SIGN = re.compile("[@./:_-]")
_DATE = re.compile(r"(?<![\w/.-])(\d{1,2})([/.-])(\d{1,2})\2(\d{4})(?![\w/-])")
_ISO_DATE = re.compile(r"(?<![\w/.-])(\d{4})-(\d{2})-(\d{2})(?![\w/-])")
_TIME = re.compile(r"(?<![\w:.,])([01]?\d|2[0-4])[:h]([0-5]\d)(?: ?(h|hs|horas)\b)?(?![\w:]|[.,]\d)")
_TIME_WITH_PERIOD = re.compile(r"(?<=las )([01]?\d|2[0-4])\.([0-5]\d)(?!\w|[.,]\d)")
_AM_PM = re.compile(
    r"(?<![\w.])([ap])(?:\. ?m\.|(?<=\d [ap])m\b)(?P<end>(?=\s*$|\s+(?-i:[A-ZÁÉÍÓÚ¿¡])))?", re.IGNORECASE
)
_SPACED = re.compile(r"(?<![\w.,+])(?<!\d )(?:\d{1,2}(?: \d{3}){1,4}|\d{3}(?: 000){1,4})(?![\w,]|[ .]\d)")
_PHONE = re.compile(
    r"(?<![\w.,/-])(?:\+\d{1,3}[ -])?\(?\d{2,4}\)?(?:[ -]\d{2,4}){2,4}(?![\w/-])"
    r"|(?<![\w.,/-])\d{3}-\d{4}(?![\w/-])|\+\d{8,14}\b"
)
_ORDINAL = re.compile(r"(?<![\w.,])(\d{1,3})\.?(er|[ºª]|[oa](?= ))(?!\w)")
_CENTURY = re.compile(
    r"\b([Ss]iglos?|[Cc]apítulo|[Tt]omo|[Vv]olumen|[Aa]cto|[Pp]arte)( )([IVXL]{1,7})(?:( ?[-–] ?| y )([IVXL]{1,7}))?\b"
)
_ROMAN_NAME = re.compile(
    r"\b(Felipe|Carlos|Alfonso|Fernando|Enrique|Pedro|Luis|Pablo|Pío|Benedicto|Napoleón|Guillermo|Jorge|Ricardo|Eduardo"
    r"|Jaime|Sancho|León|Gregorio|Juan|Isabel|Catalina|María) ([IVX]{1,6})\b"
)
_WOMEN = frozenset(("Isabel", "Catalina", "María"))
_ORDINAL_NAMES = 10  # the eleventh and later have cardinals
_CURRENCIES = {  # one, many, its parts, whether it is feminine
    "€": ("euro", "euros", "céntimo", "céntimos", False), "$": ("dólar", "dólares", "centavo", "centavos", False),
    "£": ("libra", "libras", "penique", "peniques", True), "¥": ("yen", "yenes", "sen", "senes", False),
    "EUR": ("euro", "euros", "céntimo", "céntimos", False), "USD": ("dólar", "dólares", "centavo", "centavos", False),
    "US$": ("dólar", "dólares", "centavo", "centavos", False), "MXN": ("peso", "pesos", "centavo", "centavos", False),
}  # fmt: skip
_SIGNS = r"US\$|[€$£¥]|EUR\b|USD\b|MXN\b"
_MONEY = re.compile(
    rf"{_LEFT}(?:(?P<before>US\$|[€$£¥]) ?(?P<first>{_NUMBER})"
    rf"|(?P<second>{_NUMBER})(?: (?P<many>millones|mil millones|mil))? ?(?P<after>{_SIGNS}))"
    r"(?:(?<=[\d€$£¥]) (?P<large>millones|mil millones|mil)\b)?(?!\w|[.,]\d)"
)
_PERCENT = re.compile(rf"(?:(?<![\w.,])(?P<minus>[-−]))?(?<![\w.,])(?P<number>{_NUMBER}) ?(?P<sign>[%‰])")
_UNITS = {
    "km/h": ("kilómetro por hora", "kilómetros por hora"), "km²": ("kilómetro cuadrado", "kilómetros cuadrados"),
    "m²": ("metro cuadrado", "metros cuadrados"), "m³": ("metro cúbico", "metros cúbicos"),
    "km": ("kilómetro", "kilómetros"),
    "cm": ("centímetro", "centímetros"), "mm": ("milímetro", "milímetros"), "m": ("metro", "metros"),
    "kg": ("kilo", "kilos"), "mg": ("miligramo", "miligramos"), "g": ("gramo", "gramos"),
    "ml": ("mililitro", "mililitros"),
    "l": ("litro", "litros"), "L": ("litro", "litros"), "°C": ("grado", "grados"), "ºC": ("grado", "grados"),
    "℃": ("grado", "grados"), "°": ("grado", "grados"), "GB": ("giga", "gigas"), "MB": ("mega", "megas"),
    "kB": ("kilobyte", "kilobytes"), "kWh": ("kilovatio hora", "kilovatios hora"), "kW": ("kilovatio", "kilovatios"),
    "W": ("vatio", "vatios"), "V": ("voltio", "voltios"), "Hz": ("hercio", "hercios"), "h": ("hora", "horas"),
    "min": ("minuto", "minutos"), "s": ("segundo", "segundos"), "ha": ("hectárea", "hectáreas"),
    "t": ("tonelada", "toneladas"),
}  # fmt: skip
_FEMININE_UNITS = frozenset(("h", "ha", "t"))
_QUANTITY = re.compile(
    rf"(?:(?<![\w.,])(?P<minus>[-−]))?(?<![\w.,])(?P<number>{_NUMBER}) ?(?P<unit>"
    + "|".join(re.escape(unit) for unit in sorted(_UNITS, key=len, reverse=True))
    + r")(?![\w/²³])"
)
_FRACTIONS = {2: ("medio", "medios"), 3: ("tercio", "tercios"), 4: ("cuarto", "cuartos"), 5: ("quinto", "quintos"),
              6: ("sexto", "sextos"), 7: ("séptimo", "séptimos"), 8: ("octavo", "octavos"), 9: ("noveno", "novenos"),
              10: ("décimo", "décimos")}  # fmt: skip
_AND_A_HALF = re.compile(r"(?<=\d) 1/2(?![\w/])")
_FRACTION = re.compile(r"(?<![\w/.,])(\d{1,3})/(\d{1,3})(?![\w/]|[.,]\d)")
_SCORE = re.compile(r"(?<![\w:.,])(\d{1,3})[-–:](\d{1,3})(?![\w:-]|[.,]\d)")
_RANGE = re.compile(r"(?<![\w.,-])(\d{1,6})[-–](\d{1,6})(?![\w-]|[.,]\d)")
_SLASH = re.compile(r"(?<=\d)/(?=\d)")
_MINUS = re.compile(r"(?<![\w\d.,)])[-−](?=\d)")
_CARDINAL = re.compile(rf"(?P<number>{_NUMBER})(?P<noun>(?: [a-záéíóúñ]+)?)")
_LETTER_DIGIT = re.compile(r"(?<=[^\W\d_])[-–]?(?=\d)|(?<=\d)(?=[^\W\d_])")
_OTHERS = {"&": " y ", "+": " más ", "=": " igual a ", "×": " por ", "÷": " entre ", "#": " número ", "@": " arroba ",
           "%": " por ciento ", "€": " euros ", "£": " libras ", "©": "", "®": "", "™": ""}  # fmt: skip
_OTHER = re.compile(f"[{re.escape(''.join(_OTHERS))}]")
_FEMININE = re.compile(r"(?<![mi])as?$|(?:ción|dad|sión)$|(?:ciones|dades|siones)$")
_FEMININE_NOUNS = frozenset(
    words(
        "noche noches vez veces tarde tardes mujer mujeres clase clases calle calles llave llaves parte partes mano "
        "manos foto fotos serie series base bases nube nubes flor flores"
    )
)
_NOT_FEMININE = frozenset(words("día días mapa mapas a hasta para"))
_AFTER_LAS = re.compile(r"\blas? $", re.IGNORECASE)
_NOT_NOUNS = frozenset(("", "de", "del", "y", "a", "o", "en", "e", "es", "por", "con", "al", "coma", "más", "menos"))
_NOUN = re.compile(r" ([a-záéíóúñ]+)")
_ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50}


def read(text: TracedText) -> TracedText:
    """`text` with numbers and signs in words."""
    text = text.substitute(_ABBREVIATION, _abbreviation)
    text = text.substitute(_WEB, _web)
    text = text.substitute(_SPACED, lambda m: m.group().replace(" ", ""))
    text = text.substitute(_CENTURY, _century)
    text = text.substitute(_ROMAN_NAME, _roman_name)
    text = text.substitute(_DATE, lambda m: _date(m, int(m[1]), int(m[3]), int(m[4])))
    text = text.substitute(_ISO_DATE, lambda m: _date(m, int(m[3]), int(m[2]), int(m[1])))
    text = text.substitute(_TIME_WITH_PERIOD, lambda m: f"{m[1]}:{m[2]}")
    text = text.substitute(_TIME, _time)
    text = text.substitute(_AM_PM, _am_pm)
    text = text.substitute(_MONEY, _money)
    text = text.substitute(
        _PERCENT, lambda m: _minus(m) + _said(m["number"]) + (" por ciento" if m["sign"] == "%" else " por mil")
    )
    text = text.substitute(_QUANTITY, _quantity)
    text = text.substitute(_ORDINAL, _ordinal)
    text = text.substitute(_AND_A_HALF, lambda m: f" y {_half(m)}").substitute(_FRACTION, _fraction)
    text = text.substitute(_PHONE, _phone)
    text = text.substitute(_SCORE, lambda m: f"{m[1]} a {m[2]}")
    text = text.substitute(_RANGE, lambda m: f"{m[1]} a {m[2]}")
    text = text.substitute(_SLASH, lambda _: " barra ")
    text = text.substitute(_MINUS, lambda _: "menos ")
    text = text.substitute(_LETTER_DIGIT, lambda _: " ")
    text = text.substitute(_CARDINAL, _cardinal)
    return text.substitute(_OTHER, lambda m: _OTHERS[m.group()])


def _parts(written: str) -> tuple[int, str]:
    """The integer part and the decimals: a period before three digits groups them, a comma does not."""
    if _COMMA_GROUPED.fullmatch(written):
        whole, _, rest = written.replace(",", "").partition(".")
    elif _GROUPED.fullmatch(written):
        whole, _, rest = written.replace(".", "").partition(",")
    else:
        whole, _, rest = written.replace(",", ".").partition(".")
    return int(whole), rest


def _said(written: str, *, feminine: bool | None = None) -> str:
    """A number in words. feminine: gender of the next noun; None: there is none."""
    if len(written) > 1 and written[0] == "0" and written.isdigit():
        return numbers.spanish_digits(written)
    whole, rest = _parts(written)
    words = numbers.spanish(whole) if feminine is None or rest else numbers.spanish_before(whole, feminine=feminine)
    if not rest:
        return words
    return f"{words} coma {numbers.decimals(rest, numbers.spanish, numbers.spanish_digits)}"


def _abbreviation(match: re.Match[str]) -> str:
    said = _ABBREVIATIONS[match.group()]
    ends = match.group() in _MAY_END and _SENTENCE_ENDS.match(match.string, match.end())
    return said + "." if ends else said


def _minus(match: re.Match[str]) -> str:
    return "menos " if match["minus"] else ""


def _web(match: re.Match[str]) -> str:
    address = re.sub(r"^https?://", "", match.group())
    said = _WEB_SIGN.sub(lambda m: _WEB_SIGNS[m.group()], address.rstrip("./"))
    return said.replace("www", "uve doble uve doble uve doble") + ("." if match.group().endswith(".") else "")


def _date(match: re.Match[str], day: int, month: int, year: int) -> str:
    if not (1 <= day <= 31 and 1 <= month <= 12):
        return match.group()
    return f"{numbers.spanish(day)} de {_MONTHS[month - 1]} de {numbers.spanish(year)}"


def _time(match: re.Match[str]) -> str:
    hour, minute = int(match[1]), int(match[2])
    said = numbers.spanish_before(hour, feminine=True)
    if minute:
        said += f" y {numbers.spanish(minute)}"
    return said + (" horas" if match[3] else "")


def _am_pm(match: re.Match[str]) -> str:
    said = "a eme" if match[1] in "aA" else "pe eme"
    return said + "." if match["end"] is not None and match.group().endswith(".") else said


def _money(match: re.Match[str]) -> str:
    currency = _CURRENCIES[match["before"] or match["after"]]
    one, many, one_part, many_parts, feminine = currency
    written = match["first"] or match["second"]
    large = match["large"] or match["many"]
    if large:
        joint = " " if large == "mil" else " de "
        return f"{_said(written, feminine=False)} {large}{joint}{many}"
    whole, rest = _parts(written)
    if len(rest) == 3 and "," in written:  # nobody writes thousandths of a dollar
        whole, rest = int(written.replace(",", "")), ""
    if len(rest) > 2:
        return f"{_said(written)} {many}"
    said = f"{numbers.spanish_before(whole, feminine=feminine)} {one if whole == 1 else many}"
    if whole and whole % 10**6 == 0:
        said = said.replace(f" {many}", f" de {many}")
    parts = int(rest.ljust(2, "0")) if rest else 0
    if not parts:
        return said
    return f"{said} con {numbers.spanish_before(parts, feminine=False)} {one_part if parts == 1 else many_parts}"


def _quantity(match: re.Match[str]) -> str:
    one, many = _UNITS[match["unit"]]
    said = _said(match["number"], feminine=match["unit"] in _FEMININE_UNITS)
    return f"{_minus(match)}{said} {one if match['number'] == '1' else many}"


def _ordinal(match: re.Match[str]) -> str:
    number, mark = int(match[1]), match[2]
    if not number:
        return match.group()
    said = numbers.spanish_ordinal(number, feminine=mark in "ªa")
    return said[:-1] if mark == "er" else said


def _fraction(match: re.Match[str]) -> str:
    above, below = int(match[1]), int(match[2])
    if 10 < above <= 31 and 1 <= below <= 12:  # a day of a year that is known
        return f"{numbers.spanish(above)} de {_MONTHS[below - 1]}"
    if below not in _FRACTIONS or not 0 < above < 10:
        return f"{numbers.spanish(above)} sobre {numbers.spanish(below)}"
    one, many = _FRACTIONS[below]
    if (above, below) == (1, 2):
        return _half(match)
    return f"{numbers.spanish_before(above, feminine=False)} {one if above == 1 else many}"


def _half(match: re.Match[str]) -> str:
    noun = _NOUN.match(match.string, match.end())
    return "media" if noun is not None and _is_feminine(noun[1]) else "medio"


def _is_feminine(noun: str) -> bool:
    return noun in _FEMININE_NOUNS or (_FEMININE.search(noun) is not None and noun not in _NOT_FEMININE)


def _century(match: re.Match[str]) -> str:
    said = f"{match[1]}{match[2]}{numbers.spanish(_roman(match[3]))}"
    return f"{said}{' y ' if 'y' in match[4] else ' a '}{numbers.spanish(_roman(match[5]))}" if match[5] else said


def _roman_name(match: re.Match[str]) -> str:
    number = _roman(match[2])
    if number > _ORDINAL_NAMES:
        return f"{match[1]} {numbers.spanish(number)}"
    return f"{match[1]} {numbers.spanish_ordinal(number, feminine=match[1] in _WOMEN)}"


def _phone(match: re.Match[str]) -> str:
    return numbers.phone(match.group(), numbers.spanish_digits, ", ", "más ")


def _cardinal(match: re.Match[str]) -> str:
    noun = match["noun"]
    word = noun.strip()
    if _AFTER_LAS.search(match.string, max(0, match.start() - 4), match.start()) and word in _NOT_NOUNS:
        return _said(match["number"], feminine=True) + noun
    if word in _NOT_NOUNS:
        return _said(match["number"]) + noun
    return _said(match["number"], feminine=_is_feminine(word)) + noun


def _roman(letters: str) -> int:
    values = [_ROMAN[letter] for letter in letters]
    return sum(
        -value if value < following else value for value, following in zip(values, [*values[1:], 0], strict=True)
    )
