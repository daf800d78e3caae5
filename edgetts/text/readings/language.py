"""Decides the language of each sentence of a text.

In: text, the languages of the model, the language before the text. Out: runs of sentences of one language. Letters
decide; digits, signs, units, addresses and names such as A4 or CO2 have no language of their own: they are read in that
of the text before, or at the beginning of the text after. Takes time linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from edgetts.text import pinyin
from edgetts.text.config import LANGUAGES, Language
from edgetts.text.readings.en_units import UNIT_SIGNS
from edgetts.text.readings.rule import words

IsPiece = Callable[[str], bool]

_CLOSING = "\"'”’)）」』】》"
_SENTENCE_END = re.compile(
    rf"[。！？!?…\n][{_CLOSING}]{{0,3}}|(?<=[^\W\d_][^\W\d_])\.[{_CLOSING}]{{0,3}}(?=\s)|\.[{_CLOSING}]{{0,3}}(?=\s?[\u4e00-\u9fff])"
)
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")
_CHINESE_MARK = re.compile("[。，、；：！？]")
_WORD = re.compile(r"(?<![A-Za-z0-9@/._-])[A-Za-z][A-Za-z'’]{0,40}(?![A-Za-z0-9@/_-]|\.\w)")
_LETTER = re.compile("[A-Za-z]")
_SYLLABLES = re.compile(r"[A-Za-z\u00fc\u00dc]{2,6}[1-5](?![0-9])")
# Words that make a sentence English even if it has a Chinese name.
_ENGLISH = frozenset(
    words(
        "a an and are as at be by did for from had has have he her his i in is it its me my not of on or our said "
        "says she that the their them there they this to was we were what when which who will with you your"
    )
)
_MIN_SHARE = 1.5  # English words per Chinese character in an English sentence


@dataclass(frozen=True)
class Run:
    """A part of a text that is read in one language."""

    start: int
    stop: int
    language: Language


def runs(
    text: str, spoken: Sequence[str], previous: Language | None = None, is_piece: IsPiece | None = None
) -> list[Run]:
    """The runs of `text`, which cover it; none for empty text.

    spoken: the languages of the model; the first one reads undecided text. previous: the language before the text.
    is_piece: whether the model's vocabulary has a syllable with its tone, such as HAO3.
    """
    known = [language for language in LANGUAGES if language in spoken]
    if len(known) == 1:
        return [Run(0, len(text), known[0])] if text else []
    spans = sentence_spans(text, _SENTENCE_END)
    judged = [(start, stop, _language(text[start:stop], is_piece)) for start, stop in spans]
    first = next((language for _, _, (language, is_sure) in judged if is_sure), None)
    weak = next((language for _, _, (language, _) in judged if language is not None), None)
    current: Language = previous or first or weak or ("zh" if spoken[0] == "zh" else "en")
    found: list[Run] = []
    for start, stop, (language, is_sure) in judged:
        if is_sure and language is not None:
            current = language
        add_run(found, Run(start, stop, current))
    return found


def add_run(found: list[Run], new: Run) -> None:
    """Add the next run; one of the same language makes the last one longer."""
    if found and found[-1].language == new.language:
        found[-1] = Run(found[-1].start, new.stop, new.language)
    else:
        found.append(new)


def sentence_spans(text: str, end: re.Pattern[str]) -> Iterator[tuple[int, int]]:
    """Start and stop of each sentence. end: matches the end of one, with the space after it."""
    start = 0
    for match in end.finditer(text):
        yield start, match.end()
        start = match.end()
    if start < len(text):
        yield start, len(text)


def _language(sentence: str, is_piece: IsPiece | None) -> tuple[Language | None, bool]:
    """The language of a sentence and whether that is certain; (None, False) if undecided."""
    n_han = len(_HAN.findall(sentence))
    if not n_han and not _LETTER.search(sentence):
        return None, False
    words = [word for word in _WORD.findall(sentence) if word not in UNIT_SIGNS and (len(word) > 1 or word in "Ia")]
    if n_han:
        is_english = (
            len(words) >= n_han * _MIN_SHARE
            and not _CHINESE_MARK.search(sentence)
            and any(word.lower() in _ENGLISH for word in words)
        )
        return ("en" if is_english else "zh"), True
    toned = [m.group() for m in _SYLLABLES.finditer(sentence) if is_toned_syllable(m.group(), is_piece)]
    if toned and len(toned) >= len(words):
        return "zh", True
    return "en", bool(words)


def is_toned_syllable(text: str, is_piece: IsPiece | None) -> bool:
    """Whether `text`, such as hao3, is pinyin that the model reads as one piece."""
    match = pinyin.SYLLABLE.fullmatch(text)
    return match is not None and (is_piece is None or is_piece(piece_of(match)))


def piece_of(match: re.Match[str]) -> str:
    """The vocabulary's spelling of a syllable matched by `pinyin.SYLLABLE`, such as HAO3."""
    return pinyin.spell(match[1]).upper() + match[2]
