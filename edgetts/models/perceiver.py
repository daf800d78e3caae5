"""Perceiver resampler: any number of context vectors to a few learned latents.

In: the conformer's output and its padding mask. Out: a fixed number of vectors. It does not know what they condition.
Enrollment only. Latents attend to themselves and to the context jointly.

Sources: Jaegle et al., "Perceiver" (2021); Alayrac et al., "Flamingo" (2022), section 3.1; Shazeer,
"GLU Variants Improve Transformer" (2020); parameter names as in naturalspeech2-pytorch.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgetts.pack.config import PerceiverConfig

LATENT_INIT_STD = 0.02


class ScaledUnitNorm(nn.Module):
    """Vectors scaled to length sqrt(C), times a learned gain per channel."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = F.normalize(x, dim=-1) * math.sqrt(x.shape[-1]) * self.gamma
        return out


class GEGLU(nn.Module):
    """The first half of the channels, gated by the GELU of the second: (…, 2C) -> (…, C)."""

    def forward(self, x: Tensor) -> Tensor:
        value, gate = x.chunk(2, dim=-1)
        return F.gelu(gate) * value


class CrossAttention(nn.Module):
    def __init__(self, dim: int, n_heads: int, head_dim: int) -> None:
        super().__init__()
        inner = n_heads * head_dim
        self.n_heads = n_heads
        self.to_q = nn.Linear(dim, inner, bias=False)
        self.to_kv = nn.Linear(dim, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, dim, bias=False)

    def forward(self, latents: Tensor, context: Tensor, seen: Tensor | None) -> Tensor:
        """latents (B, N, C), context (B, T, C), seen (B, N + T) bool or None -> (B, N, C)."""
        q = self._heads(self.to_q(latents))  # (B, H, N, D)
        keys, values = self.to_kv(torch.cat([latents, context], dim=1)).chunk(2, dim=-1)
        mask = None if seen is None else seen[:, None, None, :]
        out = F.scaled_dot_product_attention(q, self._heads(keys), self._heads(values), attn_mask=mask)
        projected: Tensor = self.to_out(out.transpose(1, 2).flatten(2))  # (B, N, C)
        return projected

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.n_heads, x.shape[-1] // self.n_heads).transpose(1, 2)


class PerceiverResampler(nn.Module):
    def __init__(self, config: PerceiverConfig) -> None:
        super().__init__()
        dim = config.dim
        projected = config.dim_context != dim
        self.proj_context = nn.Linear(config.dim_context, dim) if projected else nn.Identity()
        self.latents = nn.Parameter(torch.empty(config.n_latents, dim))
        nn.init.normal_(self.latents, std=LATENT_INIT_STD)
        inner = dim * config.ff_mult * 2 // 3  # 2/3: GEGLU has three matrices instead of two
        self.layers = nn.ModuleList(
            nn.ModuleList(
                [
                    CrossAttention(dim, config.n_heads, config.head_dim),
                    nn.Sequential(nn.Linear(dim, 2 * inner), GEGLU(), nn.Linear(inner, dim)),
                ]
            )
            for _ in range(config.depth)
        )
        self.norm = ScaledUnitNorm(dim)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x (B, T, dim_context), mask (B, T), non-zero for real frames, or None -> (B, n_latents, dim)."""
        context = self.proj_context(x)  # (B, T, C)
        latents = self.latents.expand(x.shape[0], -1, -1)  # (B, N, C)
        seen = None
        if mask is not None:
            seen = F.pad(mask.bool(), (latents.shape[1], 0), value=True)  # latents always attend to each other
        for layer in self.layers:
            assert isinstance(layer, nn.ModuleList)
            attention, feed_forward = layer
            latents = latents + attention(latents, context, seen)
            latents = latents + feed_forward(latents)
        out: Tensor = self.norm(latents)
        return out
