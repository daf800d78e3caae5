"""Sampling on the device: repetition penalty, filters, draw and beam reordering, without synchronizing with the host.

In: logits (R, K) fp32 and a `DecodeState`, whose settings are tensors. Out: the state, advanced by one choice. Results
equal `decoding.sampling` and `decoding.decode` up to the order of sums; the noise comes from the state. Which sequences
are finished, and which one wins, is decided by the reader of the candidates.

Shapes: R rows, K codes, W candidates, N codes of a row that the filters look at.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from edgetts.backends.step_state import NOISE_RING, DecodeState, StepKind
from edgetts.decoding.sampling import penalize_repetition

NOT_FINITE = -1
"""Marks missing candidates, from the first non-finite scores on."""


def choose(logits: Tensor, state: DecodeState, kind: StepKind, stop_code: int) -> None:
    """Choose candidates from logits (R, K), record them, and continue each row with one of them."""
    n_codes = logits.shape[1]
    state.finite.logical_and_(torch.isfinite(logits.amax()))
    scores = logits if kind.n_rows == 1 else logits.log_softmax(dim=-1)
    scores = penalize_repetition(scores, state.seen, state.penalty)
    values, picks = _drawn(scores, state, kind) if kind.sampled else _best(scores, state, kind)  # (W,) each
    codes = picks % n_codes
    if kind.n_rows == 1:
        codes = torch.where(state.stopped, stop_code, codes)
        state.stopped.logical_or_(codes == stop_code)
        picks = codes
    else:
        values, codes = _reorder(values, codes, picks // n_codes, state, stop_code)
    state.codes.copy_(codes)
    state.seen.scatter_(1, codes.unsqueeze(1), True)
    state.picks.index_copy_(0, state.n_chosen, torch.where(state.finite, picks, NOT_FINITE).unsqueeze(0))
    state.n_chosen.add_(1)


def _best(scores: Tensor, state: DecodeState, kind: StepKind) -> tuple[Tensor, Tensor]:
    """Greedy: the best candidates of scores (R, K), best first: scores and indices row * K + code, (W,)."""
    if kind.n_rows == 1:
        pick = scores.argmax(dim=-1)
        return scores[0].index_select(0, pick), pick
    return (scores + state.scores.unsqueeze(1)).flatten().topk(kind.n_candidates)


def _drawn(scores: Tensor, state: DecodeState, kind: StepKind) -> tuple[Tensor, Tensor]:
    """Sampled: W candidates drawn after temperature, top-k and top-p from scores (R, K), best first, as `_best`."""
    n_codes = scores.shape[1]
    values, codes = (scores / state.temperature).topk(kind.n_sorted)  # (R, N), best first
    values = values.masked_fill(values < values.index_select(1, state.top_k - 1), -math.inf)
    rising = values.flip(-1).softmax(dim=-1).cumsum(dim=-1).flip(-1)  # probability of a code and all less likely ones
    rank = torch.arange(kind.n_sorted, device=scores.device)
    dropped = (rising <= state.dropped_probability) & (rank >= kind.min_kept)
    values = values.masked_fill(dropped, -math.inf)
    if kind.n_rows > 1:
        values = values + state.scores.unsqueeze(1)
    values = values.flatten()  # (R * N,)
    noise = state.noise.index_select(0, state.n_chosen % NOISE_RING).view(kind.n_rows, n_codes).gather(1, codes)
    drawn = (values.softmax(dim=-1) / noise.flatten()).topk(kind.n_candidates).indices  # (W,)
    values, order = values.index_select(0, drawn).sort(descending=True)
    drawn = drawn.index_select(0, order)
    return values, drawn // kind.n_sorted * n_codes + codes.flatten().index_select(0, drawn)


def _reorder(
    values: Tensor, codes: Tensor, parents: Tensor, state: DecodeState, stop_code: int
) -> tuple[Tensor, Tensor]:
    """Continue the rows with the first R of the candidates (W,), best first, that do not stop:

    their scores, codes (R,).
    """
    state.values.index_copy_(0, state.n_chosen, values.unsqueeze(0))
    n_rows, n = len(state.codes), len(codes)
    rank = torch.arange(n, device=codes.device) + n * (codes == stop_code)
    going_on = rank.sort().indices[:n_rows]
    parents = parents.index_select(0, going_on)
    state.mask.copy_(state.mask.index_select(0, parents))
    state.seen.copy_(state.seen.index_select(0, parents))
    values = values.index_select(0, going_on)
    state.scores.copy_(values)
    return values, codes.index_select(0, going_on)
