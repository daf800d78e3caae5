"""Normalizes text of one language: to spoken words, then to the form of the model's training texts.

In: a part of a user's text and its language. Out: words, with the model's marks and letter case, annotations of
pronunciation in the model's form, and spaces between Japanese words. edgetts reads numbers and signs of all five
languages and keeps annotations and special tokens whole; upstream reads those of Chinese and English only, after
mapping the marks, and splits annotations in Japanese. Source of the order: facts of upstream's
`indextts/infer_v2_5.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from edgetts.text.config import ALL_LANGUAGES, Language, TextConfig
from edgetts.text.glossary import Glossary
from edgetts.text.multilingual import arabic, detect, japanese, pronunciation, spanish
from edgetts.text.multilingual.characters import in_case, plain_marks
from edgetts.text.multilingual.languages import SPOKEN
from edgetts.text.normalize import Normalized, TextNormalizer, single_spaces
from edgetts.text.normalizers import DEFAULT_NORMALIZER, NormalizerName
from edgetts.text.readings.language import Run
from edgetts.text.rules import NumberRules
from edgetts.text.traced import TracedText

_BY_CONTENT = TextConfig(languages=("zh", "en"), case="keep", split_cjk=False)
_WETEXT = ("zh", "zhen", "en")
_READ: dict[Language, Callable[[TracedText], TracedText]] = {
    "ja": japanese.read,
    "es": spanish.read,
    "ar": arabic.read,
}
_SPECIAL = re.compile(r"<\|[A-Za-z0-9_./]{1,24}\|>")
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_WHOLE = re.compile(r"\A.+\Z", re.DOTALL)
_NOT_IN_TEXT = "qx"  # begins and ends the placeholder of an annotation; its number in letters is between


class MultilingualNormalizer(TextNormalizer):
    """The normalizer of one model's languages and one glossary. Keeps the loaded number rules and dictionary."""

    def __init__(
        self,
        languages: Sequence[Language] = SPOKEN,
        glossary: Glossary | None = None,
        rules: NumberRules | None = None,
        *,
        kind: NormalizerName = DEFAULT_NORMALIZER,
        find_words: japanese.FindWords | None = None,
    ) -> None:
        """kind: edgetts or upstream. rules, find_words: for tests; default: upstream's number rules and the Japanese
        dictionary. Raises UsageError for an unknown kind.
        """
        super().__init__(_BY_CONTENT, glossary, rules, kind=kind)
        self.spoken = tuple(languages)
        self._find_words = find_words
        self._has_dictionary: bool | None = True if find_words else None

    def languages(self, text: str, previous: Language | None = None) -> list[Run]:
        """The languages of the parts of `text`. previous: the language before it."""
        return detect.runs(text, self.spoken, previous)

    def rewrite(
        self, text: TracedText, language: Language | None = None, languages: Sequence[Run] | None = None
    ) -> Normalized:
        """The spoken form of `text`, not yet in the model's form, with offsets and notices."""
        if language is not None:
            languages = [Run(0, len(text), language)]
        elif languages is None:
            languages = self.languages(text.text)
        notices: list[str] = []
        parts = [self.spoken_text(text.slice(run.start, run.stop), run.language, notices) for run in languages]
        return Normalized(TracedText.join(parts), tuple(notices))

    def spoken_text(self, text: TracedText, code: str, notices: list[str]) -> TracedText:
        """The spoken form of `text` in any language of the model; unchanged for one without reading rules."""
        text = text.substitute(_SURROGATE, lambda _: "\N{REPLACEMENT CHARACTER}")
        if self.kind == "upstream":
            text = plain_marks(text)
            return self._hidden(text, self._by_content(notices)) if code in _WETEXT else text
        text = text.substitute(_CONTROL, lambda _: " ")
        if code in ("zh", "en"):
            language: Language = "zh" if code == "zh" else "en"
            return self._hidden(text, lambda part: self._two(part, language, notices))
        return self._hidden(text, lambda part: self._other(single_spaces(part), code))

    def for_model(self, text: TracedText, code: str, notices: list[str]) -> TracedText:
        """Spoken text in the model's form: letter case, annotations, Japanese words, special tokens."""
        text = in_case(text, code)
        if code == "ja" and self.kind == "edgetts":
            text = self._japanese(text, notices)
        else:
            text = pronunciation.written_for_model(text)
            if code == "ja":
                text = japanese.spaced(text, self._words(notices))
        return pronunciation.upper_specials(text)

    def _by_content(self, notices: list[str]) -> Callable[[TracedText], TracedText]:
        def read(text: TracedText) -> TracedText:
            normalized = TextNormalizer.rewrite(self, text, self._upstream_language(text.text))
            notices.extend(normalized.notices)
            return normalized.text

        return read

    def _two(self, text: TracedText, language: Language, notices: list[str]) -> TracedText:
        normalized = TextNormalizer.rewrite(self, text, language)
        notices += normalized.notices
        return normalized.text

    def _other(self, text: TracedText, code: str) -> TracedText:
        for language in ALL_LANGUAGES:
            if language == code:
                text = self._glossary.apply(text, language)
                text = _READ[language](text)
        return single_spaces(plain_marks(text))

    def _hidden(self, text: TracedText, read: Callable[[TracedText], TracedText]) -> TracedText:
        """`text` read with placeholders for annotations and special tokens, which are restored afterwards."""
        spans = [(found.start, found.stop) for found in pronunciation.find(text.text)]
        if self.kind == "edgetts":
            spans += _apart([match.span() for match in _SPECIAL.finditer(text.text)], spans)
        if not spans:
            return read(text)
        mark = _NOT_IN_TEXT
        while mark in text.text.lower():
            mark += "qx"
        hidden: list[TracedText] = []
        kept: list[TracedText] = []
        done = 0
        for start, stop in sorted(spans):
            said = f"{mark}{_letters(len(kept))}{mark}"
            kept.append(text.slice(start, stop))
            hidden += [text.slice(done, start), kept[-1].substitute(_WHOLE, lambda _, said=said: said)]  # type: ignore[misc]
            done = stop
        text = read(TracedText.join([*hidden, text.slice(done, len(text))]))
        return _restored(text, kept, re.compile(rf"{mark}([a-h]+){mark}", re.IGNORECASE))

    def _japanese(self, text: TracedText, notices: list[str]) -> TracedText:
        """Words separated by spaces; a special token or a given reading is one word."""
        whole = [
            (found.start, found.stop, pronunciation.replaced(text, found)) for found in pronunciation.find(text.text)
        ]
        spans = [(start, stop) for start, stop, _ in whole]
        specials = _apart([match.span() for match in _SPECIAL.finditer(text.text)], spans)
        whole += [(start, stop, text.slice(start, stop)) for start, stop in specials]
        parts: list[TracedText] = []
        done = 0
        for start, stop, said in sorted(whole, key=lambda found: found[0]):
            parts += [japanese.spaced(text.slice(done, start), self._words(notices)), said]
            done = stop
        parts.append(japanese.spaced(text.slice(done, len(text)), self._words(notices)))
        return TracedText.join(_with_spaces(parts))

    def _words(self, notices: list[str]) -> japanese.FindWords:
        if self._find_words is None:
            found = japanese.dictionary_words()
            self._has_dictionary = found is not None
            self._find_words = found or japanese.words_by_script
        if not self._has_dictionary:
            notices.append(japanese.WORDS_NOTICE)
        return self._find_words


def _apart(spans: list[tuple[int, int]], others: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans, ascending, that overlap none of the others, which are also ascending."""
    found, place = [], 0
    for start, stop in spans:
        while place < len(others) and others[place][1] <= start:
            place += 1
        if place == len(others) or others[place][0] >= stop:
            found.append((start, stop))
    return found


def _letters(number: int) -> str:
    """A number in letters, three bits each, that occur together in no word."""
    return "".join("abcdefgh"[int(figure)] for figure in f"{number:o}")


def _restored(text: TracedText, kept: list[TracedText], pattern: re.Pattern[str]) -> TracedText:
    """`text` with placeholders replaced by the hidden text."""
    parts: list[TracedText] = []
    done = 0
    for match in pattern.finditer(text.text):
        number = int("".join(str("abcdefgh".index(letter)) for letter in match[1].lower()), 8)
        parts += [text.slice(done, match.start()), kept[number]]
        done = match.end()
    return TracedText.join([*parts, text.slice(done, len(text))])


def _with_spaces(parts: Sequence[TracedText]) -> list[TracedText]:
    """The nonempty parts, joined by spaces if they have none."""
    found: list[TracedText] = []
    for part in parts:
        if not part.text:
            continue
        if found and not found[-1].text[-1].isspace() and not part.text[0].isspace():
            found.append(TracedText(" ", part.origins[:1]))
        found.append(part)
    return found
