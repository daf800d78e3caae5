"""Splits text of one language into segments.

In: text in the model's form, the token limit of a segment, and a function that counts tokens. Out: the edges of the
segments, which cover the text. Cuts after marks, between characters only if a clause alone is too long, never in an
annotation. Encodes each part of the text a few times, not once for each piece; takes time linear in the text. Source:
facts of `split_text_by_tokens` in upstream's `indextts/infer_v2_5.py`, reproduced exactly.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from edgetts.errors import UsageError
from edgetts.text.multilingual.pronunciation import SPOKEN

MAX_TOKENS = 600  # the model's text positions, without start and stop
_CLAUSE_END = re.compile(r"[，。！？、；：,.!?;:\n]")

Count = Callable[[str], int]


def segment_edges(
    text: str,
    max_tokens: int,
    n_prefix: int,
    count: Count,
    quick_tokens: int = 0,
    *,
    whole: Iterable[tuple[int, int]] = (),
) -> list[int]:
    """Offsets in `text` at which segments begin, and its end; `[0, 0]` for empty text, which is one segment.

    max_tokens: of a segment with its language's prefix, which has `n_prefix`. quick_tokens: so many tokens of the
    beginning stay in segments of half the limit. whole: spans that are not cut, besides annotations. Raises
    `UsageError` if a limit is out of range.
    """
    if max_tokens < 1:
        raise UsageError(f"max_tokens is {max_tokens}; it must be 1 or more.")
    if quick_tokens < 0:
        raise UsageError(f"quick_tokens is {quick_tokens}; it must be 0 or more.")
    budget = max(1, min(max_tokens, MAX_TOKENS) - n_prefix)
    total = count(text)
    if total <= (max(1, budget // 2) if quick_tokens else budget):
        return [0, len(text)]
    chunks = _chunks(text, _whole_spans(text, whole), budget, count)
    if not quick_tokens:
        return [0, *_groups(text, chunks, budget, count)]
    edges = [0]
    for edge in _groups(text, chunks, max(1, budget // 2), count):
        edges.append(edge)
        quick_tokens -= count(text[edges[-2] : edge])
        if quick_tokens <= 0:
            break
    return [*edges, *_groups(text, [edges[-1], *(edge for edge in chunks if edge > edges[-1])], budget, count)]


def _chunks(text: str, whole: Iterable[tuple[int, int]], budget: int, count: Count) -> list[int]:
    """The edges of clauses, of annotations, and of parts of clauses that are over the budget."""
    edges = [0]
    for start, stop, is_whole in _spans_between(text, whole):
        if is_whole:
            edges.append(stop)
            continue
        ends = [match.end() for match in _CLAUSE_END.finditer(text, start, stop)]
        for end in ends if ends and ends[-1] == stop else [*ends, stop]:
            begin = edges[-1]
            if _bytes(text[begin:end]) <= budget or count(text[begin:end]) <= budget:
                edges.append(end)
            else:
                edges += _groups(text, range(begin, end + 1), budget, count)
    return edges


def _whole_spans(text: str, more: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The spans of annotations and `more`, from left to right, without those that reach into the one before."""
    done = 0
    spans = [*(match.span() for match in SPOKEN.finditer(text)), *more]
    for start, stop in sorted(spans, key=lambda span: (span[0], -span[1])):
        if start >= done and stop > start:
            yield start, stop
            done = stop


def _spans_between(text: str, whole: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int, bool]]:
    """The nonempty spans that are not cut, and those between them."""
    done = 0
    for start, stop in whole:
        if start > done:
            yield done, start, False
        yield start, stop, True
        done = stop
    if done < len(text):
        yield done, len(text), False


def _groups(text: str, edges: Sequence[int], budget: int, count: Count) -> Iterator[int]:
    """The end of each group of neighboring pieces between `edges`: a group takes the next piece while it fits.

    A piece has at most as many tokens as bytes, so pieces of up to half the remaining budget in bytes are taken
    without counting: half, because joined pieces can have one more token.
    """
    sizes = [_bytes(text[start:stop]) for start, stop in itertools.pairwise(edges)]
    start, n = 0, len(sizes)
    while start < n:
        stop, careful = start + 1, False
        tokens = count(text[edges[start] : edges[stop]])
        while stop < n:
            ahead, spare = stop, 0 if careful else (budget - tokens) // 2
            while ahead < n and sizes[ahead] <= spare:
                spare -= sizes[ahead]
                ahead += 1
            ahead = max(ahead, stop + 1)
            more = count(text[edges[start] : edges[ahead]])
            if more > budget and ahead == stop + 1:
                break
            if more > budget:
                careful = True
            else:
                stop, tokens = ahead, more
        yield edges[stop]
        start = stop


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
