"""The decoding step of a quantized GPT as one call into the native library.

In: a GPT whose linear layers were replaced by `linear.replacer`. Out: a callable like the GPT, equal up to rounding:
one new position per row runs natively, anything longer goes to the GPT. It does not know sampling or beams.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgetts.backends.linear import QuantizedLinear
from edgetts.models.gpt import GPT, Block, KVCache
from edgetts.native.gpt import HEAD_DIM_UNIT, BlockWeights, GPTStack, LinearWeights, NormWeights
from edgetts.native.library import find_library
from edgetts.native.linear import Activations, Packed

_ACTIVATIONS = {"native": Activations.INT16, "native-int8": Activations.INT8}  # by the kernel's name


class FusedStep:
    """`gpt(embeddings, cache)`, with single positions through the native stack."""

    def __init__(self, gpt: GPT, stack: GPTStack, activations: Activations) -> None:
        self._gpt = gpt
        self._stack = stack
        self._activations = activations

    def __call__(self, embeddings: Tensor, cache: KVCache) -> Tensor:
        """Embeddings (B, T, C) -> hidden states (B, T, C) after both final norms; keys and values go to the cache."""
        if embeddings.shape[1] != 1 or cache.length == cache.capacity:  # the GPT raises for a full cache
            hidden: Tensor = self._gpt(embeddings, cache)
            return hidden
        hidden = self._stack.step(
            embeddings,
            cache.storage,
            cache.length,
            activations=self._activations,
            n_threads=torch.get_num_threads(),
        )
        cache.length += 1
        return hidden


def fused_step(gpt: GPT) -> FusedStep | None:
    """The fused step, or None unless native kernels serve every linear layer of the blocks, in fp32 on the CPU."""
    library = find_library()
    linears = [layer for block in gpt.gpt.h for layer in _linears(block)]
    names = {layer.kernel.name if isinstance(layer, QuantizedLinear) else "" for layer in linears}
    plain = gpt.final_norm.weight
    if library is None or plain.device.type != "cpu" or plain.dtype != torch.float32:
        return None
    if len(names) != 1 or not names <= _ACTIVATIONS.keys() or gpt.config.head_dim % HEAD_DIM_UNIT:
        return None
    blocks = []
    for block in gpt.gpt.h:
        assert isinstance(block, Block)
        qkv, attention_out, mlp_in, mlp_out = (_weights(layer) for layer in _linears(block))
        blocks.append(BlockWeights(_norm(block.ln_1), qkv, attention_out, _norm(block.ln_2), mlp_in, mlp_out))
    stack = GPTStack(library, blocks, [_norm(gpt.gpt.ln_f), _norm(gpt.final_norm)])
    return FusedStep(gpt, stack, _ACTIVATIONS[names.pop()])


def _linears(block: nn.Module) -> tuple[nn.Module, nn.Module, nn.Module, nn.Module]:
    assert isinstance(block, Block)
    return block.attn.c_attn, block.attn.c_proj, block.mlp.c_fc, block.mlp.c_proj


def _norm(norm: nn.LayerNorm) -> NormWeights:
    return norm.weight.detach().float().contiguous(), norm.bias.detach().float().contiguous()


def _weights(layer: nn.Module) -> LinearWeights:
    assert isinstance(layer, QuantizedLinear)
    packed = layer.packed
    assert isinstance(packed, Packed)
    bias = layer.bias
    return packed, None if bias is None else bias.detach().float().contiguous()
