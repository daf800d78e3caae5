"""A glossary: a user's YAML file of terms and their readings.

    C++: {en: C plus plus, zh: C 加加}
    NVMe: N V M E

In: such a file. Out: a `Glossary`, applied before all other readings. Letter case is ignored, the longest term matches,
and a term never matches inside a longer word. One `UsageError` lists the problems of a file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgetts.errors import UsageError
from edgetts.text.config import ALL_LANGUAGES, Language
from edgetts.text.traced import TracedText

MAX_FILE_BYTES = 256 * 1024
MAX_TERMS = 5000
MAX_TERM_CHARS = 100
MAX_READING_CHARS = 500
_MAX_PROBLEMS_SHOWN = 5


@dataclass(frozen=True)
class Glossary:
    """Readings per language, by lower-case term. Made by `Glossary.load` or `Glossary.from_dict`."""

    readings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # language -> term -> reading

    @classmethod
    def load(cls, path: Path | str) -> Glossary:
        """Read a YAML file. Raises `UsageError` if it is missing, too large, not YAML or not a glossary."""
        path = Path(path)
        try:
            with path.open("rb") as file:  # bounded: a device may be endless
                data = file.read(MAX_FILE_BYTES + 1)
            size = max(path.stat().st_size, len(data))
        except OSError as error:
            raise UsageError(f"The glossary {path} cannot be read ({error.strerror}).") from error
        if len(data) > MAX_FILE_BYTES:
            raise UsageError(
                f"The glossary {path} has {size} bytes; at most {MAX_FILE_BYTES} are allowed: "
                "keep only the terms that your texts need."
            )
        return cls.parse(data, f"The glossary {path}")

    @classmethod
    def parse(cls, data: bytes, name: str = "The glossary") -> Glossary:
        """From the content of a YAML file. Raises `UsageError` as `load` does."""
        from edgetts.text.plain_yaml import read_yaml  # imports a library that few texts need

        try:
            table = read_yaml(data.decode("utf-8"))
        except ValueError as error:  # not UTF-8, not YAML
            reason = " ".join(str(error).split())[:200]
            raise UsageError(f"{name} is not YAML ({reason}); write one 'term: reading' a line.") from error
        return cls.from_dict({} if table is None else table, name)

    @classmethod
    def from_dict(cls, entries: object, name: str = "The glossary") -> Glossary:
        """From `{term: reading}` or `{term: {language: reading}}`. name: of the source, for messages.

        Raises `UsageError` that lists the unusable entries.
        """
        if not isinstance(entries, dict):
            raise UsageError(f"{name} is a {type(entries).__name__}; it must map terms to readings.")
        if len(entries) > MAX_TERMS:
            raise UsageError(f"{name} has {len(entries)} terms; at most {MAX_TERMS} are allowed.")
        readings: dict[str, dict[str, str]] = {language: {} for language in ALL_LANGUAGES}
        problems: list[str] = []
        for term, value in entries.items():
            problem = _add_entry(readings, term, value)
            if problem:
                problems.append(problem)
        if problems:
            more = len(problems) - _MAX_PROBLEMS_SHOWN
            shown = "; ".join(problems[:_MAX_PROBLEMS_SHOWN]) + (f"; and {more} more" if more > 0 else "")
            raise UsageError(f"{name} is not usable: {shown}.")
        return cls(readings)

    def to_dict(self) -> dict[str, dict[str, str]]:
        """The glossary as `{term: {language: reading}}`, for `from_dict`."""
        table: dict[str, dict[str, str]] = {}
        for language, readings in self.readings.items():
            for term, reading in readings.items():
                table.setdefault(term, {})[language] = reading
        return table

    def apply(self, text: TracedText, language: Language) -> TracedText:
        """`text` with terms replaced by their readings in `language`, in one pass from left to right.

        Looks up one slice per distinct term length, which is fast for thousands of terms.
        """
        readings = self.readings.get(language)
        if not readings:
            return text
        lengths = sorted({len(term) for term in readings}, reverse=True)
        beginnings = {term[0] for term in readings}
        parts: list[TracedText] = []
        done = position = 0
        while position < len(text):
            term = None
            if text.text[position].lower() in beginnings:
                term = _match(text.text, position, lengths, readings)
            if term is None:
                position += 1
                continue
            stop = position + len(term)
            found = text.slice(position, stop)
            parts.append(text.slice(done, position))
            parts.append(found.substitute(_WHOLE, lambda _, new=readings[term]: new))  # type: ignore[misc]
            done = position = stop
        return TracedText.join([*parts, text.slice(done, len(text))]) if parts else text


_WHOLE = re.compile(r"\A.+\Z", re.DOTALL)


def _match(text: str, position: int, lengths: list[int], readings: Mapping[str, str]) -> str | None:
    """The longest term at `position` that is not part of a longer word."""
    for length in lengths:
        stop = position + length
        term = text[position:stop].lower()
        if term not in readings or len(term) != length:
            continue
        if _continues_word(text, position - 1, position) or _continues_word(text, stop - 1, stop):
            continue
        return term
    return None


def _continues_word(text: str, left: int, right: int) -> bool:
    """Whether the characters at `left` and `right` are letters or digits of one Latin word."""
    return left >= 0 and right < len(text) and _is_word(text[left]) and _is_word(text[right])


def _is_word(char: str) -> bool:
    return char.isascii() and char.isalnum()


def _add_entry(readings: dict[str, dict[str, str]], term: object, value: object) -> str | None:
    """Add one entry to `readings`, or return its problem."""
    if not isinstance(term, str):
        return f"the term {str(term)[:40]!r} is a {type(term).__name__}: put it in quotes"
    if not term.strip() or len(term) > MAX_TERM_CHARS:
        return f"the term {term[:40]!r} has {len(term)} characters: 1 to {MAX_TERM_CHARS}, not all blank"
    per_language = value if isinstance(value, dict) else dict.fromkeys(ALL_LANGUAGES, value)
    for language, reading in per_language.items():
        if language not in readings:
            return f"{term!r} has a reading for {str(language)[:40]!r}: the languages are {', '.join(ALL_LANGUAGES)}"
        if not isinstance(reading, str):
            return f"the reading of {term!r} is a {type(reading).__name__}: it must be text (use quotes)"
        if not reading.strip() or len(reading) > MAX_READING_CHARS:
            return f"the reading of {term!r} has {len(reading)} characters: 1 to {MAX_READING_CHARS}"
        if term.strip().lower() in readings[language]:
            return f"{term!r} occurs twice (letter case is ignored)"
        readings[language][term.strip().lower()] = reading.strip()
    return None
