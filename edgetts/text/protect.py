"""Takes parts of a text out of reach of the number rules, and puts them back afterwards.

A protected character is written as its "shadow", a private-use character that the rules carry along
unread. The mapping is one to one, so nothing can be mixed up or lost, whatever the rules move around.
What is protected (facts of upstream's `indextts/utils/front.py`): pinyin syllables with a tone, the dot
between the parts of a Chinese name, and the hyphens of terms such as `GPT-5-nano`, in which a rule would
see a minus sign. Protected on top of that: words that the rules misread (see `_MISREAD_ENGLISH`,
`_MISREAD_CHINESE`).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from edgetts.text import pinyin
from edgetts.text.config import Language
from edgetts.text.traced import TracedText

_SHADOW_START = 0xE000  # private use area; the shadows of ASCII are its first 128 characters
_ASCII = range(128)
_TO_SHADOW = {code: chr(_SHADOW_START + code) for code in _ASCII}
_FROM_SHADOW = {_SHADOW_START + code: chr(code) for code in _ASCII}
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_FOREIGN = re.compile(f"[{chr(_SHADOW_START)}-{chr(_SHADOW_START + len(_ASCII) - 1)}\ud800-\udfff]")

# The English rules raise on a private-use character inside a word, and carry this tag along instead.
_ENGLISH_HYPHEN = "<H>"
_ENGLISH_HYPHEN_BACK = re.compile(f" ?{_ENGLISH_HYPHEN} ?")

# Bounded repeats and look-behinds keep the search linear on 100 000 letters in a row.
_TERM = re.compile(r"(?<![A-Za-z])[A-Za-z][A-Za-z0-9]{0,63}(?:-[A-Za-z0-9]{1,64})+")
_NAME_GOES_ON = re.compile(r"[A-Za-z]|-\d")
_NAME_DOT = re.compile(r"(?<=[\u4e00-\u9fff])[-·—](?=[\u4e00-\u9fff])")

# The rules read "No." as "number" also where it is an answer, and "Sun" as "Sunday" also where the sun is
# meant: they are right before a number, and where no small word follows.
_MISREAD_ENGLISH = re.compile(r"\bNo\.(?! ?\d)|\b(?:Mon|Wed|Sat|Sun)\b(?= [a-z])", re.ASCII)
# A unit is seen in the beginning of a word after a number: "4 paper" would be read "4 pascal per".
_MISREAD_CHINESE = re.compile(r"(?:(?<=\d)|(?<=\d ))[A-Za-z]{5,}")


def clean(text: TracedText) -> TracedText:
    """`text` with what cannot be text (lone surrogates) or is used here (shadows) as U+FFFD, one for one."""
    return text if text.text.isascii() else text.substitute(_FOREIGN, lambda _: _REPLACEMENT)


def protect(text: TracedText, language: Language) -> TracedText:
    """`text`, cleaned before, with shadows where the rules for `language` must not read."""
    if language == "en":
        text = text.substitute(re.compile(_ENGLISH_HYPHEN), lambda _: "< H >")
        text = text.substitute(_TERM, lambda m: m.group().replace("-", _ENGLISH_HYPHEN))
        return text.substitute(_MISREAD_ENGLISH, lambda m: _shadow(m.group()))
    text = text.substitute(_TERM, lambda m: m.group().replace("-", _shadow("-")))
    text = text.substitute(pinyin.SYLLABLE, lambda m: _shadow(pinyin.spell(m[1]) + m[2]))
    text = text.substitute(_NAME_DOT, lambda _: _shadow("-"))
    return text.substitute(_MISREAD_CHINESE, lambda m: _shadow(m.group()))


def protect_syllables(text: TracedText, is_piece: Callable[[str], bool] | None) -> TracedText:
    """`text` with shadows for what our own Chinese rules must not read: pinyin that the vocabulary has as one piece
    (None: any), so not the "A4" of paper, and the dot between the parts of a name."""

    def spelled(match: re.Match[str]) -> str:
        if len(match[1]) == 1 and _NAME_GOES_ON.match(match.string, match.end()):
            return match.group()  # E5-2680, O2O
        piece = pinyin.spell(match[1]) + match[2]
        return _shadow(piece) if is_piece is None or is_piece(piece.upper()) else match.group()

    return text.substitute(pinyin.SYLLABLE, spelled).substitute(_NAME_DOT, lambda _: _shadow("-"))


def restore(text: TracedText, language: Language) -> TracedText:
    """The inverse of `protect`; spaces that the rules put around a hyphen of a term go too."""
    if language == "en":
        text = text.substitute(_ENGLISH_HYPHEN_BACK, lambda _: "-")
    return text.translate(_FROM_SHADOW)


def _shadow(ascii_text: str) -> str:
    return ascii_text.translate(_TO_SHADOW)
