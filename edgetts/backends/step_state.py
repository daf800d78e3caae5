"""The state of a decoding step: tensors at fixed addresses, changed in place.

In: the GPT's shapes, the number of rows, the number of slots for keys. Out: a `DecodeState`. The host writes to it only
before the first code (`begin`) and between bursts (the noise ring). It does not know how a step computes or who runs
it.

One KV cache serves all rows: the prefix is stored once, and each row writes every new position to its own slot. A mask
says which slots a row attends to (its ancestry): when row b continues row p, it copies p's row of the mask, and no keys
move.

Shapes: R rows (beams), K codes, S slots, L layers, H heads, D head dim, W candidates of a choice.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from edgetts.decoding.beam import DEAD_BEAM_SCORE
from edgetts.decoding.bursts import BURST
from edgetts.decoding.sampling import min_kept, start_seen
from edgetts.decoding.settings import DecodeSettings
from edgetts.models.gpt import GPT

KEY_BUCKET = 256
"""Steps attend to a multiple of this many slots; unused ones are masked."""
NOISE_RING = 2 * BURST
"""Choices whose noise is kept: those of the running burst and of the next one."""
NARROW = 64
"""Number of codes sorted when top-k is smaller: sorting all of them costs more than the rest of the choice."""

_KEEPS_ALL = -1.0  # dropped probability that disables top-p


@dataclass(frozen=True)
class StepKind:
    """What a step is specialized for, besides its bucket."""

    n_rows: int
    sampled: bool
    n_sorted: int  # codes per row that the filters see; 1 for greedy choice

    @property
    def n_candidates(self) -> int:
        """W. Beam search: enough to continue even if each beam's best code is the stop code."""
        return 1 if self.n_rows == 1 else 2 * self.n_rows

    @property
    def min_kept(self) -> int:
        return min_kept(self.n_rows)

    @classmethod
    def of(cls, settings: DecodeSettings, n_codes: int) -> StepKind:
        """n_codes: size of the vocabulary."""
        if not settings.do_sample:
            return cls(settings.n_beams, False, 1)
        narrow = 0 < settings.top_k < NARROW < n_codes
        return cls(settings.n_beams, True, NARROW if narrow else n_codes)


@dataclass(frozen=True, eq=False)
class DecodeState:
    """Tensors on the GPT's device. Choices are numbered from 0, which is made from the prefix."""

    storage: Tensor  # (L, 2, 1, H, S, D) keys and values in the compute dtype, as in `KVCache`
    mask: Tensor  # (R, S) bool: slots that a row attends to
    slots: Tensor  # (R,) int64: where the next step writes
    n_chosen: Tensor  # (1,) int64
    codes: Tensor  # (R,) int64: the latest code of each row
    scores: Tensor  # (R,) fp32: of each beam; 0 for one row
    seen: Tensor  # (R, K) bool: codes subject to the repetition penalty
    stopped: Tensor  # (1,) bool: the single row chose the stop code; the host ends a beam search
    finite: Tensor  # (1,) bool: all scores so far were finite
    noise: Tensor  # (NOISE_RING, R * K) fp32 exponential variates; choice n reads row n % NOISE_RING
    temperature: Tensor  # () fp32
    top_k: Tensor  # (1,) int64, clamped to min_kept..n_sorted
    dropped_probability: Tensor  # () fp32: 1 - top_p
    penalty: Tensor  # () fp32
    picks: Tensor  # (N, W) int64: candidates of choice n, row * K + code; -1 once a score was not finite
    values: Tensor  # (N, W) fp32: their scores

    @classmethod
    def allocate(cls, gpt: GPT, n_rows: int, n_slots: int, device: torch.device, dtype: torch.dtype) -> DecodeState:
        """dtype: of keys and values; the same as of the embeddings."""
        config = gpt.config
        n_codes, longest = config.n_mel_codes, config.n_mel_positions
        n_candidates = StepKind(n_rows, False, 1).n_candidates

        def zeros(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=device)

        return cls(
            # Zeros: masked slots have weight 0, and 0 * NaN would be NaN.
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
        """Reset for a text with `n_prefix` prefix positions. start_seen: (1, K).

        Only fills and copies on the device, without synchronizing.
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
        """All tensors by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def small(self) -> list[Tensor]:
        """The tensors that a step changes, except keys and values."""
        unchanged = ("storage", "noise", "temperature", "top_k", "dropped_probability", "penalty")
        return [tensor for name, tensor in self.tensors().items() if name not in unchanged]


def bucket_of(n_slots: int) -> int:
    """The smallest bucket with room for `n_slots`."""
    return -(-n_slots // KEY_BUCKET) * KEY_BUCKET
