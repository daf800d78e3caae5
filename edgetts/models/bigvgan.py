"""BigVGAN v2: mel spectrogram in, waveform out.

In: log-mel `(B, M, T)`. Out: waveform `(B, S)` in [-1, 1] with `S = T * prod(upsample_rates)` samples. Each stage
upsamples by a transposed convolution and averages its residual blocks, whose activation is SnakeBeta at twice the
sample rate, to avoid aliasing. Everything is a convolution: a sample depends on a bounded window of frames, and any
number of frames is valid.

It does not know where the mel comes from or its sample rate. Weight norm is folded into plain weights; the
anti-aliasing filters are computed here and not read from the checkpoint.

Source: Lee et al. 2022, "BigVGAN" (arXiv 2206.04658); anti-aliasing after Karras et al. 2021, "Alias-Free
GAN" (arXiv 2106.12423); upstream `indextts/s2mel/modules/bigvgan/`.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgetts.pack.config import VocoderConfig

# Tensors of the published checkpoint that this network computes itself (fnmatch patterns).
EXPECTED_EXTRAS: tuple[str, ...] = ("*.upsample.filter", "*.downsample.lowpass.filter")

EDGE_KERNEL_SIZE = 7  # of the first and the last convolution
INITIAL_STD = 0.01  # of fresh convolution weights, for training from scratch

# The anti-aliasing low-pass: cut at the old Nyquist frequency, transition 1.2 times as wide as the pass band.
RATIO = 2  # the activation runs at this multiple of the sample rate
FILTER_TAPS = 12
FILTER_CUTOFF = 0.5 / RATIO
FILTER_HALF_WIDTH = 0.6 / RATIO
PHASE_REACH = FILTER_TAPS // (2 * RATIO)  # samples on either side that one phase of the filter reads
PHASE_TAPS = 2 * PHASE_REACH + 1  # both phases use the same window; one end of each is zero


@functools.lru_cache(maxsize=1)
def kaiser_sinc_filter() -> tuple[float, ...]:
    """The FIR low-pass of both resampling steps: FILTER_TAPS taps that sum to 1, as fp32 values."""
    half = FILTER_TAPS // 2
    attenuation = 2.285 * (half - 1) * math.pi * 4 * FILTER_HALF_WIDTH + 7.95  # dB, Kaiser's estimate
    beta = 0.1102 * (attenuation - 8.7)  # Kaiser's formula above 50 dB; these taps reach 51
    window = torch.kaiser_window(FILTER_TAPS, periodic=False, beta=beta, dtype=torch.float64, device="cpu")
    time = torch.arange(-half, half, dtype=torch.float64, device="cpu") + 0.5
    taps = 2 * FILTER_CUTOFF * window * torch.sinc(2 * FILTER_CUTOFF * time)
    return tuple((taps / taps.sum()).to(torch.float32).tolist())


@functools.lru_cache(maxsize=8)
def _phase_filters(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Polyphase halves `(1, 1, PHASE_TAPS)`: up to even, up to odd, down from even, down from odd samples.

    Each covers the window [-PHASE_REACH, PHASE_REACH] around its sample.
    """
    taps = kaiser_sinc_filter()
    up = [RATIO * tap for tap in reversed(taps)]  # the gain compensates for zero stuffing
    halves = [[*up[0::2], 0.0], [0.0, *up[1::2]], [0.0, *taps[1::2]], [*taps[0::2], 0.0]]
    # Outside inference mode: otherwise a later training step could not use the cached tensors.
    with torch.inference_mode(False):
        made = [torch.tensor(half, device=device, dtype=dtype).view(1, 1, PHASE_TAPS) for half in halves]
    return made[0], made[1], made[2], made[3]


def _fir(x: Tensor, taps: Tensor) -> Tensor:
    """One FIR for all channels: (B, C, T + PHASE_TAPS - 1) -> (B, C, T)."""
    batch, channels, length = x.shape
    # The filter is the same for all channels, so batch items become channels too: a depthwise convolution wastes
    # most SIMD lanes on the few channels of the last stages.
    rows = batch * channels
    y = F.conv1d(x.reshape(1, rows, length), taps.expand(rows, -1, -1), groups=rows)
    return y.view(batch, channels, -1)


def _extend(x: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """Pad (B, C, T) with PHASE_REACH copies of (B, C, 1) on either side; several times faster than F.pad."""
    return torch.cat([first.expand(-1, -1, PHASE_REACH), x, last.expand(-1, -1, PHASE_REACH)], dim=-1)


def anti_aliased_snake(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """SnakeBeta `x + sin(alpha x)^2 / beta` between 2x up- and downsampling: (B, C, T) -> (B, C, T).

    `alpha` and `beta` are `(C,)`, positive. The signal is padded with its edge values. Even and odd samples at the
    doubled rate stay two separate signals, so both resamplings are short convolutions (polyphase). Fused kernels
    replace exactly this function.
    """
    up_even, up_odd, down_even, down_odd = _phase_filters(x.device, x.dtype)
    frequency = alpha.unsqueeze(-1)  # (C, 1)
    gain = beta.reciprocal().unsqueeze(-1)  # (C, 1)
    padded = _extend(x, x[..., :1], x[..., -1:])
    even = _fir(padded, up_even)  # (B, C, T), samples 0, 2, 4, ... at the doubled rate
    odd = _fir(padded, up_odd)  # (B, C, T), samples 1, 3, 5, ...
    even = torch.addcmul(even, gain, torch.sin(even * frequency).square())
    odd = torch.addcmul(odd, gain, torch.sin(odd * frequency).square())
    # Padding: the doubled signal begins with an even sample and ends with an odd one.
    first, last = even[..., :1], odd[..., -1:]
    return _fir(_extend(even, first, last), down_even) + _fir(_extend(odd, first, last), down_odd)


def reach(config: VocoderConfig) -> int:
    """Mel frames on either side of a frame that its samples depend on (half the receptive field)."""
    activation = 2 * PHASE_REACH  # up, then down
    samples = EDGE_KERNEL_SIZE // 2 + activation
    for rate, kernel_size in zip(reversed(config.upsample_rates), reversed(config.upsample_kernel_sizes), strict=True):
        samples += max(
            sum(2 * activation + size // 2 * (dilation + 1) for dilation in dilations)
            for size, dilations in zip(config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True)
        )
        samples = math.ceil((samples + (kernel_size + rate) // 2) / rate)
    return samples + EDGE_KERNEL_SIZE // 2


class SnakeBeta(nn.Module):
    """Parameters of SnakeBeta: per channel a frequency `alpha` and an inverse gain `beta`."""

    def __init__(self, channels: int, logscale: bool) -> None:
        super().__init__()
        self.logscale = logscale
        start = torch.zeros if logscale else torch.ones  # 1 on either scale
        self.alpha = nn.Parameter(start(channels))
        self.beta = nn.Parameter(start(channels))

    def forward(self) -> tuple[Tensor, Tensor]:
        """`(alpha, beta)`, each (C,), on the linear scale."""
        if self.logscale:
            return self.alpha.exp(), self.beta.exp()
        return self.alpha, self.beta


class AntiAliasedSnake(nn.Module):
    """SnakeBeta at twice the rate: (B, C, T) -> (B, C, T)."""

    def __init__(self, channels: int, logscale: bool) -> None:
        super().__init__()
        self.act = SnakeBeta(channels, logscale)

    def forward(self, x: Tensor) -> Tensor:
        alpha, beta = self.act()
        return anti_aliased_snake(x, alpha, beta)


class ResidualBlock(nn.Module):
    """Pairs of convolutions, the first of each dilated, each after an activation, with residual connections."""

    def __init__(self, channels: int, kernel_size: int, dilations: tuple[int, ...], logscale: bool) -> None:
        super().__init__()

        def conv(dilation: int) -> nn.Conv1d:
            padding = (kernel_size - 1) * dilation // 2
            return nn.Conv1d(channels, channels, kernel_size, dilation=dilation, padding=padding)

        self.convs1 = nn.ModuleList(conv(dilation) for dilation in dilations)
        self.convs2 = nn.ModuleList(conv(1) for _ in dilations)
        # In order of use: before convs1[0], before convs2[0], before convs1[1], ...
        self.activations = nn.ModuleList(AntiAliasedSnake(channels, logscale) for _ in range(2 * len(dilations)))

    def forward(self, x: Tensor) -> Tensor:
        for i, (conv1, conv2) in enumerate(zip(self.convs1, self.convs2, strict=True)):
            y = conv1(self.activations[2 * i](x))
            x = x + conv2(self.activations[2 * i + 1](y))
        return x  # (B, C, T)


class BigVGAN(nn.Module):
    """The vocoder. `config.upsample_rates` multiply to the hop length of the mel."""

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__()
        self.n_blocks = len(config.resblock_kernel_sizes)  # per stage
        channels = config.upsample_initial_channel
        self.conv_pre = nn.Conv1d(config.n_mels, channels, EDGE_KERNEL_SIZE, padding=EDGE_KERNEL_SIZE // 2)
        self.ups = nn.ModuleList()
        self.resblocks = nn.ModuleList()  # of all stages in one list
        for rate, kernel_size in zip(config.upsample_rates, config.upsample_kernel_sizes, strict=True):
            up = nn.ConvTranspose1d(
                channels, channels // 2, kernel_size, stride=rate, padding=(kernel_size - rate) // 2
            )
            channels //= 2
            self.ups.append(nn.ModuleList([up]))
            self.resblocks.extend(
                ResidualBlock(channels, size, dilations, config.snake_logscale)
                for size, dilations in zip(config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True)
            )
        self.activation_post = AntiAliasedSnake(channels, config.snake_logscale)
        self.conv_post = nn.Conv1d(channels, 1, EDGE_KERNEL_SIZE, padding=EDGE_KERNEL_SIZE // 2, bias=False)
        self._initialize()

    def _initialize(self) -> None:
        for module in [*self.ups.modules(), *self.resblocks.modules(), self.conv_post]:
            if isinstance(module, (nn.Conv1d, nn.ConvTranspose1d)):
                nn.init.normal_(module.weight, 0.0, INITIAL_STD)

    def forward(self, mel: Tensor) -> Tensor:
        """Log-mel (B, M, T) -> waveform (B, S), clamped to [-1, 1]."""
        x = self.conv_pre(mel)  # (B, C, T)
        for i, ups in enumerate(self.ups):
            assert isinstance(ups, nn.ModuleList)
            for up in ups:
                x = up(x)  # (B, C / 2, rate T)
            blocks = self.resblocks[i * self.n_blocks : (i + 1) * self.n_blocks]
            x = sum((block(x) for block in blocks[1:]), blocks[0](x)) / self.n_blocks
        waveform: Tensor = self.conv_post(self.activation_post(x))  # (B, 1, S)
        return waveform.squeeze(1).clamp(-1.0, 1.0)
