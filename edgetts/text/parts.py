"""Splits a sentence that is over the token limit into parts of similar length, between written words.

In: a sentence's tokens, and the indices at which a written word begins. Out: the minimum number of parts, each within
the limit. Among the cuts for that number, those at clause marks and near equal parts have the least cost. A written
word, such as a number of many digits, is split only if it alone exceeds the limit, and then between its spoken words.
Takes time linear in the tokens. Also finds those indices. Does not know languages.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence

from edgetts.text.traced import TracedText

WORD_START = "▁"  # as SentencePiece writes it
CLAUSE_MARKS = frozenset({",", "▁,"})
_LONG_DASHES = frozenset("—–―…")
_DASHES = _LONG_DASHES | {"-"}
# Costs of a cut, added to the squared relative deviation of each part from the equal length.
_AT_CLAUSE = 0.0
_AT_WORD = 0.2
_INSIDE_WORD = 1.0


def equal_parts(tokens: Sequence[str], max_tokens: int, words: Collection[int] | None = None) -> list[list[int]]:
    """The indices of `tokens` in parts. words: indices at which a written word begins; None: every spoken word."""
    if len(tokens) <= max_tokens:
        return [list(range(len(tokens)))] if tokens else []
    costs = _cuts(tokens, max_tokens, words)
    cuts = sorted(costs)
    before = _fewest(cuts, max_tokens)
    after = _fewest([-cut for cut in reversed(cuts)], max_tokens)[::-1]
    target = len(tokens) / before[-1]
    # The cuts that lead to the minimum number of parts, by the number of parts before each.
    levels: list[list[int]] = [[] for _ in range(before[-1] + 1)]
    for cut, parts, rest in zip(cuts, before, after, strict=True):
        if parts + rest == before[-1]:
            levels[parts].append(cut)
    best = {0: 0.0}  # least cost of the parts before each cut
    came_from: dict[int, int] = {}
    for level, following in itertools.pairwise(levels):
        first = 0
        for cut in following:
            while cut - level[first] > max_tokens:
                first += 1
            best[cut] = math.inf
            for start in level[first:]:
                off = (cut - start) / target - 1
                cost = best[start] + off * off + costs[cut]
                if cost < best[cut]:
                    best[cut], came_from[cut] = cost, start
    edges = [len(tokens)]
    while edges[-1]:
        edges.append(came_from[edges[-1]])
    edges.reverse()
    return [list(range(start, stop)) for start, stop in itertools.pairwise(edges)]


def written_words(tokens: Sequence[str], starts: Sequence[int], spoken: TracedText, whole: str) -> set[int]:
    """Indices of the tokens that begin a word of the original text `whole`. starts: offsets of tokens in `spoken`."""
    found = set()
    for place, (token, at) in enumerate(zip(tokens, starts, strict=True)):
        if at and token.startswith(WORD_START) and _is_between_words(spoken, at, whole):
            found.add(place)
    return found


def _is_between_words(spoken: TracedText, at: int, whole: str) -> bool:
    """Whether the original has a space, a dash or a character without letter case right before offset `at`."""
    origins = spoken.origins
    if origins[at] <= origins[at - 1]:
        return False  # both are spoken for one character
    if not spoken.text[at - 1].isspace():
        return _has_no_case(spoken.text[at]) or _has_no_case(spoken.text[at - 1])
    written = whole[origins[at - 1]]
    if written in _LONG_DASHES:
        return True
    if at > 1 and origins[at - 1] <= origins[at - 2]:
        return False  # a reading that is longer than its written form
    return written.isspace() or (written in _DASHES and whole[origins[at - 1] + 1 : origins[at]].isspace())


def _has_no_case(char: str) -> bool:
    return char.isalpha() and not (char.isupper() or char.islower() or char.istitle())


def _cuts(tokens: Sequence[str], max_tokens: int, words: Collection[int] | None) -> dict[int, float]:
    """Possible cuts and their costs; neighboring cuts are at most the limit apart."""
    end = len(tokens)
    spoken = [place for place in range(1, end) if tokens[place].startswith(WORD_START)]
    written = spoken if words is None else sorted(place for place in words if 0 < place < end)
    costs = {0: 0.0, **{place: _cost(tokens, place, _AT_WORD) for place in written}, end: 0.0}
    _fill(costs, {place: _cost(tokens, place, _INSIDE_WORD) for place in spoken}, max_tokens)
    _fill(costs, dict.fromkeys(range(1, end), 2 * _INSIDE_WORD), max_tokens)
    return costs


def _cost(tokens: Sequence[str], place: int, otherwise: float) -> float:
    """The cost `otherwise`, reduced at clause marks."""
    return otherwise - (_AT_WORD - _AT_CLAUSE) if tokens[place - 1] in CLAUSE_MARKS else otherwise


def _fill(costs: dict[int, float], more: dict[int, float], max_tokens: int) -> None:
    """Add those of `more` that lie between cuts farther apart than the limit."""
    edges = sorted(costs)
    for start, stop in itertools.pairwise(edges):
        if stop - start > max_tokens:
            costs |= {place: more[place] for place in range(start + 1, stop) if place in more}


def _fewest(cuts: Sequence[int], max_tokens: int) -> list[int]:
    """The minimum number of parts from the first cut to each cut."""
    counts, first = [0], 0
    for place in range(1, len(cuts)):
        while cuts[place] - cuts[first] > max_tokens:
            first += 1
        counts.append(counts[first] + 1)
    return counts
