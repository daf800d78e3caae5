"""Batches of the stage `gpt`: spliced sentences, and recordings that condition them.

In: corpora with `feat`, `codes`, `align` and `phone` arrays. Out: `Batch`es.

- The conditioners get *another* recording of the same voice, so that they cannot leak the words. In some batches the
  emotion conditioner gets the sentence itself, to learn the variation within a voice.
- Many sentences are spliced from words of several recordings of one voice. The GPT soon memorizes a few thousand
  sentences, and a GPT that recites memorized sentences skips words.
- With `hybrid_share`, some change to another recording within words, at a phone that both have, so that no word can be
  recited.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from edgetts.models.gpt import GPT
from recipes.tiny import dims
from recipes.tiny.corpus.data import Corpus, pad
from recipes.tiny.corpus.lexicon import PHONES, STRESS
from recipes.tiny.corpus.text import N_SPELLED, SPACE, TOKENS, reading_of

REFERENCE_FRAMES = (80, 200)  # range of the length of the conditioning recording
OWN_EMOTION_SHARE = 0.25  # of batches whose emotion comes from the sentence itself
SPELLED_READING_SHARE = 0.1  # of sentences; the pronouncer leaves few words to letters
SPLICED_SHARE = 0.6  # of sentences, hybrids aside, that are spliced
MAX_PIECES = 6
MAX_WORDS = 5  # per piece, except the last
FEWEST_CODES = 20  # of a spliced sentence
SPACE_TOKEN = TOKENS.index(SPACE)
MAX_HYBRID_WORDS = 3  # from one change of recording to the next
PHONE_TOKENS = torch.tensor([token in PHONES for token in TOKENS])
WITHIN_WORD = PHONE_TOKENS | torch.tensor([token == STRESS for token in TOKENS])


@dataclass
class Batch:
    """Padded sentences and the recordings that condition them."""

    text: Tensor  # (B, Tt) with start and stop
    text_lengths: Tensor  # (B,)
    codes: Tensor  # (B, Tc)
    code_lengths: Tensor  # (B,)
    align: Tensor  # (B, Tc) position in the text, 0 to 1
    phones: Tensor  # (B, Tc) phone of each code
    reference: Tensor  # (R, Tr, C) conditioning recordings, R <= B: rows of one voice may share one
    reference_lengths: Tensor
    emotion: Tensor  # (R or B, Te, C)
    emotion_lengths: Tensor
    reference_of: Tensor  # (B,) index into R
    emotion_of: Tensor  # (B,)


@dataclass
class Row:
    """One sentence, recorded or spliced."""

    ids: Tensor  # (Tt,) with start and stop
    codes: Tensor  # (Tc,)
    align: Tensor  # (Tc,)
    phones: Tensor  # (Tc,)

    def words(self) -> tuple[Tensor, Tensor]:
        """Start indices of words: in the tokens (without start and stop), and in the codes."""
        tokens = self.ids[1:-1]
        starts = (tokens == SPACE_TOKEN).nonzero()[:, 0]
        return starts, torch.searchsorted(self.position(), starts.float())

    def position(self) -> Tensor:
        """Text token of each code as a fractional index (Tc,), increasing."""
        return self.align * (len(self.ids) - 2) + 0.5


def spliced(rows: Sequence[Row], longest: int, generator: np.random.Generator) -> Row:
    """Splice several sentences: the first words of the first, some words of the others, the last words of the last.

    The result has at most `longest` codes. If no splice fits, the first sentence is returned unchanged.

    All codes come from recordings. The GPT can neither memorize whole sentences nor predict words from earlier ones.
    """
    tokens, positions, codes, phones = [], [], [], []
    n_tokens = n_codes = 0
    tail = _piece(rows[-1], generator, first=False, last=True)
    for k, row in enumerate(rows):
        is_last = k == len(rows) - 1
        piece = tail if is_last else _piece(row, generator, first=k == 0, last=False)
        if piece is None or (not is_last and n_codes + len(piece.codes) + len(tail.codes if tail else ()) > longest):
            continue
        tokens.append(piece.ids)
        positions.append(piece.align + n_tokens)
        codes.append(piece.codes)
        phones.append(piece.phones)
        n_tokens, n_codes = n_tokens + len(piece.ids), n_codes + len(piece.codes)
    if not FEWEST_CODES <= n_codes <= longest:
        return rows[0]
    ids = torch.cat([rows[0].ids[:1], *tokens, rows[0].ids[-1:]])
    share = ((torch.cat(positions) - 0.5) / n_tokens).clamp(0, 1)
    return Row(ids, torch.cat(codes), share, torch.cat(phones))


def _piece(row: Row, generator: np.random.Generator, *, first: bool, last: bool) -> Row | None:
    """Some words of a sentence; `first`: from its start, `last`: to its end.

    Without start and stop tokens; `align` is the token index within the piece.
    """
    starts, frames = row.words()
    n = len(starts)
    if n == 0:
        return None
    a = 0 if first else int(generator.integers(n))
    b = n if last else int(generator.integers(a + 1, min(n, a + MAX_WORDS) + 1))
    bounds = [*starts.tolist(), len(row.ids) - 2], [*frames.tolist(), len(row.codes)]
    (t0, t1), (c0, c1) = ((bound[a], bound[b]) for bound in bounds)
    if first:
        t0 = c0 = 0
    position = row.position()[c0:c1] - t0
    return Row(row.ids[1 + t0 : 1 + t1], row.codes[c0:c1], position, row.phones[c0:c1])


def hybrid(rows: Sequence[Row], longest: int, generator: np.random.Generator) -> Row:
    """Change from one sentence to the next within words, from a phone to the same phone, until the last one ends.

    The words where it changes are in no recording, but all codes and nearly all transitions are. The result has at most
    `longest` codes; if no change is possible, the first sentence is returned unchanged.
    """
    pieces, row, start, n_codes = [], rows[0], 0, 0
    for other in rows[1:]:
        change = _change(row, other, start, longest - n_codes, generator)
        if change is not None:
            pieces.append(_tokens(row, start, change[0]))
            n_codes += len(pieces[-1].codes)
            row, start = other, change[1]
    pieces.append(_tokens(row, start, len(row.ids) - 2))
    n_codes += len(pieces[-1].codes)
    if len(pieces) == 1 or n_codes < FEWEST_CODES:
        return rows[0]
    offsets = np.cumsum([0] + [len(piece.ids) for piece in pieces]).tolist()
    positions = torch.cat([piece.align + n for piece, n in zip(pieces, offsets, strict=False)])
    ids = torch.cat([rows[0].ids[:1], *(piece.ids for piece in pieces), rows[0].ids[-1:]])
    share = ((positions - 0.5) / offsets[-1]).clamp(0, 1)
    return Row(ids, torch.cat([piece.codes for piece in pieces]), share, torch.cat([piece.phones for piece in pieces]))


def _change(row: Row, other: Row, start: int, longest: int, generator: np.random.Generator) -> tuple[int, int] | None:
    """Where to leave `row`, which runs from the token `start`, and to enter `other`: after a phone within a word of
    both. Both parts together have at most `longest` codes."""
    tokens, others = row.ids[1:-1], other.ids[1:-1]
    here, there = _within_words(row), _within_words(other)
    n_words = int(generator.integers(1, MAX_HYBRID_WORDS + 1))
    words = (tokens == SPACE_TOKEN).cumsum(0)
    here = here[(here >= start) & (words[here] < words[start] + n_words)]
    used = _first_code(row, here + 1) - _first_code(row, torch.tensor(start))
    rest = len(other.codes) - _first_code(other, there + 1)
    fits = used[:, None] + rest[None] <= longest
    pairs = (fits & (tokens[here][:, None] == others[there][None])).nonzero()
    if not len(pairs):
        return None
    i, j = pairs[int(generator.integers(len(pairs)))].tolist()
    return int(here[i]) + 1, int(there[j]) + 1


def _first_code(row: Row, token: Tensor) -> Tensor:
    """Index of the first code of a token, which does not count the start; the silence before the first is its part."""
    first = torch.searchsorted(row.position(), token.float())
    return torch.where(token == 0, 0, first)


def _within_words(row: Row) -> Tensor:
    """Indices of phones (not counting the start token) that another phone of their word follows."""
    tokens = row.ids[1:-1]
    return (PHONE_TOKENS[tokens[:-1]] & WITHIN_WORD[tokens[1:]]).nonzero()[:, 0]


def _tokens(row: Row, start: int, end: int) -> Row:
    """Tokens from `start` to `end`, without start and stop; `align` is the token index within the piece."""
    first = int(_first_code(row, torch.tensor(start)))
    last = len(row.codes) if end == len(row.ids) - 2 else int(_first_code(row, torch.tensor(end)))
    align = row.position()[first:last] - start
    return Row(row.ids[1 + start : 1 + end], row.codes[first:last], align, row.phones[first:last])


def joined(
    gpt: GPT,
    head: Tensor,
    text: Tensor,
    text_lengths: Tensor,
    codes: Tensor,
    code_lengths: Tensor,
    *,
    skip_position: bool,
) -> tuple[Tensor, Tensor]:
    """Input embeddings (B, L, C) of voice, text and codes, concatenated and padded, and code positions (B, Tc + 1).

    head: (B, Nc, C), the voices. skip_position: number the codes as in decoding.
    """
    start = torch.full((len(codes), 1), gpt.config.start_mel_token)
    positions = torch.arange(codes.shape[1] + 1)
    if skip_position:
        positions[1:] += 1
    embedded = gpt.text_embed(text)  # (B, Tt, C)
    mel = gpt.mel_embed(torch.cat([start, codes], 1), positions)  # (B, Tc + 1, C)
    rows = [
        torch.cat([h, t[:nt], m[: nc + 1]])
        for h, t, m, nt, nc in zip(head, embedded, mel, text_lengths.tolist(), code_lengths.tolist(), strict=True)
    ]
    offsets = head.shape[1] + text_lengths  # (B,)
    where = offsets[:, None] + torch.arange(codes.shape[1] + 1)[None]
    embeddings, _ = pad(rows)
    return embeddings, where.clamp_max(embeddings.shape[1] - 1)


class Sentences:
    """Sentences with codes, each with other recordings of the same voice; draws batches."""

    def __init__(
        self,
        corpora: Sequence[Corpus],
        weights: Sequence[int],
        held_out: bool,
        most_codes: int = dims.MAX_CODES,
        hybrid_share: float = 0.0,
    ) -> None:
        """hybrid_share: of sentences that are hybrids, unless held out."""
        self.hybrid_share = hybrid_share
        self.entries: list[tuple[Corpus, int]] = []
        self.by_voice: dict[tuple[Path, str], list[int]] = defaultdict(list)
        for corpus, weight in zip(corpora, weights, strict=True):
            for i in corpus.training():
                self.by_voice[corpus.folder, corpus.items[i]["voice"]].append(i)
            chosen = corpus.held_out() if held_out else corpus.training() * weight
            for i in chosen:
                if 0 < corpus.length("text", i) <= dims.MAX_TEXT and corpus.length("codes", i) <= most_codes:
                    self.entries.append((corpus, i))
        self.varied = not held_out
        self.lengths = [c.length("text", i) + c.length("codes", i) + dims.N_LATENTS + 5 for c, i in self.entries]

    def row(self, corpus: Corpus, i: int, reading: int = 0) -> Row:
        """Recording `i` in one of its readings; 0 is the usual one."""
        ids = torch.tensor([0, *corpus.get(reading_of("text", reading), i).tolist(), 1])
        align = corpus.get(reading_of("align", reading), i)
        return Row(ids, corpus.get("codes", i).long(), align, corpus.get("phone", i).long())

    def _varied_row(self, corpus: Corpus, i: int, generator: np.random.Generator) -> Row:
        """Recording `i` in the usual reading, or in a spelled one with probability `SPELLED_READING_SHARE`."""
        spelled = generator.random() < SPELLED_READING_SHARE
        return self.row(corpus, i, int(generator.integers(1, 1 + N_SPELLED)) if spelled else 0)

    def _rows(self, chosen: Sequence[tuple[Corpus, int]], generator: np.random.Generator) -> list[Row]:
        rows = []
        for corpus, i in chosen:
            if not self.varied:
                rows.append(self.row(corpus, i))
                continue
            row = self._varied_row(corpus, i, generator)
            is_hybrid = generator.random() < self.hybrid_share
            if is_hybrid or generator.random() < SPLICED_SHARE:
                join = hybrid if is_hybrid else spliced
                others = self.by_voice[corpus.folder, corpus.items[i]["voice"]]
                drawn = generator.choice(others, int(generator.integers(1, MAX_PIECES)))
                rest = [self._varied_row(corpus, int(k), generator) for k in drawn]
                row = join([row, *rest], len(row.codes), generator)
            rows.append(row)
        return rows

    def batch(self, positions: Sequence[int], generator: np.random.Generator) -> Batch:
        """The sentences at `positions` of `entries`; joined and in varied readings, unless held out."""
        chosen = [self.entries[k] for k in positions]
        n_reference = int(generator.integers(*REFERENCE_FRAMES))
        own = generator.random() < OWN_EMOTION_SHARE
        numbers: dict[tuple[Path, str], int] = {}  # rows of one voice share a reference, to save time
        references: list[Tensor] = []
        reference_of = []
        taken = {(c.folder, i) for c, i in chosen}
        for corpus, i in chosen:
            voice = (corpus.folder, corpus.items[i]["voice"])
            if voice not in numbers:
                numbers[voice] = len(references)
                others = self.by_voice[voice]
                other = others[generator.integers(len(others))]
                for _ in range(9):
                    if (corpus.folder, other) not in taken:
                        break
                    other = others[generator.integers(len(others))]
                references.append(_crop(corpus.get("feat", other), n_reference, generator))
            reference_of.append(numbers[voice])
        emotions = [_crop(c.get("feat", i), n_reference, generator) for c, i in chosen] if own else references
        emotion_of = torch.arange(len(chosen)) if own else torch.tensor(reference_of)
        rows = self._rows(chosen, generator)
        text, text_lengths = pad([row.ids for row in rows])
        codes, code_lengths = pad([row.codes for row in rows])
        align, _ = pad([row.align for row in rows])
        phones, _ = pad([row.phones for row in rows])
        return Batch(
            text,
            text_lengths,
            codes,
            code_lengths,
            align,
            phones,
            *pad(references),
            *pad(emotions),
            torch.tensor(reference_of),
            emotion_of,
        )


def _crop(features: Tensor, length: int, generator: np.random.Generator) -> Tensor:
    start = int(generator.integers(0, max(1, len(features) - length)))
    return features[start : start + length]
