"""BigVGAN's anti-aliased SnakeBeta in Triton: one read and one write of the signal.

In: a signal (B, T, C) in memory, the layout of half-precision convolutions on CUDA. Out: the result of
`models.bigvgan.anti_aliased_snake` in the signal's dtype; all intermediate values are float32, including frequency,
gain and the angle of the sine. With TRITON_INTERPRET=1 the same code runs on the CPU, for tests. Importing this needs
Triton.

A lane walks along one channel and keeps the last samples at the doubled rate, so each is computed once, except a few at
the borders between the stretches of two lanes.

Shapes: B batch, T time, C channels, N stretches of time side by side.
"""

from __future__ import annotations

import functools

import torch
import triton
import triton.language as tl
from torch import Tensor

from edgetts.backends.kernels.base import on_device
from edgetts.models.bigvgan import FILTER_TAPS, PHASE_REACH, RATIO, kaiser_sinc_filter

_STEPS = 64  # samples per stretch
_LANES = 128  # per program: channels times stretches


@triton.jit
def _doubled(  # type: ignore[no-untyped-def]
    x_ptr, base, place, n_times, n_channels, mask, frequency, gain,
    u0, u1, u2, u3, u4, u5,
):  # fmt: skip
    """The two activated samples at the doubled rate for time `place`. The signal is padded with its edge values."""
    at = tl.minimum(tl.maximum(place, 0), n_times - 1)
    last = n_times - 1
    m3 = tl.load(x_ptr + base + tl.maximum(at - 3, 0) * n_channels, mask=mask, other=0.0).to(tl.float32)
    m2 = tl.load(x_ptr + base + tl.maximum(at - 2, 0) * n_channels, mask=mask, other=0.0).to(tl.float32)
    m1 = tl.load(x_ptr + base + tl.maximum(at - 1, 0) * n_channels, mask=mask, other=0.0).to(tl.float32)
    p0 = tl.load(x_ptr + base + at * n_channels, mask=mask, other=0.0).to(tl.float32)
    p1 = tl.load(x_ptr + base + tl.minimum(at + 1, last) * n_channels, mask=mask, other=0.0).to(tl.float32)
    p2 = tl.load(x_ptr + base + tl.minimum(at + 2, last) * n_channels, mask=mask, other=0.0).to(tl.float32)
    p3 = tl.load(x_ptr + base + tl.minimum(at + 3, last) * n_channels, mask=mask, other=0.0).to(tl.float32)
    # The filter is symmetric: its odd taps are its even taps reversed.
    even = u0 * m3 + u1 * m2 + u2 * m1 + u3 * p0 + u4 * p1 + u5 * p2
    odd = u5 * m2 + u4 * m1 + u3 * p0 + u2 * p1 + u1 * p2 + u0 * p3
    of_even, of_odd = tl.sin(even * frequency), tl.sin(odd * frequency)
    even += gain * of_even * of_even
    odd += gain * of_odd * of_odd
    return tl.where(place < n_times, even, odd), tl.where(place < 0, even, odd)


@triton.jit  # type: ignore[untyped-decorator]
def _snake_kernel(  # type: ignore[no-untyped-def]
    x_ptr, alpha_ptr, gain_ptr, y_ptr, n_times, n_channels,
    u0, u1, u2, u3, u4, u5, d0, d1, d2, d3, d4, d5,
    stretches: tl.constexpr, block: tl.constexpr, steps: tl.constexpr,
):  # fmt: skip
    """One program: `stretches` stretches of `steps` samples, of `block` channels of one batch item."""
    channels = tl.program_id(0) * block + tl.arange(0, block)  # (C,)
    first = (tl.program_id(1) * stretches + tl.arange(0, stretches)) * steps  # (N,)
    there = channels < n_channels
    frequency = tl.load(alpha_ptr + channels, mask=there, other=0.0)[None, :]
    gain = tl.load(gain_ptr + channels, mask=there, other=0.0)[None, :]
    base = tl.program_id(2).to(tl.int64) * n_times * n_channels + channels[None, :]
    mask = there[None, :] & (first < n_times)[:, None]
    t = first[:, None] + tl.zeros((stretches, block), tl.int32)
    _, o0 = _doubled(x_ptr, base, t - 3, n_times, n_channels, mask, frequency, gain, u0, u1, u2, u3, u4, u5)
    e1, o1 = _doubled(x_ptr, base, t - 2, n_times, n_channels, mask, frequency, gain, u0, u1, u2, u3, u4, u5)
    e2, o2 = _doubled(x_ptr, base, t - 1, n_times, n_channels, mask, frequency, gain, u0, u1, u2, u3, u4, u5)
    e3, o3 = _doubled(x_ptr, base, t, n_times, n_channels, mask, frequency, gain, u0, u1, u2, u3, u4, u5)
    e4, o4 = _doubled(x_ptr, base, t + 1, n_times, n_channels, mask, frequency, gain, u0, u1, u2, u3, u4, u5)
    e5, o5 = _doubled(x_ptr, base, t + 2, n_times, n_channels, mask, frequency, gain, u0, u1, u2, u3, u4, u5)
    for step in range(steps):
        now = t + step
        e6, o6 = _doubled(x_ptr, base, now + 3, n_times, n_channels, mask, frequency, gain, u0, u1, u2, u3, u4, u5)
        y = d0 * e1 + d1 * e2 + d2 * e3 + d3 * e4 + d4 * e5 + d5 * e6
        y += d5 * o0 + d4 * o1 + d3 * o2 + d2 * o3 + d1 * o4 + d0 * o5
        tl.store(y_ptr + base + now * n_channels, y.to(y_ptr.dtype.element_ty), mask=mask & (now < n_times))
        e1, e2, e3, e4, e5 = e2, e3, e4, e5, e6
        o0, o1, o2, o3, o4, o5 = o1, o2, o3, o4, o5, o6


@functools.lru_cache(maxsize=1)
def _halves() -> tuple[float, ...]:
    """Six taps of the upsampling filter's even phase, then six of the downsampling filter's."""
    taps = kaiser_sinc_filter()
    assert FILTER_TAPS == 12 and PHASE_REACH == 3
    up = [RATIO * tap for tap in reversed(taps)]
    return (*up[0::2], *taps[1::2])


def snake_last(x: Tensor, alpha: Tensor, gain: Tensor) -> Tensor:
    """`anti_aliased_snake` of (B, T, C), contiguous, with alpha and gain = 1 / beta (C,) in float32."""
    batch, n_times, n_channels = x.shape
    x = x.contiguous()
    y = torch.empty_like(x)
    block = min(_LANES, triton.next_power_of_2(n_channels))
    stretches = _LANES // block
    grid = (triton.cdiv(n_channels, block), triton.cdiv(n_times, stretches * _STEPS), batch)
    with on_device(x):
        _snake_kernel[grid](x, alpha, gain, y, n_times, n_channels, *_halves(), stretches, block, _STEPS)
    return y
