"""Splits the tokens of a text into segments.

In: tokens. Out: runs of at most `max_tokens`. Does not know ids, languages or sound. Source: facts of `split_segments`
in upstream's `indextts/utils/front.py`, reproduced exactly, because the model was tuned with its segments; this
includes that a quotation mark after the end of a sentence is in both segments, which makes a segment at most one token
longer. Upstream cuts exactly at the limit; if tokens are phones, which would split a word, the cut is between words.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence

from edgetts.errors import UsageError
from edgetts.text.parts import CLAUSE_MARKS, WORD_START, equal_parts

DEFAULT_MAX_TOKENS = 120

# Pieces of SentencePiece: "▁" begins a word. The exclamation mark has no such piece.
_SENTENCE_MARKS = frozenset({".", "!", "?", "▁.", "▁?", "▁..."})
_HYPHEN = "-"
_QUOTES = frozenset({"'", "▁'"})
_MIN_SENTENCE_TOKENS = 3  # a shorter one is joined to what follows: "I." of "I. E."


def split_segments(tokens: Sequence[str], max_tokens: int, quick_tokens: int = 0) -> list[list[str]]:
    """`tokens` in segments of at most `max_tokens`, in order.

    quick_tokens: the first so many tokens are merged only up to half the limit, so that the first sound comes sooner.
    Raises `UsageError` if a limit is out of range.
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
    """As `split_segments`, with indices of tokens instead of tokens.

    whole_words: at the limit, cut before a word (unless the word alone is over the limit).
    sentences: indices at which a sentence follows another one; each sentence becomes a segment, and one over the limit
    the minimum number of parts of similar length. None: clauses are merged while they fit.
    words: indices at which a written word begins, for the cuts of such a sentence (see `parts.equal_parts`).
    """
    if max_tokens < 1:
        raise UsageError(f"max_tokens is {max_tokens}; it must be 1 or more.")
    if quick_tokens < 0:
        raise UsageError(f"quick_tokens is {quick_tokens}; it must be 0 or more.")
    is_short = 0 < len(tokens) <= max_tokens
    if is_short and (not sentences if sentences is not None else not quick_tokens and _QUOTES.isdisjoint(tokens)):
        return [list(range(len(tokens)))]
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
    """Clauses: cut at every sentence mark, comma and hyphen, and at the limit."""
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
    """Index in `places` at which the last word begins; 0 if that is the first place."""
    starts = (k for k in range(len(places) - 1, 0, -1) if tokens[places[k]].startswith(WORD_START))
    return next(starts, 0)


def _merge(clauses: list[list[int]], max_tokens: int, quick_tokens: int) -> list[list[int]]:
    """Join neighbors while they fit into the limit, or into half of it among the quick tokens."""
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
