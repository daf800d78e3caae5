"""Pinyin syllables with a tone digit, by which a writer fixes a reading: `银hang2`, `XUAN4`.

In: a syllable as written. Out: the spelling of the model's pieces: V for ü, and for u after j, q and x, where it is
pronounced ü. Source: facts of upstream's `indextts/utils/front.py`.
"""

from __future__ import annotations

import re

_INITIALS = "b p m f d t n l g k h j q x zh ch sh r z c s y w"
_FINALS = (
    "a o e i u v ü ai ei ui ao ou iu ie ia ua uo ue ve üe an en in un vn ün uan van üan "
    "ang eng ing ong iao ian iang iong uai uang vang üang"
)
_TONES = "1-5"  # 5 is the neutral tone


def _either(parts: str) -> str:
    return "|".join(sorted(parts.split(), key=len, reverse=True))


SYLLABLE = re.compile(
    rf"(?<![a-z])((?:{_either(_INITIALS)})?(?:{_either(_FINALS)})|ng|er)([{_TONES}])(?![0-9])", re.IGNORECASE
)
"""One syllable with its tone: `ni3`, `LV4`, `zhong1`; not `beta1`, `voice2`, `A12`."""

_BEFORE_FRONTED_U = "JQX"
_FRONTED_U = re.compile(rf"(?<=[{_BEFORE_FRONTED_U}])U(?=$|N|E|AN)")


def spell(syllable: str) -> str:
    """`syllable` without its tone, with V for ü: `xuan` -> `XVAN`, `lü` -> `LV`, `hao` -> `hao`.

    As in upstream, a syllable without V keeps its letter case, except after j, q and x.
    """
    spelled = _FRONTED_U.sub("V", syllable.upper().replace("Ü", "V"))
    return spelled if spelled != syllable.upper() or spelled[0] in _BEFORE_FRONTED_U else syllable
