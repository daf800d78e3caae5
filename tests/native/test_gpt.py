"""One step of the compiled GPT-2 stack against the same written out in float64."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from edgetts.errors import UsageError
from edgetts.native.gpt import BlockWeights, GPTStack
from edgetts.native.library import Isa, find_library
from edgetts.native.linear import Activations, Packed, dequantize, pack_int4, pack_int8

LIBRARY = find_library()
ISAS = LIBRARY.isas if LIBRARY else ()
CHANNELS, HEADS, HIDDEN, N_LAYERS, CAPACITY = 64, 2, 256, 2, 40
HEAD_DIM = CHANNELS // HEADS
pytestmark = pytest.mark.skipif(LIBRARY is None, reason="the compiled kernels were not built")


def weight(n_outputs: int, n_inputs: int, bits: int) -> tuple[Packed, Tensor]:
    if bits == 8:
        codes = torch.randint(-128, 128, (n_outputs, n_inputs), dtype=torch.int8)
        packed = pack_int8(codes, torch.rand(n_outputs) * 1e-3, library=LIBRARY)
    else:
        nibbles = torch.randint(0, 16, (n_outputs, n_inputs), dtype=torch.uint8)
        scales, zeros = torch.rand(n_outputs, n_inputs // 32) * 0.03, torch.rand(n_outputs, n_inputs // 32) + 7
        packed = pack_int4(nibbles, scales, zeros, 32, library=LIBRARY)
    return packed, torch.randn(n_outputs) * 0.1


def norm() -> tuple[Tensor, Tensor]:
    return torch.rand(CHANNELS) + 0.5, torch.randn(CHANNELS) * 0.1


def blocks(bits: int) -> list[BlockWeights]:
    return [
        BlockWeights(
            norm(),
            weight(3 * CHANNELS, CHANNELS, bits),
            weight(CHANNELS, CHANNELS, bits),
            norm(),
            weight(HIDDEN, CHANNELS, bits),
            weight(CHANNELS, HIDDEN, bits),
        )
        for _ in range(N_LAYERS)
    ]


def expected_step(
    layers: list[BlockWeights], last: tuple[Tensor, Tensor], x: Tensor, cache: Tensor, length: int
) -> Tensor:
    """x (B, 1, C), cache (L, 2, B, H, T_max, D), both float64; fills the cache."""

    def normalize(x: Tensor, weights: tuple[Tensor, Tensor]) -> Tensor:
        return F.layer_norm(x, (CHANNELS,), weights[0].double(), weights[1].double(), 1e-5)

    def multiply(x: Tensor, linear: tuple[Packed, Tensor | None]) -> Tensor:
        assert linear[1] is not None
        return x @ dequantize(linear[0]).double().T + linear[1].double()

    for i, layer in enumerate(layers):
        parts = multiply(normalize(x, layer.before_attention), layer.qkv).view(len(x), 3, HEADS, 1, HEAD_DIM)
        cache[i, 0, :, :, length], cache[i, 1, :, :, length] = parts[:, 1, :, 0], parts[:, 2, :, 0]
        seen = cache[i, :, :, :, : length + 1]
        mixed = F.scaled_dot_product_attention(parts[:, 0], seen[0], seen[1])  # (B, H, 1, D)
        x = x + multiply(mixed.transpose(1, 2).reshape(x.shape), layer.attention_out)
        inner = F.gelu(multiply(normalize(x, layer.before_mlp), layer.mlp_in), approximate="tanh")
        x = x + multiply(inner, layer.mlp_out)
    return normalize(x, last)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("isa", ISAS, ids=lambda isa: isa.name)
@pytest.mark.parametrize(("rows", "length"), [(1, 0), (1, 31), (3, 17)])
def test_steps_follow_each_other(isa: Isa, bits: int, rows: int, length: int) -> None:
    torch.manual_seed(rows + length)
    layers, last = blocks(bits), norm()
    assert LIBRARY is not None
    stack = GPTStack(LIBRARY, layers, [last])
    # Room for more rows than are used, as a view: strides matter.
    storage = torch.randn(N_LAYERS, 2, rows + 1, HEADS, CAPACITY, HEAD_DIM)
    cache, wide = storage[:, :, :rows], storage[:, :, :rows].double()
    half = cache.bfloat16()
    for step in range(3):
        x = torch.randn(rows, 1, CHANNELS)
        expected = expected_step(layers, last, x.double(), wide, length + step)
        for activations, memory, tolerance in (
            (Activations.FLOAT32, cache.clone(), 5e-5),
            (Activations.INT8, cache.clone(), 2e-2),
            (Activations.INT16, half, 1e-2),
            (Activations.INT16, cache, 2e-4),
        ):
            y = stack.step(x, memory, length + step, activations=activations, n_threads=2, isa=isa)
            assert y.shape == x.shape
            assert float((y.double() - expected).norm() / expected.norm()) < tolerance
    torch.testing.assert_close(cache.double(), wide, rtol=1e-3, atol=1e-3)


def test_threads_and_other_rows_change_nothing() -> None:
    torch.manual_seed(0)
    assert LIBRARY is not None
    stack = GPTStack(LIBRARY, blocks(4), [norm(), norm()])
    cache = torch.randn(N_LAYERS, 2, 3, HEADS, CAPACITY, HEAD_DIM)
    x = torch.randn(3, 1, CHANNELS)
    together = stack.step(x, cache.clone(), 20, activations=Activations.INT16, n_threads=3)
    for row in range(3):
        alone = cache[:, :, row : row + 1].clone()
        y = stack.step(x[row : row + 1], alone, 20, activations=Activations.INT16, n_threads=1)
        assert torch.equal(y[0], together[row])


def test_what_does_not_fit_is_refused() -> None:
    assert LIBRARY is not None
    layers = blocks(8)
    stack = GPTStack(LIBRARY, layers, [norm()])
    cache = torch.zeros(N_LAYERS, 2, 1, HEADS, CAPACITY, HEAD_DIM)
    x = torch.zeros(1, 1, CHANNELS)
    options = {"activations": Activations.INT16, "n_threads": 1}
    for bad_x, bad_cache, length in (
        (x, cache, CAPACITY),
        (x, cache, -1),
        (x[:, :, 1:], cache, 0),
        (x, cache[:1], 0),
        (x, cache.transpose(4, 5), 0),
    ):
        with pytest.raises(UsageError, match="does not fit"):
            stack.step(bad_x, bad_cache, length, **options)
    with pytest.raises(UsageError, match="float16"):
        stack.step(x, cache.half(), 0, **options)
    with pytest.raises(UsageError, match="is given where one of"):
        GPTStack(LIBRARY, [replace(layers[0], qkv=layers[0].mlp_in)], [norm()])
