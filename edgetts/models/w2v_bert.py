"""w2v-BERT 2.0, up to the layer whose output is used: filter-bank frames to semantic features.

In: SeamlessM4T features (`edgetts.audio.features.semantic_features`), 50 frames per second, and a padding mask. Out:
the hidden state after the last stored layer. It does not know the statistics that normalize that state, or waveforms.

Each layer is a conformer block: a feed-forward with weight 1/2, self-attention with a learned embedding per relative
distance, a causal depthwise convolution, and a second feed-forward with weight 1/2.

Sources: Barrault et al., "Seamless" (2023), section 3.2; Gulati et al., "Conformer" (2020); parameter
names as in `transformers` `Wav2Vec2BertModel`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgetts.pack.config import SemanticEncoderConfig

# The mask embedding of pre-training.
EXPECTED_EXTRAS = ("masked_spec_embed",)


class FeatureProjection(nn.Module):
    def __init__(self, config: SemanticEncoderConfig) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(config.feature_dim, eps=config.layer_norm_eps)
        self.projection = nn.Linear(config.feature_dim, config.hidden_size)

    def forward(self, features: Tensor) -> Tensor:
        projected: Tensor = self.projection(self.layer_norm(features))  # (B, T, C)
        return projected


class FeedForward(nn.Module):
    def __init__(self, config: SemanticEncoderConfig) -> None:
        super().__init__()
        self.intermediate_dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.output_dense = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.output_dense(F.silu(self.intermediate_dense(x)))  # (B, T, C)
        return out


class SelfAttention(nn.Module):
    """Attention with `query . embedding[clipped distance]` added to its scores ("relative_key")."""

    def __init__(self, config: SemanticEncoderConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.n_heads = config.n_heads
        self.head_dim = size // config.n_heads
        self.left_max = config.left_max_positions
        self.right_max = config.right_max_positions
        self.linear_q = nn.Linear(size, size)
        self.linear_k = nn.Linear(size, size)
        self.linear_v = nn.Linear(size, size)
        self.linear_out = nn.Linear(size, size)
        self.distance_embedding = nn.Embedding(self.left_max + self.right_max + 1, self.head_dim)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x (B, T, C), mask (B, T) bool of visible keys -> (B, T, C)."""
        q, k, v = (self._heads(linear(x)) for linear in (self.linear_q, self.linear_k, self.linear_v))
        time = torch.arange(x.shape[1], device=x.device)
        distance = (time[None, :] - time[:, None]).clamp(-self.left_max, self.right_max)  # (T, T) key - query
        # One score per distance, gathered by key: avoids a (T, T, D) tensor.
        by_distance = q @ self.distance_embedding.weight.T  # (B, H, T, n_distances)
        index = (distance + self.left_max).expand(*by_distance.shape[:3], -1)  # (B, H, T, T)
        bias = by_distance.gather(-1, index) * self.head_dim**-0.5
        if mask is not None:
            bias = bias.masked_fill(~mask[:, None, None, :], torch.finfo(bias.dtype).min)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)  # (B, H, T, D)
        projected: Tensor = self.linear_out(out.transpose(1, 2).flatten(2))  # (B, T, C)
        return projected

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.n_heads, self.head_dim).transpose(1, 2)  # (B, H, T, D)


class ConvModule(nn.Module):
    """Layer norm, then gated pointwise, causal depthwise and pointwise convolution."""

    def __init__(self, config: SemanticEncoderConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.layer_norm = nn.LayerNorm(size, eps=config.layer_norm_eps)
        self.pointwise_conv1 = nn.Conv1d(size, 2 * size, 1, bias=False)
        self.depthwise_conv = nn.Conv1d(size, size, config.conv_kernel_size, groups=size, bias=False)
        self.depthwise_layer_norm = nn.LayerNorm(size, eps=config.layer_norm_eps)
        self.pointwise_conv2 = nn.Conv1d(size, size, 1, bias=False)
        self.left_padding = config.conv_kernel_size - 1

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = self.layer_norm(x)
        if mask is not None:
            x = x.masked_fill(~mask[:, :, None], 0.0)
        x = F.glu(self.pointwise_conv1(x.transpose(1, 2)), dim=1)  # (B, C, T)
        x = self.depthwise_conv(F.pad(x, (self.left_padding, 0)))  # (B, C, T)
        x = F.silu(self.depthwise_layer_norm(x.transpose(1, 2)))  # (B, T, C)
        out: Tensor = self.pointwise_conv2(x.transpose(1, 2)).transpose(1, 2)  # (B, T, C)
        return out


class EncoderLayer(nn.Module):
    def __init__(self, config: SemanticEncoderConfig) -> None:
        super().__init__()
        size, eps = config.hidden_size, config.layer_norm_eps
        self.ffn1_layer_norm = nn.LayerNorm(size, eps=eps)
        self.ffn1 = FeedForward(config)
        self.self_attn_layer_norm = nn.LayerNorm(size, eps=eps)
        self.self_attn = SelfAttention(config)
        self.conv_module = ConvModule(config)
        self.ffn2_layer_norm = nn.LayerNorm(size, eps=eps)
        self.ffn2 = FeedForward(config)
        self.final_layer_norm = nn.LayerNorm(size, eps=eps)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = x + 0.5 * self.ffn1(self.ffn1_layer_norm(x))
        x = x + self.self_attn(self.self_attn_layer_norm(x), mask)
        x = x + self.conv_module(x, mask)
        x = x + 0.5 * self.ffn2(self.ffn2_layer_norm(x))
        out: Tensor = self.final_layer_norm(x)  # (B, T, C)
        return out


class Encoder(nn.Module):
    def __init__(self, config: SemanticEncoderConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.n_layers))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        for layer in self.layers:
            x = layer(x, mask)
        return x


class SemanticEncoder(nn.Module):
    """Semantic features of speech, one vector per 20 ms."""

    def __init__(self, config: SemanticEncoderConfig) -> None:
        super().__init__()
        self.feature_projection = FeatureProjection(config)
        self.encoder = Encoder(config)

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Hidden state after the last layer, not normalized by the model's statistics.

        features: (B, T, feature_dim), stacked and normalized filter-bank frames, 50 a second.
        mask: (B, T), non-zero for real frames; None: no padding. Outputs for padding are undefined and do not
            affect the others.
        Returns (B, T, hidden_size).
        """
        x = self.feature_projection(features)  # (B, T, C)
        seen = None if mask is None else mask.bool()
        if seen is not None:
            x = x.masked_fill(~seen[:, :, None], 0.0)
        out: Tensor = self.encoder(x, seen)
        return out
