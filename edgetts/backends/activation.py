"""BigVGAN's anti-aliased SnakeBeta through the compiled kernel, for inference and for training.

In: what `edgetts.models.bigvgan.anti_aliased_snake` takes. Out: the same numbers to rounding, several times
faster on the CPU. The network does not know about it: training calls `snake_function` in the place of the plain
form, and `FastVocoder` calls `fused_snake_last`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from edgetts.backends.kernels import relative_error
from edgetts.models import bigvgan
from edgetts.native.library import Isa, Library, find_library

_FUSED_DTYPES = (torch.float32, torch.bfloat16)  # what the compiled activation takes
_TOLERANCE = 2e-2  # of a fused activation on CUDA, in bfloat16; what is wrong is wrong by more

Activation = Callable[[Tensor, Tensor, Tensor], Tensor]


@functools.lru_cache(maxsize=1)
def _taps() -> Tensor:
    with torch.inference_mode(False):
        return torch.tensor(bigvgan.kaiser_sinc_filter(), dtype=torch.float32, device="cpu")


class _FusedSnake(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        alpha: Tensor,
        gain: Tensor,
        library: Library,
        n_threads: int,
        isa: Isa | None,
    ) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x, alpha, gain)
        ctx.library, ctx.n_threads, ctx.isa = library, n_threads, isa
        return library.snake_forward(x, alpha, gain, _taps(), n_threads, isa)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None, None]:
        x, alpha, gain = ctx.saved_tensors
        of_x, of_alpha, of_gain = ctx.library.snake_backward(
            x, grad.contiguous(), alpha, gain, _taps(), ctx.n_threads, ctx.isa
        )
        return of_x, of_alpha, of_gain, None, None, None


def fused_snake(
    x: Tensor,
    alpha: Tensor,
    beta: Tensor,
    *,
    library: Library,
    n_threads: int,
    isa: Isa | None = None,
) -> Tensor:
    """`bigvgan.anti_aliased_snake` in one pass: (B, C, T) -> (B, C, T) on the CPU.

    x is float32, with gradients, or bfloat16, without; alpha and beta are (C,) and computed with in float32.
    At most `n_threads` threads, `isa` at most as instruction set. Raises UsageError for other types.
    """
    gain = beta.float().reciprocal()
    return _FusedSnake.apply(x, alpha.float().contiguous(), gain.contiguous(), library, n_threads, isa)  # type: ignore[no-any-return, no-untyped-call]


def fused_snake_last(x: Tensor, alpha: Tensor, gain: Tensor, *, library: Library, n_threads: int) -> Tensor:
    """`fused_snake` of x (B, T, C), float32 or bfloat16; alpha, gain (1 / beta): (C,). No gradient."""
    return library.snake_last(x, alpha, gain, _taps(), n_threads)


LastActivation = Callable[[Tensor, Tensor, Tensor], Tensor]
"""x (B, T, C), alpha and gain (C,) in float32 -> (B, T, C)."""


def last_activation(device: torch.device, dtype: torch.dtype) -> LastActivation | None:
    """The form in one pass for (B, T, C), or None where there is none. On CUDA it is Triton's, if that runs here."""
    if device.type == "cuda":
        return _by_triton(device, dtype)
    library = find_library() if dtype in _FUSED_DTYPES else None
    if library is None:
        return None
    known = library

    def compiled(x: Tensor, alpha: Tensor, gain: Tensor) -> Tensor:
        return fused_snake_last(x, alpha, gain, library=known, n_threads=torch.get_num_threads())

    return compiled


def _by_triton(device: torch.device, dtype: torch.dtype) -> LastActivation | None:
    """Tried on a few samples against the plain form."""
    try:
        from edgetts.backends.kernels.triton_snake import snake_last

        x = torch.randn(1, 24, 40, generator=torch.Generator().manual_seed(0)).to(device, dtype)
        alpha = torch.linspace(0.3, 3.0, 24, device=device)
        expected = bigvgan.anti_aliased_snake(x.float(), alpha, alpha)
        found = snake_last(x.transpose(1, 2).contiguous(), alpha, alpha.reciprocal()).transpose(1, 2)
        error = relative_error(found, expected)
    except (ImportError, RuntimeError, AttributeError, TypeError, ValueError, OSError):  # as of kernels for weights
        return None
    return snake_last if error <= _TOLERANCE else None


def snake_function(n_threads: int, *, pure: bool = False) -> Activation:
    """The fastest form of `bigvgan.anti_aliased_snake` for CPU tensors; the plain one when `pure`.

    The plain one also where the kernels were not compiled: `find_library()` tells which it is.
    """
    library = None if pure else find_library()
    if library is None:
        return bigvgan.anti_aliased_snake
    return functools.partial(fused_snake, library=library, n_threads=n_threads)
