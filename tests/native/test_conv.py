"""The compiled convolution against float64: sizes that do not fill its tiles, edges, dilations, both kinds of products."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from edgetts.errors import UsageError
from edgetts.native.conv import PackedConv, Products, products
from edgetts.native.library import find_library

LIBRARY = find_library()
BEST = Products.NONE if LIBRARY is None else products(LIBRARY)
LIMITS = [limit for limit in (Products.DOTS, Products.TILES) if limit <= BEST]
pytestmark = pytest.mark.skipif(not LIMITS, reason="no compiled kernels, or no bfloat16 dot products")
SIZES = [  # batch, frames, input channels, output channels, taps, dilation, padding
    (1, 1, 24, 24, 3, 1, 1),
    (1, 33, 24, 24, 11, 5, 25),
    (2, 300, 48, 40, 7, 3, 9),
    (1, 257, 80, 96, 7, 1, 3),
    (2, 31, 192, 192, 11, 1, 5),
    (1, 513, 7, 5, 3, 2, 2),
    (3, 70, 33, 1, 1, 1, 0),
    (1, 600, 600, 20, 3, 1, 0),  # more than a slice of the sum, and fewer frames out than in
    (1, 20, 16, 16, 3, 7, 10),  # more padding than the taps need
    (1, 4, 8, 17, 5, 1, 40),  # mostly padding
]


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).bfloat16()


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("sizes", SIZES)
def test_against_float64(sizes: tuple[int, ...], limit: Products) -> None:
    assert LIBRARY is not None
    batch, frames, n_in, n_out, taps, dilation, padding = sizes
    weight, bias, x = numbers(n_out, n_in, taps), numbers(n_out, seed=1).float(), numbers(batch, frames, n_in, seed=2)
    convolution = PackedConv.pack(LIBRARY, weight, bias, dilation, padding)
    expected = F.conv1d(
        x.double().transpose(1, 2), weight.double(), bias.double(), padding=padding, dilation=dilation
    ).transpose(1, 2)
    for n_threads in (1, 3):
        found = convolution(x, n_threads=n_threads, limit=limit)
        assert found.shape == expected.shape and found.is_contiguous()
        scale = (n_in * taps) ** 0.5  # of a sum
        torch.testing.assert_close(found.double(), expected, rtol=4.1e-3, atol=1e-5 * scale)
    residual = numbers(*expected.shape, seed=3)
    found = convolution(x, residual, n_threads=2, limit=limit)
    torch.testing.assert_close(found.double(), expected + residual.double(), rtol=4.1e-3, atol=1e-5 * scale)
    without = PackedConv.pack(LIBRARY, weight, None, dilation, padding)(x, n_threads=1, limit=limit)
    torch.testing.assert_close(without.double(), expected - bias.double(), rtol=4.1e-3, atol=1e-5 * scale)


@pytest.mark.parametrize("limit", LIMITS)
def test_rows_and_edges_do_not_mix(limit: Products) -> None:
    """What lies behind a row's ends in memory counts as zero, also where it is not finite."""
    assert LIBRARY is not None
    weight = numbers(16, 24, 3)
    convolution = PackedConv.pack(LIBRARY, weight, None, 1, 1)
    x = numbers(3, 40, 24, seed=1)
    alone = convolution(x[1:2].contiguous(), n_threads=1, limit=limit)
    x[0], x[2] = float("nan"), float("inf")
    assert torch.equal(convolution(x, n_threads=1, limit=limit)[1:2], alone)


@pytest.mark.parametrize("limit", LIMITS)
def test_windows_give_what_the_whole_gives(limit: Products) -> None:
    """A frame's value depends neither on the length nor on its place."""
    assert LIBRARY is not None
    convolution = PackedConv.pack(LIBRARY, numbers(24, 40, 7), numbers(24).float(), 1, 0)
    x = numbers(1, 900, 40, seed=1)
    whole = convolution(x, n_threads=2, limit=limit)
    for begin, end in ((0, 7), (100, 500), (333, 900)):
        part = convolution(x[:, begin:end].contiguous(), n_threads=2, limit=limit)
        assert torch.equal(part, whole[:, begin : end - 6])


def test_what_is_not_finite_stays_so() -> None:
    """And spoils at most the frames whose sums, padded to a tile's depth, reach it."""
    assert LIBRARY is not None
    convolution = PackedConv.pack(LIBRARY, numbers(16, 16, 1), None)
    x = numbers(1, 50, 16)
    x[0, 20, 3] = float("inf")
    found = convolution(x, n_threads=1)
    assert not found[0, 20].isfinite().any() and found[0, :19].isfinite().all() and found[0, 21:].isfinite().all()


def test_what_it_cannot_do_is_refused() -> None:
    assert LIBRARY is not None
    convolution = PackedConv.pack(LIBRARY, numbers(16, 8, 5), None)
    x = numbers(1, 9, 8)
    for wrong in (x.float(), x.transpose(1, 2), x[0], x[..., :4].contiguous(), x[:, :4].contiguous()):
        with pytest.raises(UsageError, match="compiled"):
            convolution(wrong, n_threads=1)
    with pytest.raises(UsageError, match="residual"):
        convolution(x, x, n_threads=1)
