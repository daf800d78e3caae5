"""Protects parts of a text from the number rules, and restores them afterwards.

A protected character is replaced by a placeholder, a private-use character that the rules do not change. The mapping
is one to one, so nothing is lost or mixed up if the rules move it. Protected are (facts of upstream's
`indextts/utils/front.py`): pinyin syllables with a tone, the dot between the parts of a Chinese name, and the hyphens
of terms such as `GPT-5-nano`, which a rule would read as minus; and, in addition to upstream, words that the rules
misread (`_MISREAD_ENGLISH`, `_MISREAD_CHINESE`).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from edgetts.text import pinyin
from edgetts.text.config import Language
from edgetts.text.traced import TracedText

_PLACEHOLDER_START = 0xE000  # private use area; its first 128 characters stand for ASCII
_ASCII = range(128)
_TO_PLACEHOLDER = {code: chr(_PLACEHOLDER_START + code) for code in _ASCII}
_FROM_PLACEHOLDER = {_PLACEHOLDER_START + code: chr(code) for code in _ASCII}
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_FOREIGN = re.compile(f"[{chr(_PLACEHOLDER_START)}-{chr(_PLACEHOLDER_START + len(_ASCII) - 1)}\ud800-\udfff]")

# The English rules raise on a private-use character inside a word, but do not change this tag.
_ENGLISH_HYPHEN = "<H>"
_ENGLISH_HYPHEN_BACK = re.compile(f" ?{_ENGLISH_HYPHEN} ?")

# Bounded repeats and look-behinds keep the search linear for 100 000 letters in a row.
_TERM = re.compile(r"(?<![A-Za-z])[A-Za-z][A-Za-z0-9]{0,63}(?:-[A-Za-z0-9]{1,64})+")
_NAME_GOES_ON = re.compile(r"[A-Za-z]|-\d")
_NAME_DOT = re.compile(r"(?<=[\u4e00-\u9fff])[-·—](?=[\u4e00-\u9fff])")
_NOT_IN_RANGES = re.compile(rf"{_NAME_DOT.pattern}(?!第|(?:周|星期|礼拜)[一二三四五六日天])")

# The rules read the answer "No." as "number", and the noun "Sun" as "Sunday". They are right before a number, and if no
# lower-case word follows.
_MISREAD_ENGLISH = re.compile(r"\bNo\.(?! ?\d)|\b(?:Mon|Wed|Sat|Sun)\b(?= [a-z])", re.ASCII)
# The rules take the beginning of a word after a number for a unit: "4 paper" would be read "4 pascal per".
_MISREAD_CHINESE = re.compile(r"(?:(?<=\d)|(?<=\d ))[A-Za-z]{5,}")


def clean(text: TracedText) -> TracedText:
    """`text` with lone surrogates and placeholder characters replaced by U+FFFD, one for one."""
    return text if text.text.isascii() else text.substitute(_FOREIGN, lambda _: _REPLACEMENT)


def protect(text: TracedText, language: Language) -> TracedText:
    """Cleaned `text` with placeholders for parts that the rules of `language` must not read."""
    if language == "en":
        text = text.substitute(re.compile(_ENGLISH_HYPHEN), lambda _: "< H >")
        text = text.substitute(_TERM, lambda m: m.group().replace("-", _ENGLISH_HYPHEN))
        return text.substitute(_MISREAD_ENGLISH, lambda m: _placeholder(m.group()))
    text = text.substitute(_TERM, lambda m: m.group().replace("-", _placeholder("-")))
    text = text.substitute(pinyin.SYLLABLE, lambda m: _placeholder(pinyin.spell(m[1]) + m[2]))
    text = text.substitute(_NAME_DOT, lambda _: _placeholder("-"))
    return text.substitute(_MISREAD_CHINESE, lambda m: _placeholder(m.group()))


def protect_syllables(text: TracedText, is_piece: Callable[[str], bool] | None) -> TracedText:
    """`text` with placeholders for parts that the Chinese `readings` must not read: pinyin that the vocabulary has as
    one piece (is_piece None: any), so not the "A4" of paper, and the dot between the parts of a name."""

    def spelled(match: re.Match[str]) -> str:
        if len(match[1]) == 1 and _NAME_GOES_ON.match(match.string, match.end()):
            return match.group()  # E5-2680, O2O
        piece = pinyin.spell(match[1]) + match[2]
        return _placeholder(piece) if is_piece is None or is_piece(piece.upper()) else match.group()

    return text.substitute(pinyin.SYLLABLE, spelled).substitute(_NOT_IN_RANGES, lambda _: _placeholder("-"))


def restore(text: TracedText, language: Language) -> TracedText:
    """The inverse of `protect`; also removes spaces that the rules put around a hyphen of a term."""
    if language == "en":
        text = text.substitute(_ENGLISH_HYPHEN_BACK, lambda _: "-")
    return text.translate(_FROM_PLACEHOLDER)


def _placeholder(ascii_text: str) -> str:
    return ascii_text.translate(_TO_PLACEHOLDER)
