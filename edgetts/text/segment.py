"""Tokens of a text become segments short enough for the model, each spoken in one go.

In: tokens. Out: runs of them, of at most `max_tokens`. Does not know ids, languages or sound. Source:
facts of `split_segments` in upstream's `indextts/utils/front.py`, kept to the token (its segments are
what the model was tuned with), including that a quotation mark after the end of a sentence is spoken
on both sides of the cut, which makes a segment one token longer at most. Upstream cuts by length wherever
the limit falls; where tokens are single sounds that would cut a word, so there cuts are made between words.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence

from edgetts.errors import UsageError
from edgetts.text.parts import CLAUSE_MARKS, WORD_START, equal_parts

DEFAULT_MAX_TOKENS = 120

# Pieces, as SentencePiece writes them: "▁" begins a word. The exclamation mark has no such piece.
_SENTENCE_MARKS = frozenset({".", "!", "?", "▁.", "▁?", "▁..."})
_HYPHEN = "-"
_QUOTES = frozenset({"'", "▁'"})
_MIN_SENTENCE_TOKENS = 3  # a shorter one is joined to what follows: "I." of "I. E."


def split_segments(tokens: Sequence[str], max_tokens: int, quick_tokens: int = 0) -> list[list[str]]:
    """`tokens` in segments of at most `max_tokens`, in order.

    With `quick_tokens` the first that many tokens stay in short segments (merged only up to half the
    limit), so that the first sound comes sooner. Raises `UsageError` if a limit is out of range.
    """
    return [[tokens[i] for i in segment] for segment in segment_indices(tokens, max_tokens, quick_tokens)]


def segment_indices(
    tokens: Sequence[str],
    max_tokens: int,
    quick_tokens: int = 0,
    *,
    whole_words: bool = False,
    sentences: Sequence[int] | None = None,
    words: Collection[int] | None = None,
) -> list[list[int]]:
    """As `split_segments`, giving the tokens' places instead of the tokens.

    whole_words: where the limit falls into a word, cut before it (unless the word alone is over the limit).
    sentences: the places at which sentences begin behind another one; then each is spoken on its own, and one over
    the limit in as few parts as possible of about the same length. None: neighbors are merged while they fit.
    words: the places at which a written word begins, for cuts in such a sentence (see `parts.equal_parts`).
    """
    if max_tokens < 1:
        raise UsageError(f"A segment of {max_tokens} tokens is not possible; the limit must be 1 or more.")
    if quick_tokens < 0:
        raise UsageError(f"quick_tokens is {quick_tokens}; it must be 0 or more.")
    if sentences is None:
        return _merge(_clauses(tokens, max_tokens, whole_words), max_tokens, quick_tokens)
    segments: list[list[int]] = []
    edges = sorted({0, *sentences, len(tokens)})
    for start, end in itertools.pairwise(edges):
        within = None if words is None else {place - start for place in range(start + 1, end) if place in words}
        parts = equal_parts(tokens[start:end], max_tokens, within)
        segments += [[start + place for place in part] for part in parts]
    return segments


def _clauses(tokens: Sequence[str], max_tokens: int, whole_words: bool) -> list[list[int]]:
    """Cuts at every sentence mark, comma and hyphen, and where the limit is reached."""
    clauses: list[list[int]] = []
    current: list[int] = []
    for index, token in enumerate(tokens):
        current.append(index)
        ends_clause = token in CLAUSE_MARKS or token == _HYPHEN
        if whole_words and len(current) > max_tokens:
            cut = _last_word(tokens, current) or max_tokens
            clauses.append(current[:cut])
            current = current[cut:]
        if len(current) > max_tokens:
            clauses += [current[:max_tokens], current[max_tokens:]]
        elif ends_clause:
            clauses.append(current)
        elif token in _SENTENCE_MARKS and len(current) >= _MIN_SENTENCE_TOKENS:
            if index + 1 < len(tokens) and tokens[index + 1] in _QUOTES:
                current.append(index + 1)
            clauses.append(current)
        else:
            continue
        current = []
    return [*clauses, current] if current else clauses


def _last_word(tokens: Sequence[str], places: Sequence[int]) -> int:
    """Where the last word among the places begins; 0 if that is at the start of all."""
    starts = (k for k in range(len(places) - 1, 0, -1) if tokens[places[k]].startswith(WORD_START))
    return next(starts, 0)


def _merge(clauses: list[list[int]], max_tokens: int, quick_tokens: int) -> list[list[int]]:
    """Joins neighbors while they fit: into the whole limit, or into half of it among the quick ones."""
    segments: list[list[int]] = []
    seen = 0
    for clause in clauses:
        seen += len(clause)
        limit = max_tokens if seen > quick_tokens else max_tokens // 2
        if segments and len(segments[-1]) + len(clause) <= limit:
            segments[-1] = segments[-1] + clause
        else:
            segments.append(clause)
    return segments
