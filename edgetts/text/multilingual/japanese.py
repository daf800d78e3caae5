"""Japanese in the form of the model's training texts: words separated by spaces, and a few signs in words.

In: text. Out: the same, with word boundaries by MeCab and UniDic, as upstream does (extra `japanese`), or, if these are
not installed, by changes of script, with a notice. Digits stay digits, as in the training texts.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Callable
from typing import Any

from edgetts.distribution import install
from edgetts.text.traced import TracedText

WORDS_NOTICE = (
    "Japanese words are separated by changes of script only, not by a dictionary as in training: "
    f"install it with `{install('japanese')}`."
)

FindWords = Callable[[str], "list[str]"]  # the words of a text without white space, in order

_WIDE_FORM = re.compile(
    "[\uff01-\uff0b\uff0d\uff0f-\uff1e\uff20-\uff5e\uff66-\uff9f]+"
)  # without its comma, period and question mark
_NOT_MARKS = re.compile("[\uff01\uff1a\uff1b\uff08\uff09\uff3b\uff3d\uff5b\uff5d]")
_GROUPED = re.compile(r"(?<![\d.,])\d{1,3}(?:[,，]\d{3}){1,6}(?![\d,，])")
_PIECE = re.compile(r"\S+")
_DATE = re.compile(r"(?<![\d/.-])(\d{4})([/.-])(\d{1,2})\2(\d{1,2})(?![\d/.-])")
_TIME = re.compile(r"(?<![\d:：])([01]?\d|2[0-4])[:：]([0-5]\d)(?:[:：]([0-5]\d))?(?![\d:：])")
_YEN = re.compile(r"[¥￥]\s?(\d+(?:\.\d+)?)(万|億|千)?円?")
_MONEY = re.compile(r"([$€£])\s?(\d+(?:\.\d+)?)(万|億|千)?")
_CURRENCY = {"$": "ドル", "€": "ユーロ", "£": "ポンド"}
_UNIT = re.compile(r"(?<=\d)\s?(km/h|km|cm|mm|kg|mg|ml|mL|GB|MB|kB|℃|°C|%|％|‰|m²|㎡)(?![A-Za-z])")
_UNITS = {
    "km/h": "キロメートル毎時", "km": "キロメートル", "cm": "センチメートル", "mm": "ミリメートル", "kg": "キログラム",
    "mg": "ミリグラム", "ml": "ミリリットル", "mL": "ミリリットル", "GB": "ギガバイト", "MB": "メガバイト",
    "kB": "キロバイト",
    "℃": "度", "°C": "度", "%": "パーセント", "％": "パーセント", "‰": "パーミル", "m²": "平方メートル",
    "㎡": "平方メートル",
}  # fmt: skip
_RANGE = re.compile(r"(?<=[\d時分日月年円度])\s?[~〜～]\s?(?=\d|午[前後])|(?<=円)[~〜～](?!\w)")
_DAY = re.compile(r"(?<![\d/])(1[0-2]|0?[1-9])/(3[01]|[12]\d|0?[1-9])(?=\s?[(（][月火水木金土日][)）])")
_FRACTION = re.compile(r"(?<![\d/.])(\d{1,3})/(\d{1,3})(?![\d/.])")
_NUMBERED = re.compile(r"(?<![A-Za-z])[Nn]o\.\s?(?=\d)|№\s?(?=\d)")
_MINUS = re.compile(r"(?<![\w\d)）.,])[-−](?=\d)")

_PARTICLES = frozenset(
    ("は", "が", "を", "に", "で", "と", "も", "の", "へ", "や", "から", "まで", "より", "です", "だ")
)
_SCRIPTS = re.compile(
    "[\u3400-\u4dbf\u4e00-\u9fff々]+|[\u3040-\u309f]+|[\u30a0-\u30ff\uff66-\uff9f]+|[^\\W\\d_\u3040-\u30ff\u3400-\u9fff]+|\\d+|[^\\w\\s]|_"
)


def read(text: TracedText) -> TracedText:
    """`text` with full-width letters and digits as ASCII, grouped digits joined, and dates, times of day, money,
    percentages and common units in words. Numbers stay in digits."""
    text = text.substitute(_WIDE_FORM, lambda m: _plain(m.group()))
    text = text.substitute(_GROUPED, lambda m: m.group().replace(",", "").replace("，", ""))
    text = text.substitute(_DATE, lambda m: f"{m[1]}年{int(m[3])}月{int(m[4])}日")
    text = text.substitute(_DAY, lambda m: f"{int(m[1])}月{int(m[2])}日")
    text = text.substitute(_FRACTION, lambda m: f"{m[2]}分の{m[1]}")
    text = text.substitute(_NUMBERED, lambda _: "ナンバー")
    text = text.substitute(_TIME, _time)
    text = text.substitute(_YEN, lambda m: f"{m[1]}{m[2] or ''}円")
    text = text.substitute(_MONEY, lambda m: f"{m[2]}{m[3] or ''}{_CURRENCY[m[1]]}")
    text = text.substitute(_UNIT, lambda m: _UNITS[m[1]])
    return text.substitute(_RANGE, lambda _: "から").substitute(_MINUS, lambda _: "マイナス")


def _plain(wide: str) -> str:
    return "".join(char if _NOT_MARKS.match(char) else unicodedata.normalize("NFKC", char) for char in wide)


def _time(match: re.Match[str]) -> str:
    minutes, seconds = int(match[2]), match[3]
    said = f"{int(match[1])}時" + (f"{minutes}分" if minutes or seconds else "")
    return said + (f"{int(seconds)}秒" if seconds else "")


def spaced(text: TracedText, find_words: FindWords) -> TracedText:
    """`text` with a space between neighboring words; its own white space stays and is not part of a word."""
    parts: list[TracedText] = []
    done = 0
    for piece in _PIECE.finditer(text.text):
        at = piece.start()
        for word in find_words(piece.group()):
            start = text.text.index(word, at, piece.end())
            if at > piece.start():
                parts += [text.slice(done, at), TracedText(" ", text.origins[at : at + 1])]
                done = at
            at = start + len(word)
    return TracedText.join([*parts, text.slice(done, len(text))]) if parts else text


def words_by_script(text: str) -> list[str]:
    """Words by changes of script: kanji with the hiragana after them; particles are words."""
    words: list[str] = []
    for run in _SCRIPTS.findall(text):
        if _is_hiragana(run[0]) and words and _is_kanji(words[-1][-1]) and run not in _PARTICLES:
            words[-1] += run
        else:
            words.append(run)
    return words


class MecabWords:
    """Words by MeCab with UniDic. Safe to share between threads."""

    def __init__(self) -> None:
        """Raises ImportError if `fugashi` or `unidic_lite` is not installed."""
        import fugashi
        import unidic_lite

        self._tagger: Any = fugashi.Tagger(f'-Owakati -d "{unidic_lite.DICDIR}" -r "{unidic_lite.DICDIR}/mecabrc"')
        self._one_at_a_time = threading.Lock()

    def __call__(self, text: str) -> list[str]:
        with self._one_at_a_time:
            return [word.surface for word in self._tagger(text)]


def dictionary_words() -> FindWords | None:
    """Words by the dictionary, or None if it is not installed."""
    try:
        return MecabWords()
    except ImportError:
        return None


def _is_kanji(char: str) -> bool:
    return "\u3400" <= char <= "\u9fff" or char == "々"


def _is_hiragana(char: str) -> bool:
    return "\u3040" <= char <= "\u309f"
