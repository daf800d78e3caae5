"""Upstream's readings of numbers, dates, money, units and abbreviations: the WeTextProcessing rules.

For parity; `readings` are the default. In: text in one language. Out: spoken text, and a notice for text that the rules
cannot read. Uses `wetext`, which has those rules as compiled transducers. It takes half a second and 100 MB to load, so
it is loaded for the first text that needs it; plain sentences do not. Its time grows faster than the length of the text
and it raises on some inputs, so it gets pieces of at most `MAX_PIECE_CHARS` characters, and if it raises, ever smaller
parts; the smallest ones that still fail stay unchanged.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator

from edgetts.text.config import Language
from edgetts.text.readings.script import is_maybe_traditional
from edgetts.text.traced import TracedText

MAX_PIECE_CHARS = 120  # a sentence; twice as long takes three times as long
_MAX_SHOWN_CHARS = 40

Rule = Callable[[str], str]

# Cuts of a long text. The rules depend on context, so the text is cut at sentences, in Chinese also at clauses (its
# comma is never part of a number), then at other clauses, then at words. A period ends a sentence only after a word of
# three letters: not after "Dr." or "No.".
_SENTENCE_CUT = re.compile(r"(?<=[。！？，；])(?=.)|(?<=[A-Za-z]{3}[.!?])(?= )", re.DOTALL)
_OTHER_CUTS = (re.compile(r"(?<=[：、])|(?<=[A-Za-z][,;:])(?= )"), re.compile(r" "))

# A sentence that the English rules do not change: lower-case words, names of at least five letters, and short words
# that often begin a sentence. The rules may change "Sun", "Mr.", "TV" and "UK".
_PLAIN_WORD = (
    "[a-z']+|[A-Z][a-z']{4,}|I|A|An|And|As|At|Be|But|By|Can|Did|Do|For|From|Go|Had|Has|Have|He|Her|Here|His|"
    "How|I'm|I'll|I've|I'd|If|In|Is|It|Its|It's|Let|Look|May|My|Not|Now|Of|Oh|On|One|Or|Our|Out|She|So|That|"
    "The|Then|They|This|To|Two|Up|Was|We|Well|Were|What|When|Who|Why|Will|With|Yes|You|Your"
)
_PLAIN_ENGLISH = re.compile(rf"(?:(?:{_PLAIN_WORD})(?:[.,;:!?]| -)? )*(?:{_PLAIN_WORD})[.,;:!?]?")

# The English rules raise on a plus sign before a word, do not know "×", and read "1990s" as seconds and "24/7" as a
# fraction.
_LEADING_PLUS = re.compile(r"(?<!\S)\+(?=\d)")
_TIMES = re.compile(r"(?<=\d) ?× ?(?=\d)")
_AROUND_THE_CLOCK = re.compile(r"(?<![\d/])24/7(?![\d/])")
_DECADE = re.compile(r"(?<![\d.,$€£])(1[1-9]|20)([2-9])0(?=s\b)")
_CENTURIES = (  # 11 to 20
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"
)  # fmt: skip
_TENS = ("twentie", "thirtie", "fortie", "fiftie", "sixtie", "seventie", "eightie", "ninetie")  # 2 to 9

# Text that the Chinese rules change, besides traditional characters: digits, and full-width forms except marks.
_CHANGED_CHINESE = re.compile("\\d|[\uff01-\uff5e](?<![，：；！？（）])")
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")

_ESCAPED = re.compile(r'\\(["\\])')
_RUNS = re.compile(r"\d+|[^\W\d_]+|\s+|[^\w\s]|_")


class NumberRules:
    """The rules of both languages, each loaded at first use. Safe to share."""

    def __init__(self, load: Callable[[Language], Rule] | None = None) -> None:
        """load: returns the rule of a language, for tests; default: `wetext`."""
        self._load = load or _load_wetext
        self._rules: dict[Language, Rule] = {}

    def read(self, text: TracedText, language: Language, notices: list[str]) -> TracedText:
        """The spoken form of `text`; adds failures to `notices`. White space must be single spaces. Never raises."""
        if language == "en":
            text = _read_known_failures(text)
        return TracedText.join(self._read_piece(piece, language, notices) for piece in _pieces(text))

    def _read_piece(self, piece: TracedText, language: Language, notices: list[str]) -> TracedText:
        core = piece.text.strip()
        if not core or _is_plain(core, language):
            return piece
        start = piece.text.index(core)
        stop = start + len(core)
        spoken = self._try(core, language)
        if spoken is None:
            spoken = self._read_by_words(core, language, notices)
        middle = piece.slice(start, stop).rewritten(spoken)
        return TracedText.join([piece.slice(0, start), middle, piece.slice(stop, len(piece))])

    def _read_by_words(self, text: str, language: Language, notices: list[str]) -> str:
        """Read the text between the words that the rules fail on, and those words run by run."""
        parts: list[str] = []
        stretch: list[str] = []
        words = text.split(" ")
        for word in [*words, None]:
            if word is not None and (_is_plain(word, language) or self._try(word, language) is not None):
                stretch.append(word)
                continue
            if stretch:
                whole = self._try(" ".join(stretch), language)
                parts += [whole] if whole is not None else [self._try(w, language) or w for w in stretch]
                stretch = []
            if word:
                spoken, unread = self._read_by_runs(word, language)
                parts.append(spoken)
                if unread:
                    shown = word if len(word) <= _MAX_SHOWN_CHARS else word[:_MAX_SHOWN_CHARS] + "…"
                    notices.append(f"The number rules cannot read {shown!r}: {unread!r} stays unchanged.")
        return " ".join(parts)

    def _read_by_runs(self, word: str, language: Language) -> tuple[str, str]:
        """Read digits, letters and marks of `word` separately. Returns the reading and the runs that fail even so.

        This reads `#1` and `[5]`: the rules know their parts, but not together.
        """
        spoken, unread = "", ""
        readings: dict[str, str | None] = {}
        for run in _RUNS.findall(word):
            if run not in readings:
                readings[run] = run if _is_plain(run, language) else self._try(run, language)
            reading = readings[run]
            if reading is None:
                unread += run
                reading = run
            apart = spoken[-1:].isalnum() and reading[:1].isalnum() and language == "en"
            spoken += f" {reading}" if apart else reading
        return spoken, unread

    def _try(self, text: str, language: Language) -> str | None:
        """The rules' reading of `text`; None if they raise or return nothing."""
        rule = self._rules.get(language)
        if rule is None:
            rule = self._rules[language] = self._load(language)
        try:
            spoken = rule(text)
        # Broad on purpose: on some texts `wetext` raises AssertionError, RuntimeError, IndexError and others, and no
        # text may be lost to that. The callers read smaller parts instead and name what stays unread.
        except Exception:
            return None
        return _ESCAPED.sub(r"\1", spoken) or None


def _load_wetext(language: Language) -> Rule:
    from wetext import Normalizer

    rule: Rule = Normalizer(
        lang=language, operator="tn", remove_erhua=False, traditional_to_simple=language == "zh",
        full_to_half=language == "zh",
    ).normalize  # fmt: skip
    return rule


def _is_plain(text: str, language: Language) -> bool:
    """Whether the rules would not change `text` (without outer spaces)."""
    if language == "zh":
        return _CHANGED_CHINESE.search(text) is None and not any(map(is_maybe_traditional, set(_HAN.findall(text))))
    return _PLAIN_ENGLISH.fullmatch(text) is not None


def _read_known_failures(text: TracedText) -> TracedText:
    text = text.substitute(_LEADING_PLUS, lambda _: "plus ")
    text = text.substitute(_TIMES, lambda _: " times ")
    text = text.substitute(_AROUND_THE_CLOCK, lambda _: "twenty four seven")
    # The s of "1990s" stays in the text: nineteen ninetie-s.
    return text.substitute(_DECADE, lambda m: f"{_CENTURIES[int(m[1]) - 11]} {_TENS[int(m[2]) - 2]}")


def _pieces(text: TracedText) -> Iterator[TracedText]:
    """`text` if it is short, else its sentences; long ones are cut between clauses."""
    if len(text) <= MAX_PIECE_CHARS:
        yield text
        return
    cuts = [match.start() for match in _SENTENCE_CUT.finditer(text.text)]
    for first, stop in itertools.pairwise([0, *cuts, len(text)]):
        start = first
        while stop - start > MAX_PIECE_CHARS:
            cut = start + _cut(text.text[start : start + MAX_PIECE_CHARS])
            yield text.slice(start, cut)
            start = cut
        yield text.slice(start, stop)


def _cut(window: str) -> int:
    """The last good cut, or the end of `window` if there is none."""
    for pattern in _OTHER_CUTS:
        cuts = [match.start() for match in pattern.finditer(window) if match.start()]
        if cuts:
            return cuts[-1]
    return len(window)
