"""Losses for vocoder training: spectral distances and discriminators.

In: generated (`made`) and real waveforms (B, S). Out: losses. This file does not depend on the generator.

The waveform discriminators are multi-period (MPD, Kong et al. 2020, "HiFi-GAN") and multi-resolution (MRD, Jang et al.
2021, "UnivNet"). A third kind classifies the log-mel at a twentieth of the compute, and detects oversmoothed spectra.
The losses are least squares (LSGAN) and feature matching. The default sizes suit a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from edgetts.models.istft_vocoder import MEL_CENTER, MEL_SCALE
from recipes.tiny.common import autocast
from recipes.tiny.mel import mel_of

STFT_SIZES = (256, 512, 1024, 2048)
MAGNITUDE_FLOOR = 1e-4
Outputs = list[list[Tensor]]  # per discriminator: the features of each layer, then the output


def magnitude(x: Tensor, size: int) -> Tensor:
    """STFT magnitude of waveforms (B, S), floored: (B, size / 2 + 1, frames)."""
    window = torch.hann_window(size, device=x.device)
    spectrum = torch.stft(x, size, size // 4, size, window, return_complex=True)
    return (spectrum.real.square() + spectrum.imag.square()).clamp_min(MAGNITUDE_FLOOR**2).sqrt()


def stft_loss(made: Tensor, real: Tensor) -> Tensor:
    """Spectral convergence plus half the L1 distance of log magnitudes, averaged over `STFT_SIZES`."""
    total = torch.zeros((), device=made.device)
    for size in STFT_SIZES:
        a, b = magnitude(made, size), magnitude(real, size)
        total = total + (a - b).norm() / b.norm().clamp_min(1e-3) + 0.5 * F.l1_loss(a.log(), b.log())
    return total / len(STFT_SIZES)


class PeriodDiscriminator(nn.Module):
    """Discriminator of a waveform folded into rows of one period (MPD)."""

    def __init__(self, period: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.period = period
        sizes = pairwise((1, *widths))
        self.convs = nn.ModuleList(weight_norm(nn.Conv2d(a, b, (5, 1), (3, 1), (2, 0))) for a, b in sizes)
        self.last = weight_norm(nn.Conv2d(widths[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Waveforms (B, S) -> features of each layer, then the output."""
        x = x[:, : x.shape[1] // self.period * self.period].view(len(x), 1, -1, self.period)
        features = []
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.1)
            features.append(x)
        return [*features, self.last(x)]


class ResolutionDiscriminator(nn.Module):
    """Discriminator of the log-magnitude spectrogram at one FFT size (MRD)."""

    def __init__(self, size: int, widths: Sequence[int], strides: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.size = size
        self.convs = nn.ModuleList(
            weight_norm(nn.Conv2d(a, b, (3, 5), stride, (1, 2)))
            for (a, b), stride in zip(pairwise((1, *widths)), strides, strict=True)
        )
        self.last = weight_norm(nn.Conv2d(widths[-1], 1, 3, padding=1))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Waveforms (B, S) -> features of each layer, then the output."""
        spectrum = magnitude(x, self.size).log().transpose(1, 2)[:, None]  # (B, 1, frames, bins)
        features = []
        for conv in self.convs:
            spectrum = F.leaky_relu(conv(spectrum), 0.1)
            features.append(spectrum)
        return [*features, self.last(spectrum)]


class MelDiscriminator(nn.Module):
    """Discriminator of log-mel patches."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            weight_norm(nn.Conv2d(a, b, (5, 3), (2, 1), (2, 1))) for a, b in pairwise((1, *widths))
        )
        self.last = weight_norm(nn.Conv2d(widths[-1], 1, 3, padding=1))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Waveforms (B, S) -> features of each layer, then the output."""
        mel = ((mel_of(x) - MEL_CENTER) / MEL_SCALE)[:, None]  # (B, 1, M, T)
        features = []
        for conv in self.convs:
            mel = F.leaky_relu(conv(mel), 0.1)
            features.append(mel)
        return [*features, self.last(mel)]


class Discriminators(nn.ModuleList):
    """All discriminators of one training run: period, then resolution, then mel."""

    def __init__(
        self,
        periods: Sequence[int] = (2, 3, 5, 7),
        resolutions: Sequence[int] = (512, 1024, 256),
        *,
        period_widths: Sequence[int] = (16, 32, 64, 96),
        resolution_widths: Sequence[int] = (16, 24, 32, 32),
        resolution_strides: Sequence[tuple[int, int]] = ((1, 2), (1, 2), (1, 2), (1, 1)),  # frames, bins
        mel_widths: Sequence[int] = (),
    ) -> None:
        """mel_widths: channels of the mel discriminator; empty for none."""
        super().__init__(
            [PeriodDiscriminator(p, period_widths) for p in periods]
            + [ResolutionDiscriminator(s, resolution_widths, resolution_strides) for s in resolutions]
            + ([MelDiscriminator(mel_widths)] if mel_widths else [])
        )

    def forward(self, x: Tensor) -> Outputs:
        with autocast(x.device.type):
            return [[f.float() for f in d(x)] for d in self]


def discriminator_loss(of_real: Outputs, of_made: Outputs) -> Tensor:
    """Least-squares loss of the discriminators: target 1 for real, 0 for generated."""
    loss = torch.zeros((), device=of_real[0][-1].device)
    for real, made in zip(of_real, of_made, strict=True):
        loss = loss + (real[-1] - 1).square().mean() + made[-1].square().mean()
    return loss


def adversarial_loss(of_made: Outputs) -> Tensor:
    """Least-squares loss of the vocoder: target 1 for generated."""
    loss = torch.zeros((), device=of_made[0][-1].device)
    for made in of_made:
        loss = loss + (made[-1] - 1).square().mean()
    return loss


def matching_loss(of_real: Outputs, of_made: Outputs, weights: Sequence[float]) -> Tensor:
    """Feature matching: L1 distance relative to the real features. weights: one per discriminator."""
    loss = torch.zeros((), device=of_real[0][-1].device)
    for real, made, weight in zip(of_real, of_made, weights, strict=True):
        for a, b in zip(real[:-1], made[:-1], strict=True):
            loss = loss + weight * F.l1_loss(b, a) / (a.abs().mean() + 1e-4)
    return loss
