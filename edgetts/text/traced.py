"""Text with the origin of each character, kept through any number of rewritings.

In: a string. Out: a string and, per character, its offset in the original. The offsets never decrease, so that
subtitles can show a segment's part of the original. Does not know languages.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

_UNITS = re.compile(r"[A-Za-z]+|\d+|\s+|.", re.DOTALL)  # units for the comparison of two versions


@dataclass(frozen=True)
class TracedText:
    """origins: per character of `text`, its offset in the original; non-decreasing."""

    text: str
    origins: tuple[int, ...]

    @classmethod
    def of(cls, text: str, start: int = 0) -> TracedText:
        """Original text from offset `start` on."""
        return cls(text, tuple(range(start, start + len(text))))

    @classmethod
    def join(cls, parts: Iterable[TracedText]) -> TracedText:
        """The concatenated parts."""
        kept = list(parts)
        return cls("".join(p.text for p in kept), tuple(o for p in kept for o in p.origins))

    def __len__(self) -> int:
        return len(self.text)

    def slice(self, start: int, stop: int) -> TracedText:
        """Characters `start` to `stop`."""
        return TracedText(self.text[start:stop], self.origins[start:stop])

    def substitute(self, pattern: re.Pattern[str], replace: Callable[[re.Match[str]], str]) -> TracedText:
        """`re.sub`; the origins of a replacement are spread evenly over the replaced text."""
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
        """`str.translate` for a table of characters to strings of any length."""
        text = self.text.translate(table)
        if text == self.text:
            return self
        if all(len(new) == 1 for new in table.values()):
            return TracedText(text, self.origins)
        origins = [o for c, o in zip(self.text, self.origins, strict=True) for _ in table.get(ord(c), c)]
        return TracedText(text, tuple(origins))

    def rewritten(self, text: str) -> TracedText:
        """`text`, which is a rewritten version of this one; traced by comparison.

        Takes quadratic time in the worst case: meant for single sentences.
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
        """Origins of `count` characters that replace those from `start` to `stop` (which may be empty)."""
        if start == stop:
            near = self.origins[start - 1] if start else (self.origins[0] if self.origins else 0)
            return [near] * count
        if stop - start == 1:
            return [self.origins[start]] * count
        return [self.origins[start + (stop - start) * i // count] for i in range(count)]


def _offsets(units: list[str]) -> list[int]:
    """The start of each unit, and the end of the last one."""
    offsets = [0]
    for unit in units:
        offsets.append(offsets[-1] + len(unit))
    return offsets
