"""A pronunciation lexicon: replaces words by phones.

In: a pack's `lexicon.txt`, one `WORD<tab>PHONES` a line, sorted by the word's bytes, words in the letter case of the
pack. Out: text in which each word of the lexicon is replaced by its phones. Other words get theirs by rules and
spelling (`edgetts.text.unknown_words`) if the pack has a pronouncer, and keep their letters if not. A small model needs
this, because spelling takes more speech to learn than pronunciation. Packs without the file, such as those of
IndexTTS-2, read letters. Does not know languages, except the plural of a letter, A'S.
"""

from __future__ import annotations

import mmap
import re
from functools import lru_cache
from pathlib import Path

from edgetts.errors import PackError
from edgetts.text.pronouncer import Pronouncer
from edgetts.text.traced import TracedText
from edgetts.text.unknown_words import STRESS, UnknownWords, plural

MAX_FILE_BYTES = 64 * 2**20
MAX_WORD_LETTERS = 64  # longer words are not looked up
CACHED_WORDS = 4096

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
_SPELLED = re.compile(r"[^\W\d_](?= [^\W\d_](?![\w']))")  # a letter before another single letter
_APOSTROPHE = "'"
_PLURAL = "'S"
_SENTENCE_START = re.compile(r"(?:^|[.?!…])[^\w]*$")
_CAPITALS = re.compile(r"[^\W\d_a-z]{2,}(?:s|'[^\W\d_]+)?$")
_BEFORE = 8  # characters that are searched for the end of the sentence before


class Lexicon:
    """Binary search in the mapped file, which is read on demand. Safe to share between threads."""

    def __init__(self, path: Path | str, pronouncer: Pronouncer | None = None) -> None:
        """pronouncer: for words that are missing; None: they keep their letters. Raises `PackError` if the file is
        missing, empty or too large."""
        path = Path(path)
        advice = "fetch the pack again"
        try:
            size = path.stat().st_size
            if not 0 < size <= MAX_FILE_BYTES:
                raise PackError(f"The lexicon {path} has {size} bytes; 1 to {MAX_FILE_BYTES} are allowed: {advice}.")
            with path.open("rb") as file:
                self._lines = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise PackError(f"The lexicon {path} cannot be read ({error.strerror}): {advice}.") from error
        self.path = path
        self._cached = lru_cache(maxsize=CACHED_WORDS)(self._look_up)  # most words of a text repeat
        self.unknown: UnknownWords | None = None
        if pronouncer is not None:
            self.unknown = UnknownWords(self.phones, self.letter, pronouncer)
            self._guessed = lru_cache(maxsize=CACHED_WORDS)(self._guess)

    def phones(self, word: str) -> str | None:
        """The phones of `word`; None: not in the lexicon. Raises `PackError` for a damaged line."""
        return None if len(word) > MAX_WORD_LETTERS else self._cached(word)

    def _look_up(self, word: str) -> str | None:
        wanted = word.encode("utf-8", "surrogatepass")
        low, high = 0, len(self._lines)  # both are starts of lines, or the end
        while low < high:
            start = self._lines.rfind(b"\n", low, (low + high) // 2) + 1 or low
            end = self._lines.find(b"\n", start)
            end = len(self._lines) if end < 0 else end
            found, tab, phones = self._lines[start:end].partition(b"\t")
            if found == wanted and tab:
                try:
                    return phones.decode()
                except UnicodeDecodeError as error:
                    raise PackError(f"The lexicon {self.path} is damaged at {word!r}: fetch the pack again.") from error
            if found < wanted:
                low = end + 1
            else:
                high = start
        return None

    def pronounce(self, text: TracedText, written: str | None = None) -> TracedText:
        """`text` with phones for known words. If a word with an apostrophe is unknown, its parts are looked up: JOHN'S
        as JOHN and 'S. A capital letter before another single letter is read by its name, which can differ from the
        word of one letter: A M, A I. written: the text with its letter case, if `text` has lost it."""
        cased = text.text if written is None else written
        shouted = not any(char.islower() for char in cased)

        def replace(match: re.Match[str]) -> str:
            word, start = match.group(), match.start()
            if len(word) == 1 and _SPELLED.match(match.string, start) and cased[text.origins[start]].isupper():
                return self.letter(word) or word
            if self.unknown is None:
                return self._spoken(word)
            known = self.phones(word)
            if known is not None:
                return known
            origins = text.origins
            first = origins[start]
            shape = cased[first : origins[match.end() - 1] + 1]
            is_capitals = not shouted and len(word) > 1 and _CAPITALS.match(shape) is not None
            if is_capitals and shape.endswith("s"):  # JPEGs
                word = word[:-1] + _PLURAL
            is_name = cased[first].isupper() and not _SENTENCE_START.search(cased[max(0, first - _BEFORE) : first])
            return self._guessed(word, is_capitals, is_name)

        return text.substitute(_WORD, replace)

    def letter(self, letter: str) -> str | None:
        """The name of a letter, which can differ from the word of one letter: then it is that of its plural without the
        ending. None: the lexicon has neither."""
        word, plural_, ending = self.phones(letter), self.phones(letter + _PLURAL), self.phones(_PLURAL)
        if plural_ is None or ending is None or not plural_.endswith(ending):
            return word
        if word is not None and plural_.replace(STRESS, "").startswith(word):  # H'S, S'S
            return word
        return plural_.removesuffix(ending)

    def _spoken(self, word: str) -> str:
        """The phones of a word, or of what is before an ending that is known; else its letters."""
        endings = ""
        while (whole := self.phones(word)) is None:
            stem, apostrophe, ending = word.rpartition(_APOSTROPHE)
            suffix = self.phones(apostrophe + ending) if apostrophe else None
            if suffix is None:
                return word + endings
            word, endings = stem, suffix + endings
        return whole + endings

    def _guess(self, word: str, is_capitals: bool, is_name: bool) -> str:
        """The phones of a word that the lexicon lacks: by the rules, with the endings after its apostrophes."""
        assert self.unknown is not None
        parts, endings = word.split(_APOSTROPHE), []
        while len(parts) > 1:
            whole = self.phones(_APOSTROPHE.join(parts)) if len(parts) <= MAX_WORD_LETTERS else None
            if whole is not None:
                break
            endings.append(_APOSTROPHE + parts.pop())
        else:
            whole = self._guess_part(parts[0], is_capitals, is_name)
        said = whole
        for ending in reversed(endings):
            suffix = self.phones(ending)
            if ending == _PLURAL:
                said = plural(said)
            else:
                said += self._guess_part(ending[1:], False, False) if suffix is None else suffix
        return said

    def _guess_part(self, word: str, is_capitals: bool, is_name: bool) -> str:
        assert self.unknown is not None
        known = self.phones(word)
        return known or self.unknown.phones(word, is_capitals=is_capitals, is_name=is_name) or word
