"""BigVGAN's anti-aliased SnakeBeta through the compiled kernel, for inference and for training.

In: the arguments of `edgetts.models.bigvgan.anti_aliased_snake`. Out: the same values up to rounding, several times
faster on the CPU. The network does not know about it: training uses `snake_function`, `FastVocoder` uses
`last_activation`.
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

_FUSED_DTYPES = (torch.float32, torch.bfloat16)  # input dtypes of the compiled activation
_TOLERANCE = 2e-2  # largest relative error of the Triton kernel, for bfloat16; a defect exceeds it

Activation = Callable[[Tensor, Tensor, Tensor], Tensor]
"""x (B, C, T), alpha and beta (C,) -> (B, C, T)."""


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

    x: float32 (differentiable) or bfloat16 (no gradient). alpha, beta: (C,), used in float32. n_threads: at most.
    isa: the highest instruction set to use. Raises UsageError for other dtypes.
    """
    gain = beta.float().reciprocal()
    return _FusedSnake.apply(x, alpha.float().contiguous(), gain.contiguous(), library, n_threads, isa)  # type: ignore[no-any-return, no-untyped-call]


def fused_snake_last(x: Tensor, alpha: Tensor, gain: Tensor, *, library: Library, n_threads: int) -> Tensor:
    """`fused_snake` of x (B, T, C), float32 or bfloat16; alpha, gain (1 / beta): (C,). No gradient."""
    return library.snake_last(x, alpha, gain, _taps(), n_threads)


LastActivation = Callable[[Tensor, Tensor, Tensor], Tensor]
"""x (B, T, C), alpha and gain (C,) in float32 -> (B, T, C)."""


def last_activation(device: torch.device, dtype: torch.dtype) -> LastActivation | None:
    """The single-pass activation for (B, T, C), or None if there is none here.

    On CUDA: the Triton kernel if it works.
    """
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
    """The Triton kernel, if it runs here and agrees with the plain form on a small input."""
    try:
        from edgetts.backends.kernels.triton_snake import snake_last

        x = torch.randn(1, 24, 40, generator=torch.Generator().manual_seed(0)).to(device, dtype)
        alpha = torch.linspace(0.3, 3.0, 24, device=device)
        expected = bigvgan.anti_aliased_snake(x.float(), alpha, alpha)
        found = snake_last(x.transpose(1, 2).contiguous(), alpha, alpha.reciprocal()).transpose(1, 2)
        error = relative_error(found, expected)
    except (ImportError, RuntimeError, AttributeError, TypeError, ValueError, OSError):  # as `kernels.registry` catches
        return None
    return snake_last if error <= _TOLERANCE else None


def snake_function(n_threads: int, *, pure: bool = False) -> Activation:
    """The fastest form of `bigvgan.anti_aliased_snake` for CPU tensors.

    The plain PyTorch form when `pure`, or when the native kernels are not built (`find_library()` is None).
    """
    library = None if pure else find_library()
    if library is None:
        return bigvgan.anti_aliased_snake
    return functools.partial(fused_snake, library=library, n_threads=n_threads)
