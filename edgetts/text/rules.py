"""Numbers, dates, money, units and abbreviations become words as upstream reads them: by the WeTextProcessing rules.

For parity; our own readings (`readings`) are the default. In: text in one language. Out: text to be spoken, and a
notice for what the rules cannot read at all. Uses `wetext`, which carries those rules as compiled transducers; it takes
half a second and 100 MB to load, so it is loaded when the first text needs it: plain sentences never do. `wetext` takes
time that grows faster than the text, and raises on some inputs, so it only ever sees pieces of at most
`MAX_PIECE_CHARS` characters, and what it raises on is given to it in ever smaller parts, down to leaving it as it is.
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

# Where a long text is cut. The rules look at what stands side by side, so sentences are best, in Chinese
# also clauses (its comma is never part of a number); then other clauses, then words. A period counts
# after a long enough word only: not after "Dr." or "No.".
_SENTENCE_CUT = re.compile(r"(?<=[。！？，；])(?=.)|(?<=[A-Za-z]{3}[.!?])(?= )", re.DOTALL)
_OTHER_CUTS = (re.compile(r"(?<=[：、])|(?<=[A-Za-z][,;:])(?= )"), re.compile(r" "))

# A sentence that the English rules leave as it is: words in small letters, names of five letters or
# more, and the short words that often begin a sentence. "Sun", "Mr.", "TV" and "UK" are for the rules.
_PLAIN_WORD = (
    "[a-z']+|[A-Z][a-z']{4,}|I|A|An|And|As|At|Be|But|By|Can|Did|Do|For|From|Go|Had|Has|Have|He|Her|Here|His|"
    "How|I'm|I'll|I've|I'd|If|In|Is|It|Its|It's|Let|Look|May|My|Not|Now|Of|Oh|On|One|Or|Our|Out|She|So|That|"
    "The|Then|They|This|To|Two|Up|Was|We|Well|Were|What|When|Who|Why|Will|With|Yes|You|Your"
)
_PLAIN_ENGLISH = re.compile(rf"(?:(?:{_PLAIN_WORD})(?:[.,;:!?]| -)? )*(?:{_PLAIN_WORD})[.,;:!?]?")

# The English rules raise on a plus sign that begins a word, do not know "×", and read "1990s" as seconds
# and "24/7" as a fraction.
_LEADING_PLUS = re.compile(r"(?<!\S)\+(?=\d)")
_TIMES = re.compile(r"(?<=\d) ?× ?(?=\d)")
_AROUND_THE_CLOCK = re.compile(r"(?<![\d/])24/7(?![\d/])")
_DECADE = re.compile(r"(?<![\d.,$€£])(1[1-9]|20)([2-9])0(?=s\b)")
_CENTURIES = (  # 11 to 20
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"
)  # fmt: skip
_TENS = ("twentie", "thirtie", "fortie", "fiftie", "sixtie", "seventie", "eightie", "ninetie")  # 2 to 9

# What the Chinese rules change besides traditional characters: digits, and full-width forms that are not marks.
_CHANGED_CHINESE = re.compile("\\d|[\uff01-\uff5e](?<![，：；！？（）])")
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")

_ESCAPED = re.compile(r'\\(["\\])')
_RUNS = re.compile(r"\d+|[^\W\d_]+|\s+|[^\w\s]|_")


class NumberRules:
    """The rules of both languages, each loaded when first used. Not changed by use; safe to share."""

    def __init__(self, load: Callable[[Language], Rule] | None = None) -> None:
        """`load` gives the rule for a language; it is there for tests, `wetext` if left out."""
        self._load = load or _load_wetext
        self._rules: dict[Language, Rule] = {}

    def read(self, text: TracedText, language: Language, notices: list[str]) -> TracedText:
        """`text` with everything the rules know written as words; adds to `notices` what they failed on.

        White space must be single spaces already. Never raises because of the text.
        """
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
        """Reads the stretches between the words that the rules fail on, and those words run by run."""
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
                    notices.append(f"The number rules cannot read {shown!r}: {unread!r} stays as it is.")
        return " ".join(parts)

    def _read_by_runs(self, word: str, language: Language) -> tuple[str, str]:
        """Digits, letters and marks of `word` each on their own, and those that the rules fail on even so.

        This is how the rules get to read `#1` and `[5]`: they know the parts, but not side by side.
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
        """What the rules make of `text`, or None when they raise on it or make nothing of it."""
        rule = self._rules.get(language)
        if rule is None:
            rule = self._rules[language] = self._load(language)
        try:
            spoken = rule(text)
        # The transducers' wrapper fails with AssertionError, RuntimeError or IndexError by its own bugs.
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
    """Whether the rules would leave `text` (without outer spaces) as it is."""
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
    """`text` as it is if it is short, else its sentences, and long ones cut where two clauses meet."""
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
    """The last good place to cut, or the end of `window` when there is none."""
    for pattern in _OTHER_CUTS:
        cuts = [match.start() for match in pattern.finditer(window) if match.start()]
        if cuts:
            return cuts[-1]
    return len(window)
