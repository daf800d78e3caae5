"""Names the scripts of a text that a model cannot speak, such as Cyrillic for a model of English.

In: the characters that the model does not know, and its languages. Out: one sentence for the letters of other scripts,
and the characters that are left, which belong to no script: emoji, signs, rare Chinese characters.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

_LANGUAGE_NAMES = {"en": "English", "zh": "Chinese", "ja": "Japanese", "es": "Spanish", "ar": "Arabic"}
_CHINESE_CHARACTERS = "Chinese characters"
_KANA = "Japanese kana"
# By the first word of a character's name in Unicode.
_SCRIPTS = {
    **{
        script.upper(): f"{script} letters"
        for script in (
            *("Cyrillic", "Greek", "Arabic", "Hebrew", "Thai", "Armenian", "Georgian", "Lao", "Khmer", "Ethiopic"),
            *("Devanagari", "Bengali", "Gurmukhi", "Gujarati", "Oriya", "Tamil", "Telugu", "Kannada", "Malayalam"),
            *("Sinhala", "Tibetan", "Mongolian", "Syriac", "Thaana", "Cherokee"),
        )
    },
    "MYANMAR": "Burmese letters",
    "HANGUL": "Korean letters",
    "HIRAGANA": _KANA,
    "KATAKANA": _KANA,
    "KATAKANA-HIRAGANA": _KANA,
    "BOPOMOFO": "Bopomofo",
    "CJK": _CHINESE_CHARACTERS,
}
_MAX_SHOWN = 12  # characters of each script


def spoken_languages(languages: Sequence[str]) -> str:
    """The languages of a model by their English names: English and Chinese."""
    names = [_LANGUAGE_NAMES.get(language, language) for language in languages]
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def script_of(char: str) -> str | None:
    """The name of the letters of the script of `char`; None for Latin letters and other characters."""
    if not (char.isalpha() or unicodedata.category(char).startswith("M")):
        return None
    return _SCRIPTS.get(unicodedata.name(char, "").partition(" ")[0])


def script_notice(characters: Iterable[str], languages: Sequence[str]) -> tuple[str | None, list[str]]:
    """A sentence about the scripts of `characters`, which a model of these languages does not know, and the rest."""
    found: dict[str, list[str]] = {}
    rest: list[str] = []
    for char in characters:
        script = script_of(char)
        if script is None or (script == _CHINESE_CHARACTERS and "zh" in languages):
            rest.append(char)
        else:
            found.setdefault(script, []).append(char)
    if not found:
        return None, rest
    listed = [f"{script} ({_shown(chars)})" for script, chars in found.items()]
    what = " and ".join(part for part in (", ".join(listed[:-1]), listed[-1]) if part)
    return f"{what} cannot be spoken by this model, which speaks only {spoken_languages(languages)}.", rest


def _shown(characters: list[str]) -> str:
    more = " …" if len(characters) > _MAX_SHOWN else ""
    return " ".join(characters[:_MAX_SHOWN]) + more
