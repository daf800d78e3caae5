"""Written text becomes text to be spoken: the whole way from what a user typed to the tokenizer.

In: any string. Out: one line without digits, in the few punctuation marks that the model knows. The
steps, in order: white space, contractions, glossary, protection (`shadow`), number rules (`rules`),
punctuation. Does not know the tokenizer's pieces. Source of the order and the tables: facts of
upstream's `indextts/utils/front.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgetts.text import pinyin, shadow
from edgetts.text.config import LANGUAGES, Language, TextConfig
from edgetts.text.glossary import Glossary
from edgetts.text.rules import NumberRules
from edgetts.text.traced import TracedText

_SPACE = re.compile(r"\s+")
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
    **dict.fromkeys(("...", ",,,", "……"), "…"),
    **dict.fromkeys("·—～~", "-"),
    **dict.fromkeys('“”"‘’（）()《》【】[]「」', "'"),
}
# What upstream leaves to the tokenizer, which then says "unknown": same meaning, other code points.
_MORE_PUNCTUATION = {
    **dict.fromkeys("–―‐‑−", "-"),
    **dict.fromkeys("『』〈〉〔〕｛｝{}«»‹›„‚`´″′", "'"),
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


class TextNormalizer:
    """The normaliser for one model's languages and one glossary. Keeps the loaded number rules."""

    def __init__(self, config: TextConfig, glossary: Glossary | None = None, rules: NumberRules | None = None) -> None:
        self._config = config
        self._glossary = glossary or Glossary()
        self._rules = rules or NumberRules()

    def language_of(self, text: str) -> Language:
        """The language whose rules read `text`: Chinese if any Chinese character is in it, and for
        text without Latin letters (digits alone), an e-mail address, or pinyin with tones.

        A model of one language has only that one.
        """
        spoken = [language for language in LANGUAGES if language in self._config.languages]
        if len(spoken) == 1:
            return spoken[0]
        if _CHINESE.search(text) or not _LATIN.search(text) or _EMAIL.fullmatch(text.strip()):
            return "zh"
        # One letter is not enough where nothing else is Chinese: "A4 paper" is English.
        syllables = (len(match[1]) for match in pinyin.SYLLABLE.finditer(text))
        return "zh" if any(length > 1 for length in syllables) else "en"

    def normalize(self, text: str, language: Language | None = None) -> str:
        """`text` as it is to be spoken; "" for blank text. Never raises, whatever the text."""
        return self.rewrite(TracedText.of(text), language).text.text

    def rewrite(self, text: TracedText, language: Language | None = None) -> Normalized:
        """As `normalize`, with offsets and notices. `language` None: the one that `language_of` gives."""
        language = language or self.language_of(text.text)
        notices: list[str] = []
        text = _single_spaces(shadow.clean(text))
        text = text.substitute(_CONTRACTION, lambda m: f"{m[1]} is")
        text = self._glossary.apply(text, language)
        text = shadow.protect(text, language)
        text = self._rules.read(text, language, notices)
        text = shadow.restore(text, language)
        if language == "zh":
            text = text.translate(_LEFTOVER_DOLLAR)
        text = text.substitute(_MARK, lambda m: _MARKS[m.group()])
        return Normalized(_single_spaces(text), tuple(notices))


def normalize(text: str, config: TextConfig, glossary: Glossary | None = None) -> str:
    """One text, once. To normalise many, keep a `TextNormalizer`: it keeps the rules it has loaded."""
    return TextNormalizer(config, glossary).normalize(text)


def _single_spaces(text: TracedText) -> TracedText:
    """White space of any kind and length as one space, and none at the ends."""
    text = text.substitute(_SPACE, lambda _: " ")
    start = 1 if text.text.startswith(" ") else 0
    stop = len(text) - 1 if text.text.endswith(" ") and len(text) > 1 else len(text)
    return text.slice(start, stop)
