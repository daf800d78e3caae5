"""Text normalization: written text to spoken words.

In: any string. Out: one line without digits, with only the punctuation marks that the model knows. The steps, in order:
white space, contractions, glossary, protection (`protect`), numbers and signs, punctuation. Numbers and signs are read
by the rules of edgetts (`readings`, the default), each sentence in its language, or as by upstream (`rules`), the whole
text in one language. Source of the order and the tables: facts of upstream's `indextts/utils/front.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from edgetts.text import pinyin, protect
from edgetts.text.config import LANGUAGES, Language, TextConfig
from edgetts.text.glossary import Glossary
from edgetts.text.normalizers import DEFAULT_NORMALIZER, NormalizerName, check_normalizer
from edgetts.text.readings import en_lines, english
from edgetts.text.readings.language import IsPiece, Run, runs
from edgetts.text.readings.prepare import prepare
from edgetts.text.readings.script import Simplifier
from edgetts.text.rules import NumberRules
from edgetts.text.traced import TracedText

_SPACE = re.compile(r"\s+")
_NOT_SINGLE = re.compile(r"\s{2,}|[^\S ]")
_SMALL_WORDS = re.compile(r"[a-z]+(?: [a-z]+)*")
_CONTRACTION = re.compile(r"\b(what|where|who|which|how|there|here|it|she|he|that|this)'s\b", re.IGNORECASE | re.ASCII)

_CHINESE = re.compile(r"[\u4e00-\u9fff]")
_LATIN = re.compile(r"[A-Za-z]")
_EMAIL = re.compile(r"[A-Za-z0-9]+@[A-Za-z0-9]+\.[A-Za-z]+")

# Upstream's table. Longer keys are tried first.
PUNCTUATION = {
    **dict.fromkeys(("：", "；", "，", "、", ":", ";"), ","),
    "。": ".",
    "！": "!",
    "？": "?",
    **dict.fromkeys(("...", ",,,", "，，，", "……"), "…"),
    **dict.fromkeys("·—～~", "-"),
    **dict.fromkeys('“”"‘’（）()《》【】[]「」', "'"),
}
# Other code points of the same marks, which upstream passes to the tokenizer as unknown characters.
_MORE_PUNCTUATION = {
    **dict.fromkeys("–―‐‑−•‣◦▪●■◆", "-"),  # bullets as the hyphen of a list
    **dict.fromkeys("『』〈〉〔〕｛｝{}«»‹›„‚`´″′﹁﹂﹃﹄", "'"),
    **dict.fromkeys("؛،､", ","),
    **dict.fromkeys("｡।", "."),
    "؟": "?",
    "‼": "!",
}
_MARKS = {**PUNCTUATION, **_MORE_PUNCTUATION}
_MARK = re.compile("|".join(re.escape(mark) for mark in sorted(_MARKS, key=len, reverse=True)))
_LEFTOVER_DOLLAR = {ord("$"): "."}  # as upstream does after the Chinese rules


@dataclass(frozen=True)
class Normalized:
    """Normalized text, traced to the original, and notices for the user."""

    text: TracedText
    notices: tuple[str, ...]


class TextNormalizer:
    """The normalizer of one model's languages and one glossary. Keeps the loaded number rules."""

    def __init__(
        self,
        config: TextConfig,
        glossary: Glossary | None = None,
        rules: NumberRules | None = None,
        *,
        kind: NormalizerName = DEFAULT_NORMALIZER,
        is_piece: IsPiece | None = None,
    ) -> None:
        """kind: edgetts or upstream. is_piece: whether the model's vocabulary has a syllable with its tone, such as
        HAO3; None: any. rules: upstream's, for tests. Raises UsageError for an unknown kind.
        """
        self.kind = check_normalizer(kind)
        self._config = config
        self._glossary = glossary or Glossary()
        self._rules = rules or NumberRules()
        self._simplifier = Simplifier()
        self._is_piece = is_piece

    def language_of(self, text: str, previous: Language | None = None) -> Language:
        """The language at the end of `text`; of empty text, `previous` or the model's first language."""
        found = self.languages(text, previous)
        return found[-1].language if found else previous or self._first_language()

    def languages(self, text: str, previous: Language | None = None) -> list[Run]:
        """The languages of the parts of `text`. previous: the language before it.

        edgetts decides for each sentence (see `readings.language`). upstream uses one language for the whole text and
        ignores `previous`: Chinese for text with a Chinese character, without Latin letters (digits alone), for an
        e-mail address and for pinyin with tones, else English. A model of one language has only that one.
        """
        if self.kind == "edgetts":
            return runs(text, self._config.languages, previous, self._is_piece)
        return [Run(0, len(text), self._upstream_language(text))] if text else []

    def normalize(self, text: str, language: Language | None = None) -> str:
        """The spoken form of `text`; "" for blank text. Never raises."""
        return self.rewrite(TracedText.of(text), language).text.text

    def rewrite(
        self, text: TracedText, language: Language | None = None, languages: Sequence[Run] | None = None
    ) -> Normalized:
        """As `normalize`, with offsets and notices. language: of the whole text; None: `languages`, by default found by
        `self.languages`."""
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
        return Normalized(single_spaces(read), tuple(notices))

    def _rewrite(self, text: TracedText, language: Language, notices: list[str]) -> TracedText:
        ours_in_english = self.kind == "edgetts" and language == "en"
        if not (ours_in_english and _SMALL_WORDS.fullmatch(text.text)):  # these need no preparation
            text = protect.clean(text).substitute(_SPACE, en_lines.spaced if ours_in_english else lambda _: " ")
            text = single_spaces(text) if self.kind == "upstream" else prepare(text)
            if "'" in text.text:
                text = text.substitute(_CONTRACTION, lambda m: f"{m[1]} is")
        text = self._glossary.apply(text, language)
        text = self._read_upstream(text, language, notices) if self.kind == "upstream" else self._read(text, language)
        return text.substitute(_MARK, lambda m: _MARKS[m.group()])

    def _read(self, text: TracedText, language: Language) -> TracedText:
        if language == "en":
            return english.read(text)
        from edgetts.text.readings import chinese  # a third of all rules, which models of English alone do not need

        text = self._simplifier.simplify(text)
        text = protect.protect_syllables(text, self._is_piece)
        return protect.restore(chinese.read(text), language)

    def _read_upstream(self, text: TracedText, language: Language, notices: list[str]) -> TracedText:
        text = protect.protect(text, language)
        text = self._rules.read(text, language, notices)
        text = protect.restore(text, language)
        return text.translate(_LEFTOVER_DOLLAR) if language == "zh" else text

    def _upstream_language(self, text: str) -> Language:
        spoken = [language for language in LANGUAGES if language in self._config.languages]
        if len(spoken) == 1:
            return spoken[0]
        if _CHINESE.search(text) or not _LATIN.search(text) or _EMAIL.fullmatch(text.strip()):
            return "zh"
        # A syllable of one letter is not enough: "A4 paper" is English.
        syllables = (len(match[1]) for match in pinyin.SYLLABLE.finditer(text))
        return "zh" if any(length > 1 for length in syllables) else "en"

    def _first_language(self) -> Language:
        return "zh" if self._config.languages[0] == "zh" else "en"


def single_spaces(text: TracedText) -> TracedText:
    """`text` with single spaces, trimmed."""
    text = text.substitute(_NOT_SINGLE, lambda _: " ")
    start = 1 if text.text.startswith(" ") else 0
    stop = len(text) - 1 if text.text.endswith(" ") and len(text) > 1 else len(text)
    return text if stop - start == len(text) else text.slice(start, stop)
