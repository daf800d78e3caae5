"""The front end of a model with a language input, with the interface of `TextFrontend`.

In: any string, a language or None. Out: a `TextPlan` whose segments have one language each; the ids of a segment begin
with the language's prefix and end with the stop. Does not know voices, sound or time.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgetts.text import segment as segmenter
from edgetts.text.config import Language
from edgetts.text.foreign import foreign_language
from edgetts.text.frontend import MARK_PAUSES_S, Segment, TextFrontend, shown
from edgetts.text.glossary import Glossary
from edgetts.text.length import spoken_length
from edgetts.text.multilingual import pronunciation
from edgetts.text.multilingual.languages import NAMES, SPOKEN, prefix
from edgetts.text.multilingual.normalize import MultilingualNormalizer
from edgetts.text.multilingual.segment import segment_edges
from edgetts.text.multilingual.tokenizer import BytePairTokenizer
from edgetts.text.normalizers import DEFAULT_NORMALIZER, NormalizerName
from edgetts.text.readings.language import Run
from edgetts.text.traced import TracedText
from edgetts.text.written import cut_before, whole_words

DEFAULT_MAX_TOKENS = segmenter.DEFAULT_MAX_TOKENS
_LAST_MARK = re.compile(r"(\.\.\.|…|[.!?؟,،])['\s]*$")
_SAME_MARK = {"…": "...", "؟": "?", "،": ","}
_FAR_ENOUGH = 40  # characters at the end of a segment that are searched for marks
_SPECIAL = re.compile(r"<\|[^|]+\|>")
_OTHER_SCRIPT = re.compile("[\u0370-\u05ff\u0700-\u109f\u10a0-\u13ff\u1780-\u17ff\uac00-\ud7af]")  # Greek to Hangul
_FEW_GREEK = "GREEK"  # letters of formulas


@dataclass(frozen=True)
class SpokenSegment(Segment):
    """A segment whose tokens are the parts of its text, without the language's prefix and the stop."""

    def with_pause(self, pause_after_s: float) -> SpokenSegment:
        """This segment with another pause."""
        return replace(self, pause_after_s=pause_after_s)

    @property
    def natural_pause_s(self) -> float:
        """Natural pause in seconds after its last mark."""
        return _pause_s(self.text)


class MultilingualFrontend(TextFrontend):
    """The front end of one pack and one glossary. May be kept; loads its rules and its dictionary when needed."""

    def __init__(
        self,
        tokenizer: BytePairTokenizer,
        glossary: Glossary | None = None,
        normalizer: MultilingualNormalizer | NormalizerName = DEFAULT_NORMALIZER,
        languages: Sequence[Language] = SPOKEN,
    ) -> None:
        """normalizer: the name of the readings, or an existing normalizer. languages: of the model."""
        if not isinstance(normalizer, MultilingualNormalizer):
            normalizer = MultilingualNormalizer(languages, glossary, kind=normalizer)
        super().__init__(tokenizer, glossary, normalizer)
        self._normalizer = normalizer
        self._byte_pairs = tokenizer

    @property
    def languages(self) -> tuple[Language, ...]:
        """The languages that it reads."""
        return tuple(self._normalizer.spoken)

    @property
    def reads_annotations(self) -> bool:
        """Whether `<read|R EH1 D>` says how a word is pronounced."""
        return True

    def _foreign_notice(self, whole: str) -> str | None:
        spoken = ", ".join(NAMES[language] for language in self._normalizer.spoken)
        found = foreign_language(whole)
        if found is not None and found not in spoken:
            return f"The text seems to be {found}, but this model speaks only {spoken}."
        script = next((name for char in _OTHER_SCRIPT.findall(whole) if (name := _script(char)) != _FEW_GREEK), None)
        if script is None:
            return None
        return f"The text has letters of the {script.capitalize()} script, but this model speaks only {spoken}."

    def _speak(
        self,
        whole: str,
        original: TracedText,
        runs: list[Run],
        max_tokens: int,
        quick_tokens: int,
        notices: list[str],
        unspeakable: dict[str, None],
    ) -> list[Segment]:
        del unspeakable  # bytes represent any character
        segments: list[Segment] = []
        for run in runs:
            part = original.slice(run.start, run.stop)
            spoken = self._normalizer.spoken_text(part, run.language, notices)
            spoken = self._normalizer.for_model(spoken, run.language, notices)
            if part.text:
                quick = 0 if segments else quick_tokens
                segments += self._segments(whole, part, spoken, run.language, max_tokens, quick, notices)
        return segments

    def _segments(
        self,
        whole: str,
        original: TracedText,
        spoken: TracedText,
        language: Language,
        max_tokens: int,
        quick_tokens: int,
        notices: list[str],
    ) -> list[Segment]:
        """The segments of one part in one language; adds text that is left out to `notices`."""
        count = self._byte_pairs.count
        kept = _kept(original, spoken) if self._normalizer.kind == "edgetts" else []
        cuts = segment_edges(spoken.text, max_tokens, count(prefix(language)), count, quick_tokens, whole=kept)
        first, last = original.origins[0], original.origins[-1] + 1
        edges = [spoken.origins[cut] for cut in cuts[1:-1]]
        edges = [first, *(min(last, max(first, cut_before(whole, edge))) for edge in edges), last]
        edges = list(itertools.accumulate(whole_words(whole, list(itertools.accumulate(edges, max))), max))
        segments: list[Segment] = []
        for (begin, stop), (start, end) in zip(itertools.pairwise(cuts), itertools.pairwise(edges), strict=True):
            text = spoken.text[begin:stop]
            if not any(char.isalnum() for char in _SPECIAL.sub("", text)):
                if text.strip():
                    notices.append(f"Left out {shown(text.strip())}: the model can speak nothing in it.")
                continue
            tokens = self._byte_pairs.encode(text).tokens
            length = spoken_length([_heard(text)], phones=False)
            ids = self._byte_pairs.segment_ids(text, language)
            written = whole[start:end].strip()
            segments.append(SpokenSegment(text, written, tokens, ids, _pause_s(text), start, end, length, language))
        return segments


def _kept(original: TracedText, spoken: TracedText) -> list[tuple[int, int]]:
    """The spans of `spoken` that special tokens and the annotations of `original` became."""
    spans = [match.span() for match in _SPECIAL.finditer(spoken.text)]
    for found in pronunciation.find(original.text):
        first, last = original.origins[found.start], original.origins[found.stop - 1]
        spans.append((bisect_left(spoken.origins, first), bisect_right(spoken.origins, last)))
    return spans


def _heard(text: str) -> str:
    """The text for the estimate of the duration: one character per pinyin reading, one letter per phone."""
    text = pronunciation.SPOKEN.sub(lambda m: " ".join(phone[0] for phone in m[2].split()), text)
    return _SPECIAL.sub("", text)


def _pause_s(text: str) -> float:
    """The natural pause after a segment: that of its last mark, ignoring a closing quotation mark."""
    found = _LAST_MARK.search(text[-_FAR_ENOUGH:])
    if found is None:
        return 0.0
    return MARK_PAUSES_S[_SAME_MARK.get(found[1], found[1])]


def _script(char: str) -> str:
    return unicodedata.name(char, "UNKNOWN").split()[0]
