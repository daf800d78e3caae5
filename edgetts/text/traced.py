"""Text that remembers where each of its characters came from, through any number of rewritings.

In: a string. Out: a string and, per character, its offset in the first one. The offsets never decrease,
so a subtitle can show the part of the original that a segment speaks. Knows nothing of languages.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

_UNITS = re.compile(r"[A-Za-z]+|\d+|\s+|.", re.DOTALL)  # what two versions of a text are compared by


@dataclass(frozen=True)
class TracedText:
    """`origins[i]` is the offset in the original that `text[i]` comes from; equally long, non-decreasing."""

    text: str
    origins: tuple[int, ...]

    @classmethod
    def of(cls, text: str, start: int = 0) -> TracedText:
        """Text not yet rewritten, which begins at offset `start` of the original."""
        return cls(text, tuple(range(start, start + len(text))))

    @classmethod
    def join(cls, parts: Iterable[TracedText]) -> TracedText:
        """The parts one after the other."""
        kept = list(parts)
        return cls("".join(p.text for p in kept), tuple(o for p in kept for o in p.origins))

    def __len__(self) -> int:
        return len(self.text)

    def slice(self, start: int, stop: int) -> TracedText:
        """Characters `start` to `stop`."""
        return TracedText(self.text[start:stop], self.origins[start:stop])

    def substitute(self, pattern: re.Pattern[str], replace: Callable[[re.Match[str]], str]) -> TracedText:
        """`re.sub`; the characters of a replacement are spread evenly over what they replace."""
        before, old = self.text, self.origins
        text: list[str] = []
        origins: list[int] = []
        done = 0
        for match in pattern.finditer(before):
            start, stop = match.span()
            new = replace(match)
            text += (before[done:start], new)
            if len(new) == stop - start:
                origins += old[done:stop]
            else:
                origins += old[done:start]
                origins += self._spread(start, stop, len(new))
            done = stop
        if not text:
            return self
        text.append(before[done:])
        origins += old[done:]
        return TracedText("".join(text), tuple(origins))

    def translate(self, table: dict[int, str]) -> TracedText:
        """`str.translate` for a table of characters to strings (any length, also none)."""
        text = self.text.translate(table)
        if text == self.text:
            return self
        if all(len(new) == 1 for new in table.values()):
            return TracedText(text, self.origins)
        origins = [o for c, o in zip(self.text, self.origins, strict=True) for _ in table.get(ord(c), c)]
        return TracedText(text, tuple(origins))

    def rewritten(self, text: str) -> TracedText:
        """The same content as `text`, which something opaque made of this one; traced by comparison.

        Takes time that grows with the square of the length at worst: meant for a sentence.
        """
        if text == self.text:
            return self
        before, after = _UNITS.findall(self.text), _UNITS.findall(text)
        before_at, after_at = _offsets(before), _offsets(after)
        origins: list[int] = []
        matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
        for _, i1, i2, j1, j2 in matcher.get_opcodes():
            origins += self._spread(before_at[i1], before_at[i2], after_at[j2] - after_at[j1])
        return TracedText(text, tuple(origins))

    def _spread(self, start: int, stop: int, count: int) -> list[int]:
        """Origins for `count` characters that stand for `start` to `stop` (which may be empty)."""
        if start == stop:
            near = self.origins[start - 1] if start else (self.origins[0] if self.origins else 0)
            return [near] * count
        if stop - start == 1:
            return [self.origins[start]] * count
        return [self.origins[start + (stop - start) * i // count] for i in range(count)]


def _offsets(units: list[str]) -> list[int]:
    """Where each unit begins, and where the last one ends."""
    offsets = [0]
    for unit in units:
        offsets.append(offsets[-1] + len(unit))
    return offsets
