"""Conformer encoder: semantic features to half as many, contextual ones, for the two conditioners.

In: semantic features, 50 a second, and which of them are real. Out: one vector per two frames. It does
not know what it conditions. Enrollment only: its first linear, from the convolution's channels x bands,
is most of the parameters of a conditioner.

Positions enter attention as a second score, the query against a sinusoid of the *key's* position: the
shift that would make it relative is left out, as in the training of the published model.

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
# Frames that come out of the subsampling at once: the convolution's output is wide (262 k values a frame
# as published), and a long recording must not cost hundreds of megabytes.
FRAMES_AT_ONCE = 64


def sinusoidal_positions(length: int, dim: int, device: torch.device) -> Tensor:
    """Table (T, C) float32 of sines (even channels) and cosines (odd channels) of positions 0 … T - 1."""
    position = torch.arange(length, dtype=torch.float32, device=device)[:, None]
    steps = torch.arange(0, dim, 2, dtype=torch.float32, device=device)
    angle = position * torch.exp(steps * -(math.log(MAX_PERIOD) / dim))  # (T, C / 2)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)


def subsampled_mask(mask: Tensor) -> Tensor:
    """Which frames that come out are made of real ones only: (B, T) -> (B, T') bool."""
    return mask.bool()[:, SUBSAMPLING_KERNEL_SIZE - 1 :: SUBSAMPLING]


class Subsampling(nn.Module):
    """One strided 2-D convolution over (time, features), then a linear over channels x features."""

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__()
        bands = (input_size - SUBSAMPLING_KERNEL_SIZE) // SUBSAMPLING + 1
        # Holding the layers in sequences gives them upstream's names: conv.0 and out.0.
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
        """x (B, T, C), positions (1, T, C), mask (B, T) bool of keys that may be seen -> (B, T, C)."""
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
    """Gated pointwise, depthwise over both sides, pointwise."""

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
            # After the gate, whose bias would otherwise make frames that are not real audible to others.
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

        mask: (B, T), non-zero where a frame is real, from the start; None when all are. Frames that come
        out are real where `subsampled_mask(mask)` says so; the others mean nothing.
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
