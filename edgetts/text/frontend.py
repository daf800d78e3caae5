"""The text front end: what a user typed becomes a plan of segments, each ready for the GPT.

In: any string. Out: a `TextPlan`: segments with ids, the pause after each, the part of the original
that each speaks, what the model cannot speak, and notices. The only file that knows the order of
markup, normalizer, tokenizer and segmenter. Does not know voices, sound or time.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass, replace

from edgetts.text import marks
from edgetts.text import segment as segmenter
from edgetts.text.config import Language
from edgetts.text.foreign import foreign_notice
from edgetts.text.glossary import Glossary
from edgetts.text.length import SpokenLength, spoken_length
from edgetts.text.lines import split_lines
from edgetts.text.markdown import strip_markdown
from edgetts.text.markup import MAX_PAUSE_S, TAG_HINT, Pause, has_tags, split_pauses
from edgetts.text.normalize import DEFAULT_NORMALIZER, NormalizerName, TextNormalizer
from edgetts.text.parts import written_words
from edgetts.text.readings.language import Run
from edgetts.text.tokenizer import TextTokenizer, TokenizedText
from edgetts.text.traced import TracedText
from edgetts.text.written import cut_before, whole_words

# Seconds of silence that a reader leaves at a mark, where a segment happens to end with it.
_MARK_PAUSES_S = {".": 0.35, "!": 0.35, "?": 0.35, "...": 0.45, ",": 0.15}
_QUOTE = "'"
_SOUND = re.compile(r"[^\W_]")
_WORD_START = "▁"
_MAX_SHOWN_CHARS = 60
_MAX_NOTICES = 10


@dataclass(frozen=True)
class Segment:
    """A stretch of text that the model speaks in one go."""

    text: str  # as it is spoken, after normalization
    written: str  # the part of the user's text that it speaks
    tokens: tuple[str, ...]
    ids: tuple[int, ...]
    pause_after_s: float  # silence that follows; natural at punctuation, 0 after the last segment
    start: int  # offset in the user's text of the first character that this segment speaks
    end: int  # offset after the last one; the next segment's start, unless markup lies between
    length: SpokenLength  # how long it can take
    language: Language | None = None  # that the model is told; None: the model is told none

    def with_pause(self, pause_after_s: float) -> Segment:
        """The same with other silence behind it. Not `replace`, which takes three times as long."""
        return Segment(
            *(self.text, self.written, self.tokens, self.ids, pause_after_s),
            *(self.start, self.end, self.length, self.language),
        )

    @property
    def natural_pause_s(self) -> float:
        """Seconds of silence that its last mark asks for, if something follows."""
        return _pause_s(self.tokens)


@dataclass(frozen=True)
class TextPlan:
    """A whole text, ready to be spoken."""

    segments: tuple[Segment, ...]  # none if there is nothing to speak
    pause_before_s: float  # from a pause tag before the first word, else 0
    unspeakable: tuple[str, ...]  # distinct characters of the text that the model does not know
    notices: tuple[str, ...]  # sentences for the user: what is not spoken as it was written
    language: Language | None = None  # of the last words: what goes on in `heard`; None: nothing decided one

    @property
    def languages(self) -> tuple[Language, ...]:
        """The languages that the model is told, each once, in order of appearance."""
        return tuple(dict.fromkeys(segment.language for segment in self.segments if segment.language is not None))

    def traced_to(self, source: TracedText) -> TextPlan:
        """The plan of `source.text`, with offsets in the text that `source` was made of."""
        origins = source.origins
        segments = [replace(s, start=origins[s.start], end=origins[s.end - 1] + 1) for s in self.segments]
        return replace(self, segments=tuple(segments))


class TextFrontend:
    """The front end for one pack and one glossary. Safe to keep; loads its number rules when needed."""

    def __init__(
        self,
        tokenizer: TextTokenizer,
        glossary: Glossary | None = None,
        normalizer: TextNormalizer | NormalizerName = DEFAULT_NORMALIZER,
    ) -> None:
        """`normalizer`: whose readings of numbers and signs, ours or upstream's, or one made before."""
        self.tokenizer = tokenizer
        if not isinstance(normalizer, TextNormalizer):
            normalizer = TextNormalizer(tokenizer.config, glossary, kind=normalizer, is_piece=tokenizer.has_piece)
        self.normalizer = normalizer

    def segments(
        self,
        text: str,
        max_tokens: int = segmenter.DEFAULT_MAX_TOKENS,
        *,
        quick_tokens: int = 0,
        markup: bool = False,
        markdown: bool = False,
        language: Language | None = None,
        heard: Language | None = None,
    ) -> TextPlan:
        """The plan for `text`.

        `max_tokens` bounds a segment, `quick_tokens` keeps the beginning in short ones (see
        `segment.split_segments`). With `markup`, pause tags become pauses and other tags raise
        `UsageError`; without, everything is text and no text raises. With `markdown`, marks of Markdown are left out
        before anything else. `language` None: found from the text, sentence by
        sentence; `heard` is the `language` of the plan before, for a text that arrives in parts.
        """
        if markdown:
            source = strip_markdown(text, markup=markup)
            return self.segments(
                *(source.text, max_tokens), quick_tokens=quick_tokens, markup=markup, language=language, heard=heard
            ).traced_to(source)
        parts = split_lines(split_pauses(text) if markup else [TracedText.of(text)])
        whole = "".join(part.text for part in parts if isinstance(part, TracedText))
        runs = [Run(0, len(whole), language)] if language else self.normalizer.languages(whole, heard)
        done, at = 0, 0  # characters of `whole`; the run that they have come to
        segments: list[Segment] = []
        unspeakable: dict[str, None] = {}
        foreign = self._foreign_notice(whole)
        notices: list[str] = [] if foreign is None else [foreign]
        if not markup and has_tags(text):
            notices.append(TAG_HINT)
        before_s = 0.0  # explicit silence before the first segment
        pause_s = 0.0  # explicit silence since the last segment
        line_s = 0.0  # for line ends since then, where there is no explicit one
        for part in parts:
            if isinstance(part, Pause):
                if part.is_line_end:
                    line_s = max(line_s, part.seconds)
                else:
                    pause_s = min(MAX_PAUSE_S, pause_s + part.seconds)
                continue
            while at < len(runs) and runs[at].stop <= done:
                at += 1
            new = self._speak(
                text,
                part,
                _within(runs, at, done, done + len(part)),
                max_tokens,
                0 if segments else quick_tokens,
                notices,
                unspeakable,
            )
            done += len(part)
            if not new:
                continue
            if segments:
                segments[-1] = segments[-1].with_pause(pause_s or line_s)
            else:
                before_s = pause_s
            segments += new
            pause_s = line_s = 0.0
        if segments:
            segments[-1] = segments[-1].with_pause(pause_s)
        if unspeakable:
            notices.insert(0, f"The model cannot speak {_shown(' '.join(unspeakable))}.")
        last = runs[-1].language if runs else heard
        return TextPlan(tuple(segments), before_s, tuple(unspeakable), _first(notices), last)

    def _foreign_notice(self, whole: str) -> str | None:
        """A sentence for the user where the text looks to be in a language that the model does not speak."""
        return foreign_notice(whole, self.tokenizer.config.languages)

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
        """The segments of one stretch of the whole text, read in `runs`; adds to `notices` and `unspeakable`."""
        normalized = self.normalizer.rewrite(original, languages=runs)
        notices += normalized.notices
        spoken = self._in_known_marks(self.tokenizer.spell_known(normalized.text), whole)
        tokenized = self.tokenizer.encode(spoken.text)
        unspeakable |= dict.fromkeys(self.tokenizer.unknown_characters(spoken.text, tokenized))
        return self._split(whole, original, spoken, tokenized, max_tokens, quick_tokens, notices)

    def _split(
        self,
        whole: str,
        original: TracedText,
        spoken: TracedText,
        tokenized: TokenizedText,
        max_tokens: int,
        quick_tokens: int,
        notices: list[str],
    ) -> list[Segment]:
        """The segments of one stretch of the whole text, with natural pauses; adds what is left out to `notices`."""
        if not original.text:
            return []
        sentences = words = None
        if self.tokenizer.config.segments == "sentences":
            sentences = [bisect_left(tokenized.starts, at) for at in marks.sentence_starts(spoken.text)]
            words = written_words(tokenized.tokens, tokenized.starts, spoken, whole)
        indices = segmenter.segment_indices(
            *(tokenized.tokens, max_tokens, quick_tokens),
            whole_words=self.tokenizer.lexicon is not None,
            sentences=sentences,
            words=words,
        )
        # Offsets in the spoken text, then in the user's, at which segments begin, and where the last ends.
        cuts = [0, *(tokenized.starts[segment[0]] for segment in indices[1:]), len(spoken)]
        edges = [spoken.origins[cut] for cut in cuts[1:-1]]
        first, last = original.origins[0], original.origins[-1] + 1
        edges = [first, *(min(last, max(first, cut_before(whole, edge))) for edge in edges), last]
        edges = whole_words(whole, edges)
        segments = []
        for number, places in enumerate(indices):
            tokens = tuple(tokenized.tokens[place] for place in places)
            ids = tuple(tokenized.ids[place] for place in places)
            text = spoken.text[cuts[number] : cuts[number + 1]].strip()
            if not self._sounds(tokens, ids):
                notices.append(f"Left out {_shown(text)}: there is nothing in it that the model can speak.")
                continue
            start, end = edges[number], edges[number + 1]
            length = spoken_length(tokens, phones=self.tokenizer.lexicon is not None)
            segments.append(Segment(text, whole[start:end].strip(), tokens, ids, _pause_s(tokens), start, end, length))
        return segments

    def _in_known_marks(self, spoken: TracedText, original: str) -> TracedText:
        known = self.tokenizer.config.marks
        if known is None:
            return spoken
        # Our own readings have left the stops of initials out: "Plan B. Then" is two sentences.
        return marks.with_known(spoken, original, known, initials=self.normalizer.kind == "upstream")

    def _sounds(self, tokens: tuple[str, ...], ids: tuple[int, ...]) -> bool:
        """Whether there is a letter or figure among the tokens that the model knows."""
        unknown = self.tokenizer.unknown_id
        if unknown in ids:
            tokens = tuple(token for token, token_id in zip(tokens, ids, strict=True) if token_id != unknown)
        return _SOUND.search("".join(tokens)) is not None


def _pause_s(tokens: tuple[str, ...]) -> float:
    """The natural pause after a segment: that of its last mark, seen through a closing quotation mark."""
    for token in reversed(tokens):
        mark = token.removeprefix(_WORD_START)
        if mark != _QUOTE:
            return _MARK_PAUSES_S.get(mark, 0.0)
    return 0.0


def _within(runs: list[Run], first: int, start: int, stop: int) -> list[Run]:
    """The runs of a text, from that at `first` on, that lie in the part from `start` to `stop`, counted from there."""
    found = []
    for at in range(first, len(runs)):
        run = runs[at]
        if run.start >= stop:
            break
        found.append(Run(max(run.start, start) - start, min(run.stop, stop) - start, run.language))
    return found


def _first(notices: list[str]) -> tuple[str, ...]:
    """The first few notices, each once, and how many more there are."""
    distinct = list(dict.fromkeys(notices))
    more = len(distinct) - _MAX_NOTICES
    return (*distinct[:_MAX_NOTICES], f"And {more} more like these.") if more > 0 else tuple(distinct)


def _shown(text: str) -> str:
    return repr(text if len(text) <= _MAX_SHOWN_CHARS else text[:_MAX_SHOWN_CHARS] + "…")
