"""One decoding step of a GPT-2 stack in a single call: norms, linear layers, attention over a cache, GELU.

In: packed weights of every block, the KV cache's memory, one new position per row. Out: hidden states; the new
keys and values are appended to the cache. Knows no embeddings, sampling or modules.

Through PyTorch a step takes twice the time of the weights' DRAM traffic: a few dozen small operations per block, and
attention kernels that are slow for a single query.

Shapes: B rows, C channels, H heads, D head dim, L layers, T_max capacity of the cache in positions.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from edgetts.errors import UsageError
from edgetts.native.library import Isa, Library, check
from edgetts.native.linear import Activations, Packed
from edgetts.native.structures import GPTShape, Layer, Linear, Norm

HEAD_DIM_UNIT = 16
"""The head dimension must be a multiple of this."""

NormWeights = tuple[Tensor, Tensor]
"""Weight and bias (C,) of a layer norm, whose epsilon is GPT-2's 1e-5."""
LinearWeights = tuple[Packed, Tensor | None]
"""A packed weight and its bias (O,)."""


@dataclass(frozen=True)
class BlockWeights:
    """One block, in order of use. `qkv` yields queries, keys and values of all heads, in this order."""

    before_attention: NormWeights
    qkv: LinearWeights  # (3 C, C)
    attention_out: LinearWeights  # (C, C)
    before_mlp: NormWeights
    mlp_in: LinearWeights  # (hidden, C), followed by tanh-GELU
    mlp_out: LinearWeights  # (C, hidden)


class GPTStack:
    """All blocks and the final norms, packed for `library`. References the weights without copying them."""

    def __init__(self, library: Library, blocks: Sequence[BlockWeights], norms: Sequence[NormWeights]) -> None:
        self._library = library
        self._channels = blocks[0].before_attention[0].shape[0]
        self._kept = (tuple(blocks), tuple(norms))  # the C structures hold addresses only
        self._norms = (Norm * len(norms))(*(self._norm(norm) for norm in norms))
        self._layers = (Layer * len(blocks))()
        for layer, block in zip(self._layers, blocks, strict=True):
            layer.before_attention = self._norm(block.before_attention)
            layer.before_mlp = self._norm(block.before_mlp)
            hidden = block.mlp_in[0].n_outputs
            layer.qkv = self._linear(block.qkv, 3 * self._channels, self._channels)
            layer.attention_out = self._linear(block.attention_out, self._channels, self._channels)
            layer.mlp_in = self._linear(block.mlp_in, hidden, self._channels)
            layer.mlp_out = self._linear(block.mlp_out, self._channels, hidden)
        if any(block.mlp_in[0].n_outputs != blocks[0].mlp_in[0].n_outputs for block in blocks):
            raise UsageError("The blocks of a stack must have the same width; run this network block by block.")

    def step(
        self,
        embeddings: Tensor,
        cache: Tensor,
        length: int,
        *,
        activations: Activations,
        n_threads: int,
        isa: Isa | None = None,
    ) -> Tensor:
        """One position of each row: embeddings (B, 1, C) float32 to hidden states (B, 1, C) after the final norms.

        cache: (L, 2, B, H, T_max, D), keys at 0 and values at 1, float32 or bfloat16, holding `length`
        positions; the step appends one. Any strides, as long as the positions of a head are contiguous.
        """
        n_layers, _, rows, heads, capacity, head_dim = cache.shape
        layer_step, value_step, row_step, head_step, position_step, last = cache.stride()
        fits = n_layers == len(self._layers) and heads * head_dim == self._channels and 0 <= length < capacity
        fits = fits and head_dim % HEAD_DIM_UNIT == 0
        if not fits or (position_step, last) != (head_dim, 1) or embeddings.shape != (rows, 1, self._channels):
            raise UsageError(
                f"A cache of shape {tuple(cache.shape)} with {length} positions used does not fit embeddings of "
                f"shape {tuple(embeddings.shape)} and {len(self._layers)} blocks of {self._channels} channels; "
                "allocate it for this network, with room for one more position."
            )
        check("cache", cache[0, 0, 0, 0], (torch.float32, torch.bfloat16))
        hidden = embeddings.clone(memory_format=torch.contiguous_format)
        check("embeddings", hidden, (torch.float32,))
        shape = GPTShape(rows, heads, head_dim, length, layer_step, value_step, row_step, head_step)
        self._library.c.edgetts_gpt_step(
            *(self._layers, n_layers, self._norms, len(self._norms)),
            *(hidden.data_ptr(), cache.data_ptr(), ctypes.byref(shape)),
            *(int(cache.dtype == torch.bfloat16), int(activations), int(self._library.usable(isa)), n_threads),
        )
        return hidden

    def _norm(self, norm: NormWeights) -> Norm:
        for tensor in norm:
            check("a norm's weights", tensor, (torch.float32,))
            if tensor.shape != (self._channels,):
                raise UsageError(f"A norm of {self._channels} channels has {tuple(tensor.shape)} weights.")
        return Norm(norm[0].data_ptr(), norm[1].data_ptr())

    def _linear(self, linear: LinearWeights, n_outputs: int, n_inputs: int) -> Linear:
        packed, bias = linear
        shape = (packed.n_outputs, packed.n_inputs)
        if packed.library is not self._library or shape != (n_outputs, n_inputs):
            raise UsageError(
                f"A weight of shape {shape} is given where one of {(n_outputs, n_inputs)}, packed for the compiled "
                "kernels, is needed; run this network block by block."
            )
        if bias is not None:
            check("bias", bias, (torch.float32,))
        address = None if bias is None else bias.data_ptr()
        return Linear(packed.data.data_ptr(), address, n_outputs, n_inputs, packed.group, packed.bits)
