"""Marks and letter case in the form of the model's training texts.

In: text. Out: the same with one mark of each kind (first of all in upstream's order), and in the letter case of a
language. Source: facts of upstream's `indextts/utils/front.py` and `infer_v2_5.py`.
"""

from __future__ import annotations

import re

from edgetts.text.normalize import PUNCTUATION
from edgetts.text.traced import TracedText

# Upstream replaces "，" before "，，，", which becomes three commas.
_MARKS = {mark: plain for mark, plain in PUNCTUATION.items() if mark != "，，，"} | {"\n": " "}
_MARK = re.compile("|".join(re.escape(mark) for mark in sorted(_MARKS, key=len, reverse=True)))
_LOWER = frozenset(("zh", "zhen", "en", "ja"))
_UPPER = frozenset(("es",))


def plain_marks(text: TracedText) -> TracedText:
    """`text` with marks that the model knows; Arabic ones stay."""
    return text.substitute(_MARK, lambda m: _MARKS[m.group()])


def in_case(text: TracedText, code: str) -> TracedText:
    """`text` in the letter case of a language: lower for Chinese, English and Japanese, upper for Spanish, else
    unchanged."""
    if code not in _LOWER | _UPPER:
        return text
    change = str.upper if code in _UPPER else str.lower
    changed = change(text.text)
    if len(changed) == len(text):
        return text if changed == text.text else TracedText(changed, text.origins)
    return text.translate({ord(char): change(char) for char in set(text.text)})
