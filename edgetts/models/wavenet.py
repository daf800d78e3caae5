"""WaveNet head of the DiT: gated dilated convolutions with skip outputs, conditioned on the flow time.

In: hidden `(B, C, T)` and a time bias `(B, 2 C n_layers, 1)`. Out: `(B, C, T)`. Convolutions use reflection padding, so
padding frames affect the frames next to them; T must exceed the padding.

It does not know what the channels mean.

Source: van den Oord et al. 2016, "WaveNet"; upstream `indextts/s2mel/modules/wavenet.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgetts.pack.config import WaveNetConfig


class _Conv(nn.Module):
    """One convolution under the name `conv`."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, dilation: int) -> None:
        super().__init__()
        padding = (kernel_size - 1) * dilation // 2
        self.conv = nn.Conv1d(
            in_channels, out_channels, kernel_size, dilation=dilation, padding=padding, padding_mode="reflect"
        )


class ReflectConv1d(nn.Module):
    """Convolution with output length T, (B, C, T) -> (B, C', T); nested twice for upstream's names."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv = _Conv(in_channels, out_channels, kernel_size, dilation)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv.conv(x)
        return y


class WaveNet(nn.Module):
    """`cond_dim` is the width of the time embedding."""

    def __init__(self, config: WaveNetConfig, cond_dim: int) -> None:
        super().__init__()
        channels, n_layers = config.hidden_dim, config.n_layers
        self.channels = channels
        self.cond_layer = ReflectConv1d(cond_dim, 2 * channels * n_layers)
        self.in_layers = nn.ModuleList(
            ReflectConv1d(channels, 2 * channels, config.kernel_size, config.dilation_rate**i) for i in range(n_layers)
        )
        # The last layer has a skip output only.
        self.res_skip_layers = nn.ModuleList(
            ReflectConv1d(channels, 2 * channels if i < n_layers - 1 else channels) for i in range(n_layers)
        )

    def time_bias(self, time: Tensor) -> Tensor:
        """Time embedding (B, C_t) -> bias before each layer's gate, (B, 2 C n_layers, 1)."""
        bias: Tensor = self.cond_layer(time.unsqueeze(-1))
        return bias

    def forward(self, x: Tensor, time_bias: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, C, T), `time_bias` of B or 1 rows, mask (B, 1, T) of real frames -> (B, C, T)."""
        biases = time_bias.chunk(len(self.in_layers), dim=1)
        skips: Tensor | None = None
        for in_layer, res_skip, bias in zip(self.in_layers, self.res_skip_layers, biases, strict=True):
            filtered, gate = (in_layer(x) + bias).chunk(2, dim=1)  # 2 x (B, C, T)
            y = res_skip(torch.tanh(filtered) * torch.sigmoid(gate))
            if y.shape[1] == 2 * self.channels:
                residual, skip = y.chunk(2, dim=1)
                x = x + residual
                if mask is not None:
                    x = x * mask
            else:
                skip = y
            skips = skip if skips is None else skips + skip
        assert skips is not None
        return skips if mask is None else skips * mask
