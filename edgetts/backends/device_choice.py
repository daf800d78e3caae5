"""The choice of the next code on the device: penalty, filters, draw and the beams' reordering, without a look back.

In: logits (R, K) fp32 and a `DecodeState`, whose settings are tensors. Out: the state, advanced by one choice. The
numbers are those of `decoding.sampling` and `decoding.decode`, to the order of sums; the noise is in the state, so the
draw is, too. Which sequences are finished, and which wins, is for whoever reads the candidates.

Shapes: R rows, K codes, W candidates, N codes of a row that the filters look at.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from edgetts.backends.step_state import NOISE_RING, DecodeState, StepKind
from edgetts.decoding.sampling import penalize_repetition

NOT_FINITE = -1
"""In place of candidates, from the first scores on that were no numbers."""


def choose(logits: Tensor, state: DecodeState, kind: StepKind, stop_code: int) -> None:
    """Take the candidates of logits (R, K), note them, and make each row continue one of them."""
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
    """The best candidates of scores (R, K), best first: scores and places row * K + code, (W,)."""
    if kind.n_rows == 1:
        pick = scores.argmax(dim=-1)
        return scores[0].index_select(0, pick), pick
    return (scores + state.scores.unsqueeze(1)).flatten().topk(kind.n_candidates)


def _drawn(scores: Tensor, state: DecodeState, kind: StepKind) -> tuple[Tensor, Tensor]:
    """As many drawn from what temperature, top-k and top-p leave of scores (R, K), best first."""
    n_codes = scores.shape[1]
    values, codes = (scores / state.temperature).topk(kind.n_sorted)  # (R, N), best first
    values = values.masked_fill(values < values.index_select(1, state.top_k - 1), -math.inf)
    rising = values.flip(-1).softmax(dim=-1).cumsum(dim=-1).flip(-1)  # of a code and all that are less likely
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
    """Of candidates (W,), best first, the rows continue the first that do not stop: scores and codes of them, (R,)."""
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
