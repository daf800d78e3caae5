"""The transformer layers of the DiT as one function that all of them share, plain or compiled.

In: the layers of a loaded `DiT`. Out: `DiTBlocks`, called with the hidden state and the conditions of a flow time. A
layer's weights are arguments, so that one compiled function serves all layers of a form (with a skip and without), at
any length. On CUDA it is compiled in another thread while the plain one works, and taken between two solutions.

Rotary pairs are laid out as two halves by permuting rows of the weight, which attention cannot see. On the CPU in
bfloat16, attention is the compiled kernel's, or goes head by head, whose scores stay in the cache: PyTorch's own form
is up to four times slower. No masks: one stream, no padding.

Shapes: R rows, T time, C channels, H heads, D head dim.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgetts.backends.compiled import Compiler, Swapped
from edgetts.backends.frame_ops import FrameOps, Rope
from edgetts.models.dit import Block
from edgetts.native.attention import attend, can_attend
from edgetts.native.library import find_library

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""q, k scaled, v: (R, T, H, D) -> (R, T, H, D)."""


class BlockWeights(NamedTuple):
    """Of one layer, in the type that computes."""

    qkv: Tensor  # (3 H D, C), pairs as halves
    out: Tensor
    up: Tensor  # both halves of the gated unit
    down: Tensor
    skip: Tensor | None  # (C, 2 C)
    skip_bias: Tensor | None


BlockFunction = Callable[[Tensor, Tensor | None, BlockWeights, Tensor, Tensor, Rope, int, int], Tensor]
"""x, skip, weights, conditions of both norms, rope, head dim, first frame that is wanted -> (R, T - begin, C)."""


def block_function(ops: FrameOps, attend: Attend) -> BlockFunction:
    """One layer: what all frames make of those from `begin` on."""

    def block(
        x: Tensor,
        skip: Tensor | None,
        weights: BlockWeights,
        first: Tensor,
        second: Tensor,
        rope: Rope,
        head_dim: int,
        begin: int,
    ) -> Tensor:
        if weights.skip is not None:
            assert skip is not None
            x = F.linear(torch.cat([x, skip], dim=-1), weights.skip, weights.skip_bias)
        rows, time, _ = x.shape
        qkv = F.linear(ops.norm(x, first), weights.qkv).view(rows, time, -1, head_dim)
        n_rotated = 2 * qkv.shape[2] // 3
        q, k = ops.rotate(qkv, n_rotated, rope).chunk(2, dim=2)
        v = qkv[:, :, n_rotated:]
        x = x[:, begin:] + F.linear(attend(q[:, begin:], k, v).flatten(2), weights.out)
        return x + F.linear(ops.swiglu(F.linear(ops.norm(x, second), weights.up)), weights.down)

    return block


def compile_block(function: Callable[..., Tensor], backend: Any = "inductor") -> Callable[..., Tensor]:
    """By torch.compile, whole. The length is a symbol from the first call on, and the first frame from its first on."""
    compiled = torch.compile(function, backend=backend, fullgraph=True)
    firsts: set[bool] = set()

    def block(
        x: Tensor,
        skip: Tensor | None,
        weights: BlockWeights,
        first: Tensor,
        second: Tensor,
        rope: Rope,
        head_dim: int,
        begin: int,
    ) -> Tensor:
        for tensor in filter(lambda each: each is not None, (x, skip)):
            torch._dynamo.mark_dynamic(tensor, 1)
        for table in rope:
            torch._dynamo.mark_dynamic(table, 0)
        if begin > 1 and not firsts:  # a number becomes a symbol when it has had two values: now, in the background
            firsts.add(True)
            compiled(x, skip, weights, first, second, rope, head_dim, begin - 1)
        return compiled(x, skip, weights, first, second, rope, head_dim, begin)

    return block


class DiTBlocks:
    """All layers. compiler: what makes a faster form; None: on CUDA torch.compile, on the CPU nothing does."""

    def __init__(
        self,
        layers: Sequence[Block],
        head_dim: int,
        dtype: torch.dtype,
        device: torch.device,
        ops: FrameOps,
        compiler: Compiler | None = None,
    ) -> None:
        self._head_dim = head_dim
        self._weights = [_weights(layer, head_dim, dtype) for layer in layers]
        plain = block_function(ops, attention(device, dtype, head_dim))
        if compiler is None and device.type == "cuda":
            compiler = compile_block
        self._swapped = None if compiler is None else Swapped(plain, compiler)
        self._block: BlockFunction = plain

    def settle(self) -> None:
        """Between two solutions: take the compiled form if it is there by now."""
        if self._swapped is not None:
            self._block = self._swapped.current()

    def wait(self) -> None:
        """Until what was seen is compiled, if it is to be."""
        if self._swapped is not None:
            self._swapped.wait()

    def __call__(self, x: Tensor, conditions: Sequence[Tensor], rope: Rope, n_emitting: int, begin: int) -> Tensor:
        """(R, T, C) -> (R, T - begin, C). conditions: of each layer's two norms; the first layers emit skips."""
        skips: list[Tensor] = []
        for i, weights in enumerate(self._weights):
            skip = skips.pop() if weights.skip is not None else None
            is_last = i == len(self._weights) - 1
            norms = conditions[2 * i], conditions[2 * i + 1]
            arguments = (x, skip, weights, *norms, rope, self._head_dim, begin if is_last else 0)
            if self._swapped is not None:
                self._swapped.seen(*arguments)
            x = self._block(*arguments)
            if i < n_emitting:
                skips.append(x)
        return x


def _weights(layer: Block, head_dim: int, dtype: torch.dtype) -> BlockWeights:
    attention, feed_forward, skip = layer.attention, layer.feed_forward, layer.skip_in_linear
    return BlockWeights(
        _halved_pairs(_cast(attention.wqkv, dtype), head_dim),
        _cast(attention.wo, dtype),
        torch.cat([_cast(feed_forward.w1, dtype), _cast(feed_forward.w3, dtype)]),
        _cast(feed_forward.w2, dtype),
        None if skip is None else _cast(skip, dtype),
        None if skip is None or skip.bias is None else skip.bias.detach().to(dtype),
    )


def _cast(layer: nn.Module, dtype: torch.dtype) -> Tensor:
    """The weight of a linear layer, quantized or not."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight.detach().to(dtype)


def _halved_pairs(weight: Tensor, head_dim: int) -> Tensor:
    """Rows (3 H D, C) of queries and keys with the first of all rotary pairs before the second of all.

    Queries and keys are permuted alike, so their products stay what they are.
    """
    dim = weight.shape[0] // 3
    qk = weight[: 2 * dim].view(-1, head_dim // 2, 2, weight.shape[1])
    return torch.cat([qk.transpose(1, 2).reshape(2 * dim, -1), weight[2 * dim :]])


def attention(device: torch.device, dtype: torch.dtype, head_dim: int) -> Attend:
    """The fastest form of the machine, by what was measured on its kind."""
    if device.type != "cpu" or dtype != torch.bfloat16:
        return attend_at_once
    library = find_library()
    # Matrix tiles (AMX) make the products by head faster than any dot product could.
    if library is None or torch.cpu._is_amx_tile_supported() or not can_attend(library, head_dim):
        return attend_by_head

    def attend_compiled(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attend(library, q, k, v, n_threads=torch.get_num_threads())

    return attend_compiled


def attend_at_once(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """By PyTorch's own form."""
    y = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
    return y.transpose(1, 2)  # (R, T, H, D)


def attend_by_head(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Row by row and head by head."""
    rows, _, n_heads, head_dim = q.shape
    scale = head_dim**-0.5
    y = torch.empty_like(q)
    for row in range(rows):
        for head in range(n_heads):
            scores = torch.mm(q[row, :, head] * scale, k[row, :, head].t())  # (T, T)
            torch.mm(torch.softmax(scores, dim=-1), v[row, :, head].contiguous(), out=y[row, :, head])
    return y
