"""BigVGAN's anti-aliased SnakeBeta in Triton: one read and one write of the signal.

In: a signal (B, T, C) in memory, the layout of half-precision convolutions on CUDA. Out: the result of
`models.bigvgan.anti_aliased_snake` in the signal's dtype; all intermediate values are float32, including frequency,
gain and the angle of the sine. With TRITON_INTERPRET=1 the same code runs on the CPU, for tests. Importing this needs
Triton.

A lane walks along one channel and keeps in registers what the next samples share: the last samples of the signal, so
each is loaded once, and those at the doubled rate, so each is computed once; except a few at the borders between the
stretches of two lanes. The sine is squared, so its period is pi: one polynomial on half a period on either side of 0.

Shapes: B batch, T time, C channels, N stretches of time side by side.
"""

from __future__ import annotations

import functools
import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from edgetts.backends.kernels.base import on_device
from edgetts.backends.kernels.triton_common import n_cores
from edgetts.models.bigvgan import FILTER_TAPS, PHASE_REACH, RATIO, kaiser_sinc_filter

_STEPS = (64, 32, 16, 8)  # samples per stretch: the most that give every core enough programs; multiples of _AT_ONCE
_AT_ONCE = 4  # steps of one turn of the loop, whose loads are under way together
_PROGRAMS_A_CORE = 8
_LANES = 128  # per program: channels times stretches
_LEAST_CHANNELS = 16  # side by side: 32 bytes of half precision, what a GPU reads at least

# Cody and Waite: pi in two parts. The first has 8 bits, so its product with up to 2^16 half turns is exact in float32.
_PI_HIGH = tl.constexpr(3.140625)
_PI_LOW = tl.constexpr(math.pi - 3.140625)
_PER_PI = tl.constexpr(1 / math.pi)
_ROUNDER = tl.constexpr(1.5 * 2**23)  # float32 beyond 2^23 are whole: adding and subtracting it rounds to the nearest
_LARGEST_SQUARE = tl.constexpr((math.pi / 2) ** 2)  # of an angle reduced to half a turn
# sin(r)^2 / r^2 by powers of r^2: least largest error on [-pi/2, pi/2], 1e-10 before rounding to float32.
_C0 = tl.constexpr(1.0)
_C1 = tl.constexpr(-0.3333333134651184)
_C2 = tl.constexpr(0.04444437101483345)
_C3 = tl.constexpr(-0.0031744795851409435)
_C4 = tl.constexpr(0.0001409828255418688)
_C5 = tl.constexpr(-4.220882146910299e-06)
_C6 = tl.constexpr(7.978462690516608e-08)


@triton.jit
def sin_squared(angle):  # type: ignore[no-untyped-def]
    """sin(angle)^2 of float32, within 3e-7 up to 16 bits of half turns; beyond, within what the angle's rounding means.

    Never below 0 or above 1 by more than rounding: where float32 angles are more than a period apart, the rest is cut.
    """
    turns = angle * _PER_PI + _ROUNDER
    turns -= _ROUNDER
    rest = angle - turns * _PI_HIGH
    rest -= turns * _PI_LOW
    z = tl.minimum(rest * rest, _LARGEST_SQUARE)
    return z * (_C0 + z * (_C1 + z * (_C2 + z * (_C3 + z * (_C4 + z * (_C5 + z * _C6))))))


@triton.jit
def _sample(x_ptr, base, place, last, n_channels, mask):  # type: ignore[no-untyped-def]
    """The signal at time `place` in float32; it is padded with its edge values."""
    at = tl.minimum(tl.maximum(place, 0), last)
    return tl.load(x_ptr + base + at * n_channels, mask=mask, other=0.0).to(tl.float32)


@triton.jit
def _doubled(  # type: ignore[no-untyped-def]
    m3, m2, m1, p0, p1, p2, p3, before, is_there, frequency, gain,
    u0, u1, u2, u3, u4, u5,
):  # fmt: skip
    """The two activated samples at the doubled rate of one time, from the seven around it.

    before: the second one of the time before, which is both of them where the time is beyond the end.
    """
    # The filter is symmetric: its odd taps are its even taps reversed.
    even = u0 * m3 + u1 * m2 + u2 * m1 + u3 * p0 + u4 * p1 + u5 * p2
    odd = u5 * m2 + u4 * m1 + u3 * p0 + u2 * p1 + u1 * p2 + u0 * p3
    even += gain * sin_squared(even * frequency)
    odd += gain * sin_squared(odd * frequency)
    return tl.where(is_there, even, before), tl.where(is_there, odd, before)


@triton.jit
def _store_sample(  # type: ignore[no-untyped-def]
    y_ptr, base, now, n_times, n_channels, mask, e1, e2, e3, e4, e5, e6, o0, o1, o2, o3, o4, o5,
    d0, d1, d2, d3, d4, d5,
):  # fmt: skip
    """Store the result at time `now`: the samples at the doubled rate around it, low-passed."""
    y = d0 * e1 + d1 * e2 + d2 * e3 + d3 * e4 + d4 * e5 + d5 * e6
    y += d5 * o0 + d4 * o1 + d3 * o2 + d2 * o3 + d1 * o4 + d0 * o5
    tl.store(y_ptr + base + now * n_channels, y.to(y_ptr.dtype.element_ty), mask=mask & (now < n_times))


# Lengths are not specialized: a new length shall not compile a new kernel.
@triton.jit(do_not_specialize=["n_times", "n_turns"])  # type: ignore[untyped-decorator]
def _snake_kernel(  # type: ignore[no-untyped-def]
    x_ptr, alpha_ptr, gain_ptr, y_ptr, n_times, n_channels, n_turns,
    u0, u1, u2, u3, u4, u5, d0, d1, d2, d3, d4, d5,
    stretches: tl.constexpr, block: tl.constexpr, at_once: tl.constexpr,
):  # fmt: skip
    """One program: stretches of `n_turns` times `at_once` samples, of `block` channels of one batch item."""
    tl.static_assert(at_once == 4, "the loop is written out for four steps")
    channels = tl.program_id(0) * block + tl.arange(0, block)  # (C,)
    first = (tl.program_id(1) * stretches + tl.arange(0, stretches)) * n_turns * at_once  # (N,)
    there = channels < n_channels
    f = tl.load(alpha_ptr + channels, mask=there, other=0.0)[None, :]
    g = tl.load(gain_ptr + channels, mask=there, other=0.0)[None, :]
    base = tl.program_id(2).to(tl.int64) * n_times * n_channels + channels[None, :]
    mask = there[None, :] & (first < n_times)[:, None]
    t = first[:, None] + tl.zeros((stretches, block), tl.int32)
    last = n_times - 1
    v0 = _sample(x_ptr, base, t - 6, last, n_channels, mask)
    v1 = _sample(x_ptr, base, t - 5, last, n_channels, mask)
    v2 = _sample(x_ptr, base, t - 4, last, n_channels, mask)
    v3 = _sample(x_ptr, base, t - 3, last, n_channels, mask)
    v4 = _sample(x_ptr, base, t - 2, last, n_channels, mask)
    v5 = _sample(x_ptr, base, t - 1, last, n_channels, mask)
    w0 = _sample(x_ptr, base, t, last, n_channels, mask)
    w1 = _sample(x_ptr, base, t + 1, last, n_channels, mask)
    w2 = _sample(x_ptr, base, t + 2, last, n_channels, mask)
    w3 = _sample(x_ptr, base, t + 3, last, n_channels, mask)
    w4 = _sample(x_ptr, base, t + 4, last, n_channels, mask)
    w5 = _sample(x_ptr, base, t + 5, last, n_channels, mask)
    inside = t < n_times
    _, o0 = _doubled(v0, v1, v2, v3, v4, v5, w0, v0, inside, f, g, u0, u1, u2, u3, u4, u5)
    e1, o1 = _doubled(v1, v2, v3, v4, v5, w0, w1, v0, inside, f, g, u0, u1, u2, u3, u4, u5)
    e2, o2 = _doubled(v2, v3, v4, v5, w0, w1, w2, v0, inside, f, g, u0, u1, u2, u3, u4, u5)
    e3, o3 = _doubled(v3, v4, v5, w0, w1, w2, w3, v0, inside, f, g, u0, u1, u2, u3, u4, u5)
    e4, o4 = _doubled(v4, v5, w0, w1, w2, w3, w4, o3, t + 1 < n_times, f, g, u0, u1, u2, u3, u4, u5)
    e5, o5 = _doubled(v5, w0, w1, w2, w3, w4, w5, o4, t + 2 < n_times, f, g, u0, u1, u2, u3, u4, u5)
    # Before the start, the doubled signal is its first sample.
    at_start = t == 0
    o0 = tl.where(at_start, e3, o0)
    e1, o1 = tl.where(at_start, e3, e1), tl.where(at_start, e3, o1)
    e2, o2 = tl.where(at_start, e3, e2), tl.where(at_start, e3, o2)
    for turn in range(n_turns):
        now = t + turn * at_once
        w6 = _sample(x_ptr, base, now + 6, last, n_channels, mask)
        w7 = _sample(x_ptr, base, now + 7, last, n_channels, mask)
        w8 = _sample(x_ptr, base, now + 8, last, n_channels, mask)
        w9 = _sample(x_ptr, base, now + 9, last, n_channels, mask)
        e6, o6 = _doubled(w0, w1, w2, w3, w4, w5, w6, o5, now + 3 < n_times, f, g, u0, u1, u2, u3, u4, u5)
        e7, o7 = _doubled(w1, w2, w3, w4, w5, w6, w7, o6, now + 4 < n_times, f, g, u0, u1, u2, u3, u4, u5)
        e8, o8 = _doubled(w2, w3, w4, w5, w6, w7, w8, o7, now + 5 < n_times, f, g, u0, u1, u2, u3, u4, u5)
        e9, o9 = _doubled(w3, w4, w5, w6, w7, w8, w9, o8, now + 6 < n_times, f, g, u0, u1, u2, u3, u4, u5)
        _store_sample(y_ptr, base, now, n_times, n_channels, mask,
                      e1, e2, e3, e4, e5, e6, o0, o1, o2, o3, o4, o5, d0, d1, d2, d3, d4, d5)  # fmt: skip
        _store_sample(y_ptr, base, now + 1, n_times, n_channels, mask,
                      e2, e3, e4, e5, e6, e7, o1, o2, o3, o4, o5, o6, d0, d1, d2, d3, d4, d5)  # fmt: skip
        _store_sample(y_ptr, base, now + 2, n_times, n_channels, mask,
                      e3, e4, e5, e6, e7, e8, o2, o3, o4, o5, o6, o7, d0, d1, d2, d3, d4, d5)  # fmt: skip
        _store_sample(y_ptr, base, now + 3, n_times, n_channels, mask,
                      e4, e5, e6, e7, e8, e9, o3, o4, o5, o6, o7, o8, d0, d1, d2, d3, d4, d5)  # fmt: skip
        w0, w1, w2, w3, w4, w5 = w4, w5, w6, w7, w8, w9
        e1, e2, e3, e4, e5 = e5, e6, e7, e8, e9
        o0, o1, o2, o3, o4, o5 = o4, o5, o6, o7, o8, o9


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
    block = _channels_of(n_channels)
    stretches, n_blocks = _LANES // block, triton.cdiv(n_channels, block)
    steps = _steps_of(n_blocks * batch, n_times, stretches, n_cores(x.device))
    grid = (n_blocks, triton.cdiv(n_times, stretches * steps), batch)
    with on_device(x):
        _snake_kernel[grid](
            x, alpha, gain, y, n_times, n_channels, steps // _AT_ONCE, *_halves(), stretches, block, _AT_ONCE
        )
    return y


def _channels_of(n_channels: int) -> int:
    """Channels of one program: of the powers of two, the largest that wastes the fewest lanes."""
    most: int = min(_LANES, triton.next_power_of_2(n_channels))
    sizes = [most]
    while sizes[-1] > _LEAST_CHANNELS:
        sizes.append(sizes[-1] // 2)
    return min(sizes, key=lambda size: triton.cdiv(n_channels, size) * size)


def _steps_of(n_rows: int, n_times: int, stretches: int, cores: int) -> int:
    """Samples per stretch. n_rows: programs side by side at each time."""
    enough = (s for s in _STEPS if n_rows * triton.cdiv(n_times, stretches * s) >= _PROGRAMS_A_CORE * cores)
    return next(enough, _STEPS[-1])
