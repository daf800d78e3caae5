"""The compiled anti-aliased SnakeBeta against the plain PyTorch form."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from edgetts.backends.activation import _taps, fused_snake, snake_function
from edgetts.errors import UsageError
from edgetts.models.bigvgan import anti_aliased_snake
from edgetts.native.library import Isa, find_library

LIBRARY = find_library()
ISAS = LIBRARY.isas if LIBRARY else ()
BLOCK = 1024  # of the kernel; lengths around it are where margins meet the ends
LAST_BLOCK = 128  # of the one for channels side by side
LENGTHS = [1, 2, 3, 5, 12, BLOCK - 1, BLOCK, BLOCK + 1, BLOCK + 3, BLOCK + 4, BLOCK + 6, 2 * BLOCK + 17]
compiled = pytest.mark.skipif(LIBRARY is None, reason="the compiled kernels were not built")
pytestmark = compiled


def parameters(channels: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(channels)
    return torch.rand(channels, generator=generator) * 2 + 0.1, torch.rand(channels, generator=generator) * 3 + 0.3


def gradients(
    function: Callable[..., Tensor], dtype: torch.dtype, x: Tensor, alpha: Tensor, beta: Tensor
) -> list[Tensor]:
    """The result and the gradients of a weighted sum of it."""
    leaves = [t.to(dtype, copy=True).requires_grad_() for t in (x, alpha, beta)]
    y = function(*leaves)
    weights = torch.sin(torch.arange(y.numel(), dtype=torch.float64) * 0.7).view(y.shape)
    (y * weights.to(dtype)).sum().backward()
    return [y.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]


@pytest.mark.parametrize("isa", ISAS, ids=lambda isa: isa.name)
@pytest.mark.parametrize("length", LENGTHS)
def test_result_and_gradients(isa: Isa, length: int) -> None:
    x = torch.randn(2, 3, length, generator=torch.Generator().manual_seed(length)) * 2
    alpha, beta = parameters(3)

    def fused(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
        assert LIBRARY is not None
        return fused_snake(x, alpha, beta, library=LIBRARY, n_threads=2, isa=isa)

    expected = gradients(anti_aliased_snake, torch.float64, x, alpha, beta)
    found = gradients(fused, torch.float32, x, alpha, beta)
    assert len(found) == len(expected) == 4
    for what, mine, theirs in zip(("y", "x", "alpha", "beta"), found, expected, strict=True):
        tolerance = 1e-5 if what in ("y", "x") else 5e-5  # sums over many terms of both signs
        scale = float(theirs.abs().max()) + 0.1
        assert float((mine.double() - theirs).abs().max()) < tolerance * scale, what


@pytest.mark.parametrize("isa", ISAS, ids=lambda isa: isa.name)
def test_the_sine_over_many_turns(isa: Isa) -> None:
    """A constant signal passes both filters unchanged, so that the sine stands alone."""
    assert LIBRARY is not None
    levels = torch.linspace(-3000, 3000, 4001)
    x = levels[:, None, None].expand(-1, 1, 8).contiguous()  # (B, 1, T)
    one = torch.ones(1)
    y = fused_snake(x, one, one, library=LIBRARY, n_threads=1, isa=isa)[:, 0, 4].double()
    taps = anti_aliased_snake(x[:, :, :1].double(), one.double(), one.double() * 1e30)[
        :, 0, 0
    ]  # what filters make of it
    assert float((y - taps - torch.sin(taps).square()).abs().max()) < 3e-3  # the filters' rounding at 3000
    near = levels.abs() < 4
    assert float((y - taps - torch.sin(taps).square())[near].abs().max()) < 2e-6


@pytest.mark.parametrize("isa", ISAS, ids=lambda isa: isa.name)
def test_bfloat16_is_rounded_once(isa: Isa) -> None:
    assert LIBRARY is not None
    x = torch.randn(2, 4, 500, generator=torch.Generator().manual_seed(0)).bfloat16()
    alpha, beta = parameters(4)
    expected = anti_aliased_snake(x.double(), alpha.double(), beta.double())
    y = fused_snake(x, alpha, beta, library=LIBRARY, n_threads=1, isa=isa)
    assert y.dtype == torch.bfloat16
    assert float(((y.double() - expected) / expected.abs().clamp_min(1e-2)).abs().max()) < 2**-8


@pytest.mark.parametrize("isa", ISAS, ids=lambda isa: isa.name)
@pytest.mark.parametrize(
    "length", [1, 2, 3, 6, LAST_BLOCK - 1, LAST_BLOCK, LAST_BLOCK + 1, LAST_BLOCK + 4, 3 * LAST_BLOCK]
)
@pytest.mark.parametrize("channels", [1, 3, 12, 24, 37])
def test_channels_side_by_side(isa: Isa, length: int, channels: int) -> None:
    """All widths of vectors, ends and blocks, in both number types."""
    assert LIBRARY is not None
    x = torch.randn(2, length, channels, generator=torch.Generator().manual_seed(length)) * 2
    alpha, beta = parameters(channels)
    expected = anti_aliased_snake(x.transpose(1, 2).double(), alpha.double(), beta.double()).transpose(1, 2)
    found = LIBRARY.snake_last(x, alpha, 1 / beta, _taps(), 2, isa)
    assert float((found - expected).abs().max()) < 1e-5 * (float(expected.abs().max()) + 0.1)
    half = x.bfloat16()
    expected = anti_aliased_snake(half.transpose(1, 2).double(), alpha.double(), beta.double()).transpose(1, 2)
    found = LIBRARY.snake_last(half, alpha, 1 / beta, _taps(), 2, isa)
    assert found.dtype == torch.bfloat16
    assert float(((found.double() - expected) / expected.abs().clamp_min(1e-2)).abs().max()) < 2**-8


def test_huge_values_stay_finite_and_what_is_not_finite_is_passed_on() -> None:
    assert LIBRARY is not None
    alpha, beta = parameters(1)
    huge = torch.full((1, 1, 64), 1e20)
    assert torch.isfinite(fused_snake(huge, alpha, beta, library=LIBRARY, n_threads=1)).all()
    x = torch.zeros(1, 1, 64)
    x[0, 0, 32] = float("nan")
    y = fused_snake(x, alpha, beta, library=LIBRARY, n_threads=1)
    assert torch.isnan(y[0, 0, 32]) and torch.isfinite(y[0, 0, :16]).all()
    for given in (huge, x):  # one channel wide, and four
        wide = given.transpose(1, 2).repeat(1, 1, 5).contiguous()
        y = LIBRARY.snake_last(wide, alpha.repeat(5), 1 / beta.repeat(5), _taps(), 1)
        assert torch.isnan(y[0, 32]).all() == (given is x) and torch.isfinite(y[0, :16]).all()
        assert torch.isnan(
            LIBRARY.snake_last(wide.bfloat16(), alpha.repeat(5), beta.repeat(5), _taps(), 1)[0, 32]
        ).all() == (given is x)


def test_function_for_the_vocoder_and_its_plain_form() -> None:
    x = torch.randn(1, 2, 100)
    alpha, beta = parameters(2)
    assert snake_function(1, pure=True) is anti_aliased_snake
    fast = snake_function(1)
    assert fast is not anti_aliased_snake
    # Any strides are accepted: they are made contiguous.
    turned = x.transpose(1, 2).contiguous().transpose(1, 2)
    torch.testing.assert_close(fast(turned, alpha, beta), anti_aliased_snake(x, alpha, beta), rtol=1e-5, atol=1e-5)
    with torch.inference_mode():
        torch.testing.assert_close(fast(x, alpha, beta), anti_aliased_snake(x, alpha, beta), rtol=1e-5, atol=1e-5)


def test_other_number_formats_are_refused() -> None:
    assert LIBRARY is not None
    alpha, beta = parameters(2)
    with pytest.raises(UsageError, match="float16"):
        fused_snake(torch.zeros(1, 2, 10).half(), alpha, beta, library=LIBRARY, n_threads=1)
