"""Phones of words that the lexicon lacks: inflections and compounds of words that it has, letters, or by spelling.

In: a word in capitals, its letter case in the text, and a lookup in the lexicon. Out: its phones, several words for a
spelled one, or None. Rules come first where they are certain; the pronouncer, which knows no words, reads the rest.
Deterministic, and bounded by the length of the word. Does not know texts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from edgetts.text.pronouncer import MAX_LETTERS, Pronouncer

LookUp = Callable[[str], str | None]

STRESS = "ˈ"
_VOWEL = re.compile("aʊ|aɪ|eɪ|oʊ|ɔɪ|[aeiouæɑɔəɚɛɜɪʊʌ]")
_SIBILANT = re.compile(r"[szʃʒ]$")  # also tʃ and dʒ
_VOICELESS = re.compile(r"[ptkfθ]$")
_DENTAL = re.compile(r"[td]$")

_PLAIN = re.compile(r"[A-Z]+")
_RUNS = re.compile(r"(.)\1{2,}")  # SOOOO
_SHORTEST_STEM = 3
_SHORTEST_PART = 4  # of a compound: CAR and PET are no part of CARPET
_NO_PART = re.compile("ABLE|ABILITY|WARD|SHIP|SOME")  # the second, which is an ending
_VOWEL_LETTERS = frozenset("AEIOUY")
_LONGEST_SPELLED = 6  # letters; more without a vowel are a sound, or nothing
_LONGEST_SHORT = 3  # letters in capitals, which are spelled even with a vowel: EPA, UAE
_NO_START = re.compile(
    r"(?![BCDFGKPSTVWZ]?[HLRWY]?[AEIOUY]|S[CKLMNPQTW][LRHW]?[AEIOUY]|[JMNQ]U?[AEIOUY]|[HLRXY][AEIOUY]"
    r"|KN|PH|TH|CH|SH|WR|GN|PS)"
)
_NO_END = re.compile(r".*(?:[BCDFGHJKLMNPQRSTVWXZ]{4}|[BDFGHJKPQTVWXZ][BCDFGJKMNPQRVWXZ]|[JQV]|[MN][BFGHJKLQRVWXZ])$")

_SHORT_STEM = re.compile(r"(?:.*[^AEIOU])?[AEIOUY][^AEIOUYWX]|.*[CGSVZU]")  # more often with a silent E: BAR of BARING


def _single(stem: str) -> str | None:
    """RUNN of RUNNING as RUN."""
    doubled = len(stem) > 2 and stem[-1] == stem[-2] and stem[-1] not in "AEIOUYHWXSLZ"
    return stem[:-1] if doubled or (len(stem) > 2 and stem[-2:] == "LL") else None


def _silent(stem: str) -> str | None:
    """BARE of BARING."""
    return stem + "E" if _SHORT_STEM.fullmatch(stem) else None


# Ending, and what the stem can be: as it stands, with E, without a doubled consonant, with Y.
_STEMS: Mapping[str, tuple[LookUp, ...]] = {
    "S": (lambda w: None if w.endswith(("S", "X", "Z", "CH", "SH", "I", "U")) else w,),
    "ES": (lambda w: w + "E", lambda w: w if w.endswith(("S", "X", "Z", "H", "O")) else None),
    "IES": (lambda w: w + "Y",),
    "ED": (_silent, _single, lambda w: w, lambda w: w + "E"),
    "IED": (lambda w: w + "Y",),
    "ING": (_silent, _single, lambda w: w, lambda w: w + "E"),
    "ER": (_silent, _single, lambda w: w, lambda w: w + "E"),
    "ERS": (_silent, _single, lambda w: w, lambda w: w + "E"),
}


def plural(phones: str) -> str:
    """With S or 'S: cats, dogs, boxes."""
    if _SIBILANT.search(phones):
        return with_syllable(phones, "ɪz")
    return phones + ("s" if _VOICELESS.search(phones) else "z")


def past(phones: str) -> str:
    """With ED: walked, played, wanted."""
    if _DENTAL.search(phones):
        return with_syllable(phones, "ɪd")
    return phones + ("t" if _VOICELESS.search(phones) or phones[-1:] in ("s", "ʃ") else "d")


def with_syllable(phones: str, ending: str) -> str:
    """With an unstressed syllable after it. A word of one vowel has no stress mark in the lexicon; now it needs one."""
    if STRESS not in phones and len(_VOWEL.findall(phones)) == 1:
        phones = _VOWEL.sub(lambda vowel: STRESS + vowel.group(), phones)
    return phones + ending


def stressed(phones: str) -> str:
    """With one stress, as the lexicon has it: on the first vowel of several if none has it, on none of a single one."""
    vowels = len(_VOWEL.findall(phones))
    first, mark, rest = phones.partition(STRESS)
    phones = first + (mark if vowels > 1 else "") + rest.replace(STRESS, "")
    if mark or vowels < 2:
        return phones
    return _VOWEL.sub(lambda vowel: STRESS + vowel.group(), phones, count=1)


_SUFFIXED: Mapping[str, Callable[[str], str]] = {
    "S": plural,
    "ES": plural,
    "IES": plural,
    "ED": past,
    "IED": past,
    "ING": lambda phones: with_syllable(phones, "ɪŋ"),
    "ER": lambda phones: with_syllable(phones, "ɚ"),
    "ERS": lambda phones: with_syllable(phones, "ɚz"),
}


class UnknownWords:
    """Finds phones for words that are not in the lexicon. Safe to share between threads."""

    def __init__(self, look_up: LookUp, letter: LookUp, pronouncer: Pronouncer) -> None:
        """look_up: the phones that the lexicon has of a word in capitals; letter: the name of a letter."""
        self._look_up = look_up
        self._letter = letter
        self._pronouncer = pronouncer

    def phones(self, word: str, *, is_capitals: bool = False, is_name: bool = False) -> str | None:
        """Phones of `word`, in capitals; None: it has other letters, or too many.

        is_capitals: it stands in capitals in a text that is not all capitals. is_name: it begins with one within a
        sentence.
        """
        if not _PLAIN.fullmatch(word) or len(word) > MAX_LETTERS:
            return None
        if _RUNS.search(word):
            return self._drawn_out(word)
        is_sayable = bool(_VOWEL_LETTERS & set(word)) or len(word) > _LONGEST_SPELLED
        if not is_sayable or (is_capitals and is_spelled(word)):
            return self.spelled(word)
        known = self.inflected(word) or (None if is_name else self.compound(word))
        return known or self._by_spelling(word)

    def spelled(self, word: str) -> str | None:
        """The names of the letters, a word each."""
        names = [self._letter(letter) for letter in word]
        return None if None in names else " ".join(name for name in names if name)

    def inflected(self, word: str) -> str | None:
        """Plural, third person, past, -ing and -er of a known word."""
        for ending, stems in _STEMS.items():  # the first that gives a known word
            if not word.endswith(ending) or len(word) - len(ending) < _SHORTEST_STEM - 1:
                continue
            for of in stems:
                stem = of(word.removesuffix(ending))
                phones = self._look_up(stem) if stem and len(stem) >= _SHORTEST_STEM else None
                if phones is not None:
                    return _SUFFIXED[ending](phones)
        return None

    def compound(self, word: str) -> str | None:
        """Two known words, the first with the stress: the most even split. The second may be inflected."""
        places = range(_SHORTEST_PART, len(word) - _SHORTEST_PART + 1)
        for place in sorted(places, key=lambda place: abs(2 * place - len(word))):
            first, second = self._look_up(word[:place]), self._look_up(word[place:])
            if first is not None and second is None:
                second = self.inflected(word[place:])
            if first is not None and second is not None and not _NO_PART.match(word[place:]):
                return with_syllable(first, second.replace(STRESS, ""))
        return None

    def _drawn_out(self, word: str) -> str | None:
        """SOOOO as SO: runs of a letter as two, or one, whatever is known."""
        for kept in (r"\1\1", r"\1"):
            shorter = _RUNS.sub(kept, word)
            known = self._look_up(shorter)
            if known is not None:
                return known
        return self._by_spelling(shorter)

    def _by_spelling(self, word: str) -> str | None:
        phones = self._pronouncer.phones(word)
        return None if phones is None else stressed(phones)


def is_spelled(word: str) -> bool:
    """Whether capitals are read letter by letter: few, without a vowel, or with an edge that nobody can say."""
    if len(word) <= _LONGEST_SHORT or not _VOWEL_LETTERS & set(word):
        return True
    return len(word) <= _LONGEST_SPELLED and (_NO_START.match(word) is not None or _NO_END.match(word) is not None)
