"""What a decoding step works on: tensors with fixed addresses that it changes in place, and nothing else.

In: the GPT's shapes, how many rows, room for keys. Out: a `DecodeState`, written from the host before the first code
and between bursts only (`begin`, the noise ring). It knows nothing of how a step computes or who runs it.

One cache serves all rows: the prefix is there once, and each row writes every new position to a slot of its own.
Which slots a row attends to, its ancestry, is a mask; when row b continues row p it takes over p's line of the mask,
and no key moves.

Shapes: R rows (beams), K codes, S slots, L layers, H heads, D head dim, W candidates of a choice.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from edgetts.decoding.beam import DEAD_BEAM_SCORE
from edgetts.decoding.bursts import BURST
from edgetts.decoding.sampling import start_seen
from edgetts.decoding.settings import DecodeSettings
from edgetts.models.gpt import GPT

KEY_BUCKET = 256
"""A step attends to a multiple of so many slots, whatever of them is in use."""
NOISE_RING = 2 * BURST
"""Choices that noise is there for: of the burst that runs and of the one behind it."""
NARROW = 64
"""Codes that are sorted for sampling where top-k keeps fewer: a sort of all costs more than the rest of the choice."""

_KEPT_ONE_ROW, _KEPT_BEAMS = 1, 2  # what top-p leaves at least, as in `decoding.sampling`
_KEEPS_ALL = -1.0  # a probability that no sum is below


@dataclass(frozen=True)
class StepKind:
    """What a step is made for, beside its bucket: all that decides which operations run."""

    n_rows: int
    sampled: bool
    n_sorted: int  # codes of a row that the filters look at; 1 where the choice is greedy

    @property
    def n_candidates(self) -> int:
        """W: of a beam search enough to go on when each beam's best is the stop code."""
        return 1 if self.n_rows == 1 else 2 * self.n_rows

    @property
    def min_kept(self) -> int:
        return _KEPT_ONE_ROW if self.n_rows == 1 else _KEPT_BEAMS

    @classmethod
    def of(cls, settings: DecodeSettings, n_codes: int) -> StepKind:
        """n_codes: of the vocabulary."""
        if not settings.do_sample:
            return cls(settings.n_beams, False, 1)
        narrow = 0 < settings.top_k < NARROW < n_codes
        return cls(settings.n_beams, True, NARROW if narrow else n_codes)


@dataclass(frozen=True, eq=False)
class DecodeState:
    """All of it on the GPT's device. A choice is number 0, 1, ...; the first is made from the prefix."""

    storage: Tensor  # (L, 2, 1, H, S, D) keys and values in the compute type, as of `KVCache`
    mask: Tensor  # (R, S) bool: what a row attends to
    slots: Tensor  # (R,) int64: where the next step writes
    n_chosen: Tensor  # (1,) int64
    codes: Tensor  # (R,) int64: the latest code of each row
    scores: Tensor  # (R,) fp32: of each beam; of one row 0
    seen: Tensor  # (R, K) bool: what the repetition penalty counts as used
    stopped: Tensor  # (1,) bool: one row chose the stop code; a beam search ends on the host
    finite: Tensor  # (1,) bool: all scores so far were numbers
    noise: Tensor  # (NOISE_RING, R * K) fp32 exponential variates; choice n reads line n % NOISE_RING
    temperature: Tensor  # () fp32
    top_k: Tensor  # (1,) int64, at least what must be kept and at most what is sorted
    dropped_probability: Tensor  # () fp32: 1 - top_p
    penalty: Tensor  # () fp32
    picks: Tensor  # (N, W) int64: candidates of choice n, row * K + code; -1 once a score was no number
    values: Tensor  # (N, W) fp32: their scores

    @classmethod
    def allocate(cls, gpt: GPT, n_rows: int, n_slots: int, device: torch.device, dtype: torch.dtype) -> DecodeState:
        """dtype: of keys and values, that of the embeddings."""
        config = gpt.config
        n_codes, longest = config.n_mel_codes, config.n_mel_positions
        n_candidates = StepKind(n_rows, False, 1).n_candidates

        def zeros(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=device)

        return cls(
            # Zeros, as masked slots still meet a weight of 0: what is no number there would show.
            storage=zeros(config.n_layers, 2, 1, config.n_heads, n_slots, config.head_dim, dtype=dtype),
            mask=zeros(n_rows, n_slots, dtype=torch.bool),
            slots=torch.arange(n_rows, device=device),
            n_chosen=zeros(1),
            codes=zeros(n_rows),
            scores=zeros(n_rows, dtype=torch.float32),
            seen=start_seen(config, n_rows, device),
            stopped=zeros(1, dtype=torch.bool),
            finite=torch.ones(1, dtype=torch.bool, device=device),
            noise=torch.ones(NOISE_RING, n_rows * n_codes, device=device),
            temperature=torch.ones((), device=device),
            top_k=torch.ones(1, dtype=torch.int64, device=device),
            dropped_probability=zeros(dtype=torch.float32),
            penalty=torch.ones((), device=device),
            picks=zeros(longest, n_candidates),
            values=zeros(longest, n_candidates, dtype=torch.float32),
        )

    @property
    def n_slots(self) -> int:
        return self.mask.shape[1]

    def begin(self, settings: DecodeSettings, kind: StepKind, start_seen: Tensor, n_prefix: int) -> None:
        """Make ready for the first choice behind `n_prefix` positions. start_seen: (1, K).

        Only fills and copies on the device: nothing waits for what is still running there.
        """
        self.mask.zero_()
        self.mask[:, :n_prefix] = True
        torch.arange(n_prefix, n_prefix + kind.n_rows, out=self.slots)
        self.n_chosen.zero_()
        self.scores.fill_(DEAD_BEAM_SCORE)
        self.scores[:1] = 0.0
        self.seen.copy_(start_seen.expand_as(self.seen))
        self.stopped.fill_(False)
        self.finite.fill_(True)
        self.temperature.fill_(settings.temperature)
        top_k = settings.top_k or kind.n_sorted
        self.top_k.fill_(min(max(top_k, kind.min_kept), kind.n_sorted))
        self.dropped_probability.fill_(1 - settings.top_p if settings.top_p < 1 else _KEEPS_ALL)
        self.penalty.fill_(settings.repetition_penalty)

    def tensors(self) -> dict[str, Tensor]:
        """By name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def small(self) -> list[Tensor]:
        """All that a step changes but keys and values."""
        unchanged = ("storage", "noise", "temperature", "top_k", "dropped_probability", "penalty")
        return [tensor for name, tensor in self.tensors().items() if name not in unchanged]


def bucket_of(n_slots: int) -> int:
    """The least bucket with room for so many."""
    return -(-n_slots // KEY_BUCKET) * KEY_BUCKET
