"""The text front end: plans a user's text as segments for the GPT.

In: any string. Out: a `TextPlan`: segments with token ids, the pause after each and its part of the original text,
characters that the model cannot speak, and notices. Only this file knows the order of markup, normalizer, tokenizer
and segmenter. Does not know voices, sound or time.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass, replace

from edgetts.text import marks
from edgetts.text import segment as segmenter
from edgetts.text.config import ALL_LANGUAGES, Language
from edgetts.text.foreign import foreign_notice
from edgetts.text.foreign_scripts import script_notice
from edgetts.text.glossary import Glossary
from edgetts.text.length import SpokenLength, spoken_length
from edgetts.text.lines import split_lines
from edgetts.text.markdown import strip_markdown
from edgetts.text.markup import MAX_PAUSE_S, TAG_HINT, Pause, has_tags, split_pauses
from edgetts.text.normalize import TextNormalizer
from edgetts.text.normalizers import DEFAULT_NORMALIZER, NormalizerName
from edgetts.text.parts import written_words
from edgetts.text.readings.language import Run
from edgetts.text.tokenizer import TextTokenizer, TokenizedText
from edgetts.text.traced import TracedText
from edgetts.text.written import cut_before, whole_words

# Natural pause in seconds after a segment that ends with this mark.
MARK_PAUSES_S = {".": 0.35, "!": 0.35, "?": 0.35, "...": 0.45, ",": 0.15}
_QUOTE = "'"
_SOUND = re.compile(r"[^\W_]")
_WORD_START = "▁"
_MAX_SHOWN_CHARS = 60
_MAX_NOTICES = 10
_MAX_LINE_CHARS = 40  # of a line that is read once where it is said again


@dataclass(frozen=True)
class Segment:
    """A part of the text that the model speaks at once."""

    text: str  # normalized
    written: str  # its part of the user's text
    tokens: tuple[str, ...]
    ids: tuple[int, ...]
    pause_after_s: float  # silence after it; natural at punctuation, 0 after the last segment
    start: int  # offset of its first character in the user's text
    end: int  # offset after its last character; the next segment's start, except across markup
    length: SpokenLength  # bounds on its duration
    language: Language | None = None  # input of the model; None: it has no language input

    def with_pause(self, pause_after_s: float) -> Segment:
        """This segment with another pause. Not `replace`, which takes three times as long."""
        return Segment(
            *(self.text, self.written, self.tokens, self.ids, pause_after_s),
            *(self.start, self.end, self.length, self.language),
        )

    def moved(self, by: int) -> Segment:
        """The segment of the same text `by` characters later."""
        return Segment(
            *(self.text, self.written, self.tokens, self.ids, self.pause_after_s),
            *(self.start + by, self.end + by, self.length, self.language),
        )

    @property
    def natural_pause_s(self) -> float:
        """Natural pause in seconds after its last mark."""
        return _pause_s(self.tokens)


@dataclass(frozen=True)
class TextPlan:
    """The segments of a text."""

    segments: tuple[Segment, ...]  # empty if there is nothing to speak
    pause_before_s: float  # from a pause tag before the first word, else 0
    unspeakable: tuple[str, ...]  # distinct characters of the text that the model does not know
    notices: tuple[str, ...]  # sentences for the user about text that is not spoken as written
    language: Language | None = None  # of its end, for `previous` of the next part; None: undecided

    @property
    def languages(self) -> tuple[Language, ...]:
        """The distinct languages given to the model, in order of appearance."""
        return tuple(dict.fromkeys(segment.language for segment in self.segments if segment.language is not None))

    def traced_to(self, source: TracedText) -> TextPlan:
        """This plan of `source.text`, with offsets in the original text of `source`."""
        origins = source.origins
        segments = [replace(s, start=origins[s.start], end=origins[s.end - 1] + 1) for s in self.segments]
        return replace(self, segments=tuple(segments))


class TextFrontend:
    """The front end of one pack and one glossary. May be kept; loads its number rules when needed."""

    def __init__(
        self,
        tokenizer: TextTokenizer,
        glossary: Glossary | None = None,
        normalizer: TextNormalizer | NormalizerName = DEFAULT_NORMALIZER,
    ) -> None:
        """normalizer: the name of the readings of numbers and signs, or an existing normalizer."""
        self.tokenizer = tokenizer
        if not isinstance(normalizer, TextNormalizer):
            normalizer = TextNormalizer(tokenizer.config, glossary, kind=normalizer, is_piece=tokenizer.has_piece)
        self.normalizer = normalizer

    @property
    def languages(self) -> tuple[Language, ...]:
        """The languages that it reads."""
        return tuple(language for language in ALL_LANGUAGES if language in self.tokenizer.config.languages)

    @property
    def reads_annotations(self) -> bool:
        """Whether `<read|R EH1 D>` says how a word is pronounced."""
        return False

    def segments(
        self,
        text: str,
        max_tokens: int = segmenter.DEFAULT_MAX_TOKENS,
        *,
        quick_tokens: int = 0,
        markup: bool = False,
        markdown: bool = False,
        language: Language | None = None,
        previous: Language | None = None,
    ) -> TextPlan:
        """The plan of `text`.

        max_tokens: bound of a segment. quick_tokens: keep so many tokens of the beginning in short segments (see
        `segment.split_segments`). markup: pause tags become pauses and other tags raise `UsageError`; without it, tags
        are text and no text raises. markdown: remove Markdown markup first. language: None: found for each sentence.
        previous: `language` of the plan before, for a text that arrives in parts.
        """
        if markdown:
            source = strip_markdown(text, markup=markup)
            return self.segments(
                *(source.text, max_tokens),
                quick_tokens=quick_tokens,
                markup=markup,
                language=language,
                previous=previous,
            ).traced_to(source)
        parts = split_lines(split_pauses(text) if markup else [TracedText.of(text)])
        whole = "".join(part.text for part in parts if isinstance(part, TracedText))
        runs = [Run(0, len(whole), language)] if language else self.normalizer.languages(whole, previous)
        done, at = 0, 0  # characters of `whole`; index of their run
        segments: list[Segment] = []
        # Short lines that were spoken: their segment, and where they began.
        lines: dict[tuple[str, Language] | None, list[tuple[Segment, int]]] = {}
        unspeakable: dict[str, None] = {}
        foreign = self._foreign_notice(whole)
        notices: list[str] = [] if foreign is None else [foreign]
        if not markup and has_tags(text):
            notices.append(TAG_HINT)
        before_s = 0.0  # explicit silence before the first segment
        pause_s = 0.0  # explicit silence since the last segment
        line_s = 0.0  # for line ends since then, if there is no explicit silence
        for part in parts:
            if isinstance(part, Pause):
                if part.is_line_end:
                    line_s = max(line_s, part.seconds)
                else:
                    pause_s = min(MAX_PAUSE_S, pause_s + part.seconds)
                continue
            while at < len(runs) and runs[at].stop <= done:
                at += 1
            within = _within(runs, at, done, done + len(part))
            done += len(part)
            quick = 0 if segments else quick_tokens
            line = (part.text, within[0].language) if len(within) == 1 and len(part) <= _MAX_LINE_CHARS else None
            if line in lines and not quick:  # said before in this text
                new = [segment.moved(part.origins[0] - origin) for segment, origin in lines[line]]
            else:
                new = self._speak(text, part, within, max_tokens, quick, notices, unspeakable)
                if line is not None and len(new) <= 1 and part.text:
                    lines[line] = [(segment, part.origins[0]) for segment in new]
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
            scripts, rest = script_notice(unspeakable, self.tokenizer.config.languages)
            if rest:
                notices.insert(0, f"The model cannot speak {shown(' '.join(rest))}.")
            if scripts is not None:  # where nothing else is left, that says it all
                notices = [scripts, *notices] if segments or rest else [scripts]
        last = runs[-1].language if runs else previous
        return TextPlan(tuple(segments), before_s, tuple(unspeakable), _first(notices), last)

    def _foreign_notice(self, whole: str) -> str | None:
        """A sentence for the user if the text seems to be in a language that the model does not speak."""
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
        """The segments of one part of the whole text, read in `runs`; adds to `notices` and `unspeakable`."""
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
        """The segments of one part of the whole text, with natural pauses; adds text that is left out to `notices`."""
        if not original.text:
            return []
        sentences = words = None
        if self.tokenizer.config.segments == "sentences":
            sentences = [bisect_left(tokenized.starts, at) for at in marks.sentence_starts(spoken.text)]
            if len(tokenized.tokens) > max_tokens:
                words = written_words(tokenized.tokens, tokenized.starts, spoken, whole)
        indices = segmenter.segment_indices(
            *(tokenized.tokens, max_tokens, quick_tokens),
            whole_words=self.tokenizer.lexicon is not None,
            sentences=sentences,
            words=words,
        )
        # Edges of the segments: offsets in the spoken text, then in the user's.
        cuts = [0, *(tokenized.starts[segment[0]] for segment in indices[1:]), len(spoken)]
        first, last = original.origins[0], original.origins[-1] + 1
        edges = [first, last]
        if len(indices) > 1:
            inner = (cut_before(whole, spoken.origins[cut]) for cut in cuts[1:-1])
            edges = whole_words(whole, [first, *(min(last, max(first, edge)) for edge in inner), last])
        segments = []
        for number, places in enumerate(indices):
            if places[-1] - places[0] == len(places) - 1:
                tokens = tokenized.tokens[places[0] : places[-1] + 1]
                ids = tokenized.ids[places[0] : places[-1] + 1]
            else:  # a quotation mark is there twice
                tokens = tuple(tokenized.tokens[place] for place in places)
                ids = tuple(tokenized.ids[place] for place in places)
            text = spoken.text[cuts[number] : cuts[number + 1]].strip()
            if not self._sounds(tokens, ids):
                notices.append(f"Left out {shown(text)}: the model can speak nothing in it.")
                continue
            start, end = edges[number], edges[number + 1]
            length = spoken_length(tokens, phones=self.tokenizer.lexicon is not None)
            segments.append(Segment(text, whole[start:end].strip(), tokens, ids, _pause_s(tokens), start, end, length))
        return segments

    def _in_known_marks(self, spoken: TracedText, original: str) -> TracedText:
        known = self.tokenizer.config.marks
        if known is None:
            return spoken
        # The readings of edgetts have already removed the periods of initials: "Plan B. Then" is two sentences.
        return marks.with_known(spoken, original, known, initials=self.normalizer.kind == "upstream")

    def _sounds(self, tokens: tuple[str, ...], ids: tuple[int, ...]) -> bool:
        """Whether a token that the model knows has a letter or digit."""
        unknown = self.tokenizer.unknown_id
        if unknown in ids:
            tokens = tuple(token for token, token_id in zip(tokens, ids, strict=True) if token_id != unknown)
        return _SOUND.search("".join(tokens)) is not None


def _pause_s(tokens: tuple[str, ...]) -> float:
    """The natural pause after a segment: that of its last mark, ignoring a closing quotation mark."""
    for token in reversed(tokens):
        mark = token.removeprefix(_WORD_START)
        if mark != _QUOTE:
            return MARK_PAUSES_S.get(mark, 0.0)
    return 0.0


def _within(runs: list[Run], first: int, start: int, stop: int) -> list[Run]:
    """The runs of a text, from index `first` on, between `start` and `stop`, with offsets relative to `start`."""
    found = []
    for at in range(first, len(runs)):
        run = runs[at]
        if run.start >= stop:
            break
        found.append(Run(max(run.start, start) - start, min(run.stop, stop) - start, run.language))
    return found


def _first(notices: list[str]) -> tuple[str, ...]:
    """The first few distinct notices, and the number of the others."""
    distinct = list(dict.fromkeys(notices))
    more = len(distinct) - _MAX_NOTICES
    return (*distinct[:_MAX_NOTICES], f"There are {more} more notices.") if more > 0 else tuple(distinct)


def shown(text: str) -> str:
    return repr(text if len(text) <= _MAX_SHOWN_CHARS else text[:_MAX_SHOWN_CHARS] + "…")
