"""Annotations of pronunciation in a text: `<read|R EH1 D>` (CMU phones), `<行|XING2>` (pinyin), `<明日|あす>`.

In: text. Out: the same with each annotation in the model's form: kana unchanged, other readings between two special
tokens, which depend on whether the word is Chinese. Also finds the spans of annotations and special tokens, so that
they are neither read nor cut. Linear in the text. Source: facts of upstream's `indextts/infer_v2_5.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgetts.text.traced import TracedText

_FOR_LATIN = "<|SPECIAL_TOKEN_1|>"
_FOR_CHINESE = "<|SPECIAL_TOKEN_2|>"
_SIGN = re.compile(r"[<|>\n]")
_CHINESE = re.compile("[\u4e00-\u9fff]")
_KANA = re.compile("[\u3040-\u309f]+|[\u30a0-\u30ff]+")  # all hiragana or all katakana, which includes the long mark
_SPECIAL = re.compile(r"<\|([^|]+)\|>")
_WHOLE = re.compile(r"\A.+\Z", re.DOTALL)
# The special tokens around a reading in the model's form, and its spoken part.
SPOKEN = re.compile(r"(<\|SPECIAL_TOKEN_\d+\|>)(.*?)<\|SPECIAL_TOKEN_\d+\|>")


@dataclass(frozen=True)
class Annotation:
    """`text[start:stop]` is `<word|reading>`."""

    start: int
    stop: int
    word: str
    reading: str  # as written


def find(text: str) -> list[Annotation]:
    """The annotations of `text` in order. A word has no `|`, `>` or line feed, a reading no `>` or line feed."""
    found: list[Annotation] = []
    opened = bar = -1
    for match in _SIGN.finditer(text):
        at, sign = match.start(), match.group()
        if opened < 0:
            opened = at if sign == "<" else -1
        elif bar < 0 and sign == "<":
            continue  # a word may hold it
        elif bar < 0 and sign == "|" and at > opened + 1:
            bar = at
        elif bar >= 0 and sign in "<|":
            continue
        else:
            if bar >= 0 and sign == ">" and at > bar + 1:
                found.append(Annotation(opened, at + 1, text[opened + 1 : bar], text[bar + 1 : at]))
            opened = bar = -1
    return found


def reading(annotation: Annotation) -> str:
    """The reading in the model's form."""
    said = annotation.reading.upper()
    if _KANA.fullmatch(said):
        return f" {said} "
    token = _FOR_CHINESE if _CHINESE.search(annotation.word) else _FOR_LATIN
    return f"{token}{said}{token}"


def written_for_model(text: TracedText) -> TracedText:
    """`text` with each annotation in the model's form."""
    parts: list[TracedText] = []
    done = 0
    for annotation in find(text.text):
        parts += [text.slice(done, annotation.start), replaced(text, annotation)]
        done = annotation.stop
    return TracedText.join([*parts, text.slice(done, len(text))]) if parts else text


def replaced(text: TracedText, annotation: Annotation) -> TracedText:
    """The model's form of one annotation of `text`."""
    said = reading(annotation)
    return text.slice(annotation.start, annotation.stop).substitute(_WHOLE, lambda _: said)


def upper_specials(text: TracedText) -> TracedText:
    """`text` with the names between `<|` and `|>` in capitals, as upstream writes them."""
    return text.substitute(_SPECIAL, lambda m: m.group() if m.group().isupper() else f"<|{m[1].upper()}|>")
