"""Written text becomes text to be spoken: the whole way from what a user typed to the tokenizer.

In: any string. Out: one line without digits, in the few punctuation marks that the model knows. The
steps, in order: white space, contractions, glossary, protection (`shadow`), numbers and signs, punctuation.
Numbers and signs are read in one of two ways: by our own rules (`readings`, the default), each sentence in
its language, or as upstream reads them (`rules`), the whole text in one. Source of the order and the tables:
facts of upstream's `indextts/utils/front.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from edgetts.errors import UsageError
from edgetts.text import pinyin
from edgetts.text import protect as shadow
from edgetts.text.config import LANGUAGES, Language, TextConfig
from edgetts.text.glossary import Glossary
from edgetts.text.readings import en_lines, english
from edgetts.text.readings.language import IsPiece, Run, runs
from edgetts.text.readings.prepare import prepare
from edgetts.text.readings.script import Simplifier
from edgetts.text.rules import NumberRules
from edgetts.text.traced import TracedText

NormalizerName = Literal["edgetts", "upstream"]
NORMALIZERS: tuple[NormalizerName, ...] = get_args(NormalizerName)
DEFAULT_NORMALIZER: NormalizerName = "edgetts"

_SPACE = re.compile(r"\s+")
_NOT_SINGLE = re.compile(r"\s{2,}|[^\S ]")
_SMALL_WORDS = re.compile(r"[a-z]+(?: [a-z]+)*")
_CONTRACTION = re.compile(r"\b(what|where|who|which|how|there|here|it|she|he|that|this)'s\b", re.IGNORECASE | re.ASCII)

_CHINESE = re.compile(r"[\u4e00-\u9fff]")
_LATIN = re.compile(r"[A-Za-z]")
_EMAIL = re.compile(r"[A-Za-z0-9]+@[A-Za-z0-9]+\.[A-Za-z]+")

# What upstream maps. Longer keys are tried first.
_PUNCTUATION = {
    **dict.fromkeys(("：", "；", "，", "、", ":", ";"), ","),
    "。": ".",
    "！": "!",
    "？": "?",
    **dict.fromkeys(("...", ",,,", "，，，", "……"), "…"),
    **dict.fromkeys("·—～~", "-"),
    **dict.fromkeys('“”"‘’（）()《》【】[]「」', "'"),
}
# What upstream leaves to the tokenizer, which then says "unknown": same meaning, other code points.
_MORE_PUNCTUATION = {
    **dict.fromkeys("–―‐‑−•‣◦▪●■◆", "-"),  # bullets as the hyphen of a list
    **dict.fromkeys("『』〈〉〔〕｛｝{}«»‹›„‚`´″′﹁﹂﹃﹄", "'"),
    **dict.fromkeys("؛،､", ","),
    **dict.fromkeys("｡।", "."),
    "؟": "?",
    "‼": "!",
}
_MARKS = {**_PUNCTUATION, **_MORE_PUNCTUATION}
_MARK = re.compile("|".join(re.escape(mark) for mark in sorted(_MARKS, key=len, reverse=True)))
_LEFTOVER_DOLLAR = {ord("$"): "."}  # as upstream does after the Chinese rules


@dataclass(frozen=True)
class Normalized:
    """What is to be spoken, traced to the original, and sentences for the user on what went wrong."""

    text: TracedText
    notices: tuple[str, ...]


def check_normalizer(name: str) -> NormalizerName:
    """`name`, if it is one of NORMALIZERS. Raises UsageError otherwise."""
    for known in NORMALIZERS:
        if name == known:
            return known
    raise UsageError(f"There is no normalizer {name!r}; choose one of {', '.join(NORMALIZERS)}.")


class TextNormalizer:
    """The normalizer for one model's languages and one glossary. Keeps the loaded number rules."""

    def __init__(
        self,
        config: TextConfig,
        glossary: Glossary | None = None,
        rules: NumberRules | None = None,
        *,
        kind: NormalizerName = DEFAULT_NORMALIZER,
        is_piece: IsPiece | None = None,
    ) -> None:
        """`kind`: whose readings, ours or upstream's. `is_piece`: whether the model's vocabulary has a syllable with
        its tone, such as HAO3; None: any. `rules`: upstream's, for tests. Raises UsageError for an unknown kind.
        """
        self.kind = check_normalizer(kind)
        self._config = config
        self._glossary = glossary or Glossary()
        self._rules = rules or NumberRules()
        self._simplifier = Simplifier()
        self._is_piece = is_piece

    def language_of(self, text: str, heard: Language | None = None) -> Language:
        """The language in which `text` ends: of its last sentence, or what `languages` says of text without any."""
        found = self.languages(text, heard)
        return found[-1].language if found else heard or self._first_language()

    def languages(self, text: str, heard: Language | None = None) -> list[Run]:
        """Which language reads which part of `text`; `heard` is the one that was spoken before it.

        Ours decides for each sentence (see `readings.language`). Upstream's takes one for the whole, whatever was
        heard: Chinese if any Chinese character is in it, and for text without Latin letters (digits alone), an e-mail
        address, or pinyin with tones. A model of one language has only that one.
        """
        if self.kind == "edgetts":
            return runs(text, self._config.languages, heard, self._is_piece)
        return [Run(0, len(text), self._upstream_language(text))] if text else []

    def normalize(self, text: str, language: Language | None = None) -> str:
        """`text` as it is to be spoken; "" for blank text. Never raises, whatever the text."""
        return self.rewrite(TracedText.of(text), language).text.text

    def rewrite(
        self, text: TracedText, language: Language | None = None, languages: Sequence[Run] | None = None
    ) -> Normalized:
        """As `normalize`, with offsets and notices. `language` None: as `languages` says, or else `self.languages`."""
        if language is not None:
            languages = [Run(0, len(text), language)]
        elif languages is None:
            languages = self.languages(text.text)
        notices: list[str] = []
        if len(languages) == 1:
            read = self._rewrite(text, languages[0].language, notices)
        else:
            read = TracedText.join(
                self._rewrite(text.slice(run.start, run.stop), run.language, notices) for run in languages
            )
        return Normalized(_single_spaces(read), tuple(notices))

    def _rewrite(self, text: TracedText, language: Language, notices: list[str]) -> TracedText:
        ours_in_english = self.kind == "edgetts" and language == "en"
        if not (ours_in_english and _SMALL_WORDS.fullmatch(text.text)):  # there is nothing to prepare in those
            text = shadow.clean(text).substitute(_SPACE, en_lines.spaced if ours_in_english else lambda _: " ")
            text = _single_spaces(text) if self.kind == "upstream" else prepare(text)
            if "'" in text.text:
                text = text.substitute(_CONTRACTION, lambda m: f"{m[1]} is")
        text = self._glossary.apply(text, language)
        text = self._read_upstream(text, language, notices) if self.kind == "upstream" else self._read(text, language)
        return text.substitute(_MARK, lambda m: _MARKS[m.group()])

    def _read(self, text: TracedText, language: Language) -> TracedText:
        if language == "en":
            return english.read(text)
        from edgetts.text.readings import chinese  # a third of all rules: no model of English alone needs them

        text = self._simplifier.simplify(text)
        text = shadow.protect_syllables(text, self._is_piece)
        return shadow.restore(chinese.read(text), language)

    def _read_upstream(self, text: TracedText, language: Language, notices: list[str]) -> TracedText:
        text = shadow.protect(text, language)
        text = self._rules.read(text, language, notices)
        text = shadow.restore(text, language)
        return text.translate(_LEFTOVER_DOLLAR) if language == "zh" else text

    def _upstream_language(self, text: str) -> Language:
        spoken = [language for language in LANGUAGES if language in self._config.languages]
        if len(spoken) == 1:
            return spoken[0]
        if _CHINESE.search(text) or not _LATIN.search(text) or _EMAIL.fullmatch(text.strip()):
            return "zh"
        # One letter is not enough where nothing else is Chinese: "A4 paper" is English.
        syllables = (len(match[1]) for match in pinyin.SYLLABLE.finditer(text))
        return "zh" if any(length > 1 for length in syllables) else "en"

    def _first_language(self) -> Language:
        return "zh" if self._config.languages[0] == "zh" else "en"


def normalize(
    text: str, config: TextConfig, glossary: Glossary | None = None, *, kind: NormalizerName = DEFAULT_NORMALIZER
) -> str:
    """One text, once. To normalize many, keep a `TextNormalizer`: it keeps the rules it has loaded."""
    return TextNormalizer(config, glossary, kind=kind).normalize(text)


def _single_spaces(text: TracedText) -> TracedText:
    """White space of any kind and length as one space, and none at the ends."""
    text = text.substitute(_NOT_SINGLE, lambda _: " ")
    start = 1 if text.text.startswith(" ") else 0
    stop = len(text) - 1 if text.text.endswith(" ") and len(text) > 1 else len(text)
    return text if stop - start == len(text) else text.slice(start, stop)
