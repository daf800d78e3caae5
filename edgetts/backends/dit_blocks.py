"""The transformer layers of the DiT as one shared function, plain or compiled.

In: the layers of a loaded `DiT`. Out: `DiTBlocks`, called with the hidden state and the adaLN conditions of a flow
time. Weights are arguments, so one compiled function serves all layers with (or without) a skip connection, at any
length. On CUDA it is compiled in the background; the switch from the plain form happens between two ODE solutions.

Rotary pairs become two halves by permuting rows of the weight; attention scores do not change. On the CPU in bfloat16,
attention uses the native kernel, or runs head by head so that the scores stay in the cache: PyTorch's SDPA is up to
four times slower there. No masks: a batch is one sequence without padding.

Shapes: R rows, T time, C channels, H heads, D head dim.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgetts.backends.compiled import Compiler, Swapped, own_code
from edgetts.backends.frame_ops import FrameOps, Rope
from edgetts.models.dit import Block
from edgetts.native.attention import attend, can_attend
from edgetts.native.library import find_library

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""q, k scaled, v: (R, T, H, D) -> (R, T, H, D)."""


class BlockWeights(NamedTuple):
    """The weights of one layer, in the compute dtype."""

    qkv: Tensor  # (3 H D, C), pairs as halves
    out: Tensor
    up: Tensor  # (2 C_ff, C): gate, then value
    down: Tensor
    skip: Tensor | None  # (C, 2 C)
    skip_bias: Tensor | None


BlockFunction = Callable[[Tensor, Tensor | None, BlockWeights, Tensor, Tensor, Rope, int, int], Tensor]
"""x, skip, weights, conditions of both norms, rope, head dim, begin (first output frame) -> (R, T - begin, C)."""


def block_function(ops: FrameOps, attend: Attend) -> BlockFunction:
    """One layer: all frames as keys and values, frames from `begin` on as queries and output."""

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
    """torch.compile of a whole layer with dynamic length and, once it is not 0, dynamic `begin`."""
    compiled: Callable[..., Tensor] = torch.compile(own_code(function), backend=backend, fullgraph=True)
    firsts: set[bool] = set()

    def block(*arguments: Any) -> Tensor:
        x, skip, _, _, _, rope, _, begin = arguments
        for tensor in filter(lambda each: each is not None, (x, skip)):
            torch._dynamo.mark_dynamic(tensor, 1)
        for table in rope:
            torch._dynamo.mark_dynamic(table, 0)
        if begin > 1 and not firsts:  # an int becomes dynamic at its second value: use two now, in the background
            firsts.add(True)
            compiled(*arguments[:-1], begin - 1)
        return compiled(*arguments)

    return block


class DiTBlocks:
    """All layers.

    compiler: compiles a layer; None: torch.compile on CUDA, no compilation on the CPU. linear: makes the weight that a
    product reads; None: as it is. taken: called with each layer whose weights are not needed any more.
    """

    def __init__(
        self,
        layers: Sequence[Block],
        head_dim: int,
        dtype: torch.dtype,
        device: torch.device,
        ops: FrameOps,
        compiler: Compiler | None = None,
        linear: Callable[[Tensor], Tensor] | None = None,
        taken: Callable[[nn.Module], None] | None = None,
    ) -> None:
        self._head_dim = head_dim
        self._weights: list[BlockWeights] = []
        for layer in layers:
            self._weights.append(_weights(layer, head_dim, dtype, linear or (lambda weight: weight)))
            if taken is not None:
                taken(layer)
        plain = block_function(ops, attention(device, dtype, head_dim))
        if compiler is None and device.type == "cuda":
            compiler = compile_block
        self._swapped = None if compiler is None else Swapped(plain, compiler)
        self._block: BlockFunction = plain

    def settle(self) -> bool:
        """Switch to the compiled form if it is ready, and say whether the form changed. Between two ODE solutions."""
        before = self._block
        if self._swapped is not None:
            self._block = self._swapped.current()
        return self._block is not before

    def wait(self) -> None:
        """Wait until no background compilation is running."""
        if self._swapped is not None:
            self._swapped.wait()

    @property
    def problem(self) -> str:
        """Why the layers could not be compiled, or empty."""
        return "" if self._swapped is None else self._swapped.problem

    def __call__(self, x: Tensor, conditions: Sequence[Tensor], rope: Rope, n_emitting: int, begin: int) -> Tensor:
        """(R, T, C) -> (R, T - begin, C).

        conditions: two per layer, for its norms. The first n_emitting layers emit skips.
        """
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


def _weights(layer: Block, head_dim: int, dtype: torch.dtype, linear: Callable[[Tensor], Tensor]) -> BlockWeights:
    attention, feed_forward, skip = layer.attention, layer.feed_forward, layer.skip_in_linear
    return BlockWeights(
        linear(_halved_pairs(dense_weight(attention.wqkv, dtype), head_dim)),
        linear(dense_weight(attention.wo, dtype)),
        linear(torch.cat([dense_weight(feed_forward.w1, dtype), dense_weight(feed_forward.w3, dtype)])),
        linear(dense_weight(feed_forward.w2, dtype)),
        None if skip is None else linear(dense_weight(skip, dtype)),
        None if skip is None or skip.bias is None else skip.bias.detach().to(dtype),
    )


def dense_weight(layer: nn.Module, dtype: torch.dtype) -> Tensor:
    """The weight (O, I) of a linear layer, quantized or not."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight.detach().to(dtype)


def _halved_pairs(weight: Tensor, head_dim: int) -> Tensor:
    """Rows (3 H D, C), where the first members of all rotary pairs precede the second ones.

    Queries and keys are permuted alike, so their dot products do not change.
    """
    dim = weight.shape[0] // 3
    qk = weight[: 2 * dim].view(-1, head_dim // 2, 2, weight.shape[1])
    return torch.cat([qk.transpose(1, 2).reshape(2 * dim, -1), weight[2 * dim :]])


def attention(device: torch.device, dtype: torch.dtype, head_dim: int) -> Attend:
    """The fastest attention for this device, dtype and CPU, according to measurements."""
    if device.type != "cpu" or dtype != torch.bfloat16:
        return attend_at_once
    library = find_library()
    # With AMX tiles, torch.mm head by head is faster than the native kernel's dot products.
    if library is None or torch.cpu._is_amx_tile_supported() or not can_attend(library, head_dim):
        return attend_by_head

    def attend_compiled(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attend(library, q, k, v, n_threads=torch.get_num_threads())

    return attend_compiled


def attend_at_once(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """PyTorch's scaled_dot_product_attention."""
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
