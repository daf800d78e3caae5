"""One decoding step that can be replayed: it reads the latest codes from a `DecodeState` and writes the next ones to
it.

In: a GPT and a state; nothing from the host. Out: the state, advanced by one code per row. The step keeps no memory and
never synchronizes with the host, so it can be captured as a CUDA graph or compiled whole. The layers are the GPT's own,
with the kernels they were loaded with; GELU and residual are fused where a kernel supports it. It does not know its
runner (`runners`) or its caller (`device_decoder`).

Shapes: R rows, C channels, H heads, D head dim, S slots, K codes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from edgetts.backends.code_choice import choose
from edgetts.backends.linear import then
from edgetts.backends.step_state import DecodeState, StepKind
from edgetts.models.gpt import GPT, Block


@dataclass(frozen=True, eq=False)
class DecodeStep:
    """A step bound to its GPT and state: what a runner runs."""

    gpt: GPT
    state: DecodeState
    kind: StepKind

    def __call__(self, bucket: int) -> None:
        """One step over the first `bucket` slots; all slots in use, new positions included, lie in them."""
        decode_step(self.gpt, self.state, self.kind, bucket)


def decode_step(gpt: GPT, state: DecodeState, kind: StepKind, bucket: int) -> None:
    """Feed each row's latest code, then choose the next."""
    slots = state.slots
    state.mask.scatter_(1, slots.unsqueeze(1), True)
    # Start code: position 0; position 1 is unused; code n: position n + 2. The latest code is n_chosen - 1.
    x = gpt.mel_embed(state.codes.unsqueeze(0), state.n_chosen + 1)[0]  # (R, C)
    bias = torch.zeros((), dtype=x.dtype, device=x.device)
    bias = torch.where(state.mask[:, :bucket], bias, -math.inf).view(1, 1, kind.n_rows, bucket)
    for layer, block in enumerate(gpt.gpt.h):
        assert isinstance(block, Block)
        keys, values = state.storage[layer, 0, 0], state.storage[layer, 1, 0]  # (H, S, D)
        x = _block(block, x, keys, values, slots, bias)
    logits = gpt.logits(gpt.final_norm(gpt.gpt.ln_f(x))).float()  # (R, K)
    slots.add_(kind.n_rows)
    choose(logits, state, kind, gpt.config.stop_mel_token)


def _block(block: Block, x: Tensor, keys: Tensor, values: Tensor, slots: Tensor, bias: Tensor) -> Tensor:
    """x (R, C), keys and values (H, S, D), bias (1, 1, R, bucket) added to attention scores -> (R, C)."""
    n_rows, n_channels = x.shape
    query, key, value = (
        part.view(n_rows, block.attn.n_heads, -1).transpose(0, 1)  # (H, R, D)
        for part in block.attn.c_attn(block.ln_1(x)).split(n_channels, dim=-1)
    )
    keys[:, slots] = key
    values[:, slots] = value
    bucket = bias.shape[-1]
    y = F.scaled_dot_product_attention(
        query.unsqueeze(0), keys[:, :bucket].unsqueeze(0), values[:, :bucket].unsqueeze(0), attn_mask=bias
    )  # (1, H, R, D)
    x = then(block.attn.c_proj, y[0].transpose(0, 1).reshape(n_rows, n_channels), residual=x)
    inner = then(block.mlp.c_fc, block.ln_2(x), gelu=True)
    return then(block.mlp.c_proj, inner, residual=x)
