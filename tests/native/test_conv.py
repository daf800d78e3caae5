"""The compiled convolution against float64: sizes that do not fill its tiles, edges, dilations, both kinds of products."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from edgetts.errors import UsageError
from edgetts.native.conv import PackedConv, Products, products
from edgetts.native.library import Isa, find_library


@dataclass(frozen=True)
class Way:
    """float32 with an instruction set, or bfloat16."""

    isa: Isa | None = None
    limit: Products = Products.NONE

    @property
    def dtype(self) -> torch.dtype:
        return torch.float32 if self.isa is not None else torch.bfloat16

    def __str__(self) -> str:
        return (self.limit if self.isa is None else self.isa).name

    def __call__(
        self, convolution: PackedConv, x: Tensor, residual: Tensor | None = None, n_threads: int = 2
    ) -> Tensor:
        return convolution(x, residual, n_threads=n_threads, limit=self.limit, isa=self.isa)

    def numbers(self, *shape: int, seed: int = 0) -> Tensor:
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(self.dtype)

    def check(self, found: Tensor, expected: Tensor, n_terms: int) -> None:
        assert found.shape == expected.shape and found.is_contiguous() and found.dtype == self.dtype
        relative = 1e-5 if self.isa is not None else 4.1e-3  # half a unit in the last place of bfloat16
        torch.testing.assert_close(found.double(), expected, rtol=relative, atol=1e-5 * n_terms**0.5)


LIBRARY = find_library()
BEST = Products.NONE if LIBRARY is None else products(LIBRARY)
ISAS = (Isa.PORTABLE, Isa.AVX2, Isa.AVX512)  # those that it is compiled for
WAYS: list[Way] = [] if LIBRARY is None else [Way(isa=isa) for isa in ISAS if isa in LIBRARY.isas]
WAYS += [Way(limit=limit) for limit in (Products.DOTS, Products.TILES) if limit <= BEST]
pytestmark = pytest.mark.skipif(LIBRARY is None, reason="the compiled kernels were not built")
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


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("sizes", SIZES)
def test_against_float64(sizes: tuple[int, ...], way: Way) -> None:
    assert LIBRARY is not None
    batch, frames, n_in, n_out, taps, dilation, padding = sizes
    weight, bias = way.numbers(n_out, n_in, taps), way.numbers(n_out, seed=1).float()
    x = way.numbers(batch, frames, n_in, seed=2)
    convolution = PackedConv.pack(LIBRARY, weight, bias, dilation, padding)
    expected = F.conv1d(
        x.double().transpose(1, 2), weight.double(), bias.double(), padding=padding, dilation=dilation
    ).transpose(1, 2)
    for n_threads in (1, 3):
        way.check(way(convolution, x, n_threads=n_threads), expected, n_in * taps)
    residual = way.numbers(*expected.shape, seed=3)
    way.check(way(convolution, x, residual), expected + residual.double(), n_in * taps)
    without = PackedConv.pack(LIBRARY, weight, None, dilation, padding)
    way.check(way(without, x), expected - bias.double(), n_in * taps)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_rows_and_edges_do_not_mix(way: Way) -> None:
    """What lies behind a row's ends in memory counts as zero, also where it is not finite."""
    assert LIBRARY is not None
    convolution = PackedConv.pack(LIBRARY, way.numbers(16, 24, 3), None, 1, 1)
    x = way.numbers(3, 40, 24, seed=1)
    alone = way(convolution, x[1:2].contiguous())
    x[0], x[2] = float("nan"), float("inf")
    assert torch.equal(way(convolution, x)[1:2], alone)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_windows_give_what_the_whole_gives(way: Way) -> None:
    """A frame's value depends neither on the length nor on its place."""
    assert LIBRARY is not None
    convolution = PackedConv.pack(LIBRARY, way.numbers(24, 40, 7), way.numbers(24).float(), 1, 0)
    x = way.numbers(1, 900, 40, seed=1)
    whole = way(convolution, x)
    for begin, end in ((0, 7), (100, 500), (333, 900)):
        assert torch.equal(way(convolution, x[:, begin:end].contiguous()), whole[:, begin : end - 6])


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_what_is_not_finite_stays_so(way: Way) -> None:
    """And spoils at most the frames whose sums, padded to a tile's depth, reach it."""
    assert LIBRARY is not None
    convolution = PackedConv.pack(LIBRARY, way.numbers(16, 16, 1), None)
    x = way.numbers(1, 50, 16)
    x[0, 20, 3] = float("inf")
    found = way(convolution, x)
    assert not found[0, 20].isfinite().any() and found[0, :19].isfinite().all() and found[0, 21:].isfinite().all()


def test_what_it_cannot_do_is_refused() -> None:
    assert LIBRARY is not None
    weight = torch.randn(16, 8, 5)
    convolution = PackedConv.pack(LIBRARY, weight, None)
    x = torch.randn(1, 9, 8)
    for wrong in (x.double(), x.transpose(1, 2), x[0], x[..., :4].contiguous(), x[:, :4].contiguous()):
        with pytest.raises(UsageError, match="compiled"):
            convolution(wrong, n_threads=1)
    with pytest.raises(UsageError, match="residual"):
        convolution(x, x, n_threads=1)
    with pytest.raises(UsageError, match="weight"):
        PackedConv.pack(LIBRARY, weight.double(), None)


@pytest.mark.skipif(BEST != Products.NONE, reason="this processor multiplies bfloat16")
def test_bfloat16_needs_a_processor() -> None:
    assert LIBRARY is not None
    with pytest.raises(UsageError, match="float32"):
        PackedConv.pack(LIBRARY, torch.zeros(16, 8, 5).bfloat16(), None)
