"""Converts traditional Chinese characters to simplified ones, which the model knows.

In: text. Out: the same, character by character. Uses the table in `wetext`, as upstream does, once for each distinct
character that may be traditional: those outside GB 2312, the simplified character set, and one in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from edgetts.text.traced import TracedText

_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_IN_BOTH_SETS = frozenset("後")  # traditional although in GB 2312
# Traditional characters that upstream's table does not convert.
_MISSING_IN_TABLE = {"瞭": "了", "於": "于", "纔": "才", "祂": "他", "囉": "啰", "牠": "它", "祇": "只"}
_PARTICLE = re.compile("(?<![名顯显原專专譯译土巨遺遗論论拙新編编卓昭所])著(?![名作者稱称書书述錄录稿])")
_DRY_NOT_NAME = re.compile("乾(?![坤隆卦陵元])")


class Simplifier:
    """Caches converted characters; safe to share between threads."""

    def __init__(self, convert: Callable[[str], str] | None = None) -> None:
        """convert: for tests; default: `wetext`'s table, loaded on first use."""
        self._convert = convert
        self._known: dict[str, str] = {}

    def simplify(self, text: TracedText, *, as_upstream: bool = False) -> TracedText:
        """`text` in simplified characters. as_upstream: convert only those that upstream converts."""
        found = {char for char in set(_HAN.findall(text.text)) if is_maybe_traditional(char)}
        new = sorted(found - self._known.keys())
        if new:
            convert = self._convert or _load()
            converted = convert("".join(new))
            self._known.update(zip(new, converted, strict=True))
        table = {ord(char): self._known[char] for char in found}
        if as_upstream or not table:
            return text.translate(table) if table else text
        # In traditional text 著 stands for 着 or 著, and 乾 mostly for 干.
        text = text.substitute(_PARTICLE, lambda _: "着").substitute(_DRY_NOT_NAME, lambda _: "干")
        return text.translate(table | {ord(char): simple for char, simple in _MISSING_IN_TABLE.items()})


@lru_cache(maxsize=1 << 15)  # of the characters in use
def is_maybe_traditional(char: str) -> bool:
    """Whether `char` has to be looked up in the table."""
    try:
        char.encode("gb2312")
    except UnicodeEncodeError:
        return True
    return char in _IN_BOTH_SETS


def _load() -> Callable[[str], str]:
    from wetext import preprocess

    def convert(text: str) -> str:
        simple: str = preprocess(text, traditional_to_simple=True)
        return simple

    return convert
