"""Conformer encoder of the two conditioners: contextual features at half the frame rate.

In: semantic features, 50 per second, and a padding mask. Out: one vector per two frames. It does not know what it
conditions. Enrollment only: its first linear layer (channels x bands inputs) has most of the parameters of a
conditioner.

Positions add a second attention score: the query times a sinusoid of the *key's* position. The published model was
trained without the relative shift of Transformer-XL, so it is omitted here, too.

Sources: Gulati et al., "Conformer" (2020); Dai et al., "Transformer-XL" (2019), section 3.3, for the two
biases; parameter names as in WeNet.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgetts.pack.config import ConformerConfig

# The table of sinusoids that `sinusoidal_positions` computes.
EXPECTED_EXTRAS = ("embed.pos_enc.pe",)

SUBSAMPLING = 2
SUBSAMPLING_KERNEL_SIZE = 3
LAYER_NORM_EPS = 1e-5
MAX_PERIOD = 10_000.0
# Output frames subsampled at once: the convolution's output is wide (262 k values per frame as published), and a long
# recording would take hundreds of megabytes.
FRAMES_AT_ONCE = 64


def sinusoidal_positions(length: int, dim: int, device: torch.device) -> Tensor:
    """Table (T, C) float32 of sines (even channels) and cosines (odd channels) of positions 0 … T - 1."""
    position = torch.arange(length, dtype=torch.float32, device=device)[:, None]
    steps = torch.arange(0, dim, 2, dtype=torch.float32, device=device)
    angle = position * torch.exp(steps * -(math.log(MAX_PERIOD) / dim))  # (T, C / 2)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)


def subsampled_mask(mask: Tensor) -> Tensor:
    """Mask of the subsampled frames that depend on real frames only: (B, T) -> (B, T') bool."""
    return mask.bool()[:, SUBSAMPLING_KERNEL_SIZE - 1 :: SUBSAMPLING]


class Subsampling(nn.Module):
    """One strided 2-D convolution over (time, features), then a linear over channels x features."""

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__()
        bands = (input_size - SUBSAMPLING_KERNEL_SIZE) // SUBSAMPLING + 1
        # nn.Sequential gives upstream's names: conv.0 and out.0.
        self.conv = nn.Sequential(nn.Conv2d(1, output_size, SUBSAMPLING_KERNEL_SIZE, stride=SUBSAMPLING))
        self.out = nn.Sequential(nn.Linear(output_size * bands, output_size))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C_in) -> (B, T', C), T' = (T - 1) // 2."""
        n_frames = (x.shape[1] - SUBSAMPLING_KERNEL_SIZE) // SUBSAMPLING + 1
        pieces = []
        for start in range(0, n_frames, FRAMES_AT_ONCE):
            last = min(start + FRAMES_AT_ONCE, n_frames) - 1
            piece = x[:, SUBSAMPLING * start : SUBSAMPLING * last + SUBSAMPLING_KERNEL_SIZE]
            planes = F.relu(self.conv(piece[:, None]))  # (B, C, T', bands)
            pieces.append(self.out(planes.transpose(1, 2).flatten(2)))  # (B, T', C)
        return torch.cat(pieces, dim=1)


class PositionalAttention(nn.Module):
    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        size = config.output_size
        self.n_heads = config.n_heads
        self.head_dim = size // config.n_heads
        self.linear_q = nn.Linear(size, size)
        self.linear_k = nn.Linear(size, size)
        self.linear_v = nn.Linear(size, size)
        self.linear_out = nn.Linear(size, size)
        self.linear_pos = nn.Linear(size, size, bias=False)
        self.pos_bias_u = nn.Parameter(torch.zeros(self.n_heads, self.head_dim))
        self.pos_bias_v = nn.Parameter(torch.zeros(self.n_heads, self.head_dim))

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor | None) -> Tensor:
        """x (B, T, C), positions (1, T, C), mask (B, T) bool of visible keys -> (B, T, C)."""
        q, k, v = (self._heads(linear(x)) for linear in (self.linear_q, self.linear_k, self.linear_v))
        p = self._heads(self.linear_pos(positions))  # (1, H, T, D)
        by_position = (q + self.pos_bias_v[:, None]) @ p.transpose(-1, -2)  # (B, H, T, T)
        bias = by_position * self.head_dim**-0.5
        if mask is not None:
            bias = bias.masked_fill(~mask[:, None, None, :], torch.finfo(bias.dtype).min)
        out = F.scaled_dot_product_attention(q + self.pos_bias_u[:, None], k, v, attn_mask=bias)
        projected: Tensor = self.linear_out(out.transpose(1, 2).flatten(2))  # (B, T, C)
        return projected

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.n_heads, self.head_dim).transpose(1, 2)  # (B, H, T, D)


class FeedForward(nn.Module):
    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        self.w_1 = nn.Linear(config.output_size, config.linear_units)
        self.w_2 = nn.Linear(config.linear_units, config.output_size)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.w_2(F.silu(self.w_1(x)))  # (B, T, C)
        return out


class ConvModule(nn.Module):
    """Gated pointwise, centered depthwise and pointwise convolution."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        size, kernel_size = config.output_size, config.conv_kernel_size
        self.pointwise_conv1 = nn.Conv1d(size, 2 * size, 1)
        self.depthwise_conv = nn.Conv1d(size, size, kernel_size, padding=kernel_size // 2, groups=size)
        self.norm = nn.LayerNorm(size, eps=LAYER_NORM_EPS)
        self.pointwise_conv2 = nn.Conv1d(size, size, 1)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x (B, T, C), mask (B, T) bool or None -> (B, T, C)."""
        x = F.glu(self.pointwise_conv1(x.transpose(1, 2)), dim=1)  # (B, C, T)
        if mask is not None:
            # After the gate: its bias makes padding non-zero, which the depthwise convolution would mix in.
            x = x.masked_fill(~mask[:, None, :], 0.0)
        x = F.silu(self.norm(self.depthwise_conv(x).transpose(1, 2)))  # (B, T, C)
        out: Tensor = self.pointwise_conv2(x.transpose(1, 2)).transpose(1, 2)  # (B, T, C)
        return out


class ConformerLayer(nn.Module):
    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        size = config.output_size
        self.self_attn = PositionalAttention(config)
        self.feed_forward = FeedForward(config)
        self.conv_module = ConvModule(config)
        self.norm_mha = nn.LayerNorm(size, eps=LAYER_NORM_EPS)
        self.norm_conv = nn.LayerNorm(size, eps=LAYER_NORM_EPS)
        self.norm_ff = nn.LayerNorm(size, eps=LAYER_NORM_EPS)
        self.norm_final = nn.LayerNorm(size, eps=LAYER_NORM_EPS)

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor | None) -> Tensor:
        x = x + self.self_attn(self.norm_mha(x), positions, mask)
        x = x + self.conv_module(self.norm_conv(x), mask)
        x = x + self.feed_forward(self.norm_ff(x))
        out: Tensor = self.norm_final(x)  # (B, T, C)
        return out


class ConformerEncoder(nn.Module):
    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        self.embed = Subsampling(config.input_size, config.output_size)
        self.encoders = nn.ModuleList(ConformerLayer(config) for _ in range(config.n_blocks))
        self.after_norm = nn.LayerNorm(config.output_size, eps=LAYER_NORM_EPS)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x (B, T, input_size), at least 3 frames -> (B, T', output_size), T' = (T - 1) // 2.

        mask: (B, T), non-zero for real frames, padding on the right; None: no padding. Output frames outside
        `subsampled_mask(mask)` are undefined.
        """
        x = self.embed(x)  # (B, T', C)
        size = x.shape[-1]
        positions = sinusoidal_positions(x.shape[1], size, x.device).to(x.dtype)[None]  # (1, T', C)
        seen = None if mask is None else subsampled_mask(mask)
        x = x * math.sqrt(size)
        for layer in self.encoders:
            x = layer(x, positions, seen)
        out: Tensor = self.after_norm(x)
        return out
