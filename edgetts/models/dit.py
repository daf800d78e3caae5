"""DiT: the estimator of flow matching, a diffusion transformer with U-ViT skips and a WaveNet head.

In: the noisy mel, the reference mel as prompt, the flow time, the style of the voice and the condition from
the length regulator. Out: the velocity of the mel. Attention is bidirectional over prompt and target.

`estimate` takes precomputed values of the flow time (`AdaLNModulation`) and of the length (the rotary table); `forward`
computes both itself, for training. It does not know solvers, guidance or devices.

Source: Peebles & Xie 2023, "Scalable diffusion models with transformers"; Bao et al. 2023, "All are worth
words" (skips); upstream `indextts/s2mel/modules/{diffusion_transformer,gpt_fast/model}.py`.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgetts.models.wavenet import WaveNet
from edgetts.pack.config import DiTConfig

# Published tensors that this network does not have (fnmatch patterns): constants computed here, embeddings of discrete
# content, an input layer that upstream never calls, and `skip_in_linear` of layers that receive no skip.
EXPECTED_EXTRAS: tuple[str, ...] = (
    "input_pos",
    "t_embedder.freqs",
    "t_embedder2.freqs",
    "x_embedder.*",
    "cond_embedder.weight",
    "content_mask_embedder.weight",
    "transformer.layers.*.skip_in_linear.*",
)

RMS_EPS = 1e-5
FINAL_NORM_EPS = 1e-6
ROPE_BASE = 10000.0
ROPE_TABLE_STEP = 1024  # table lengths are multiples of this, so that few tables are cached
TIME_SCALE = 1000.0  # flow time 0..1 is embedded like a diffusion step 0..1000
TIME_MAX_PERIOD = 10000.0


class AdaLNModulation(NamedTuple):
    """All values derived from the flow time. Rows: B, or 1 for a time shared by the batch."""

    norms: Tensor  # (2 depth + 1, rows, 1, 2 C): gain and bias of each layer's two norms and of the last norm
    wavenet: Tensor  # (rows, 2 C n_layers, 1): bias of each gate
    final: Tensor  # (rows, 1, 2 C): shift and scale of the final layer

    def plus(self, offsets: AdaLNModulation | None) -> AdaLNModulation:
        """The sum with a voice's offsets (one row, `models.voice_offsets`)."""
        if offsets is None:
            return self
        return AdaLNModulation(*(own + offset.to(own.dtype) for own, offset in zip(self, offsets, strict=True)))


@functools.lru_cache(maxsize=4)
def _rope_table(length: int, head_dim: int, device: torch.device) -> Tensor:
    # Outside inference mode: otherwise a later training step could not use the cached tensor.
    with torch.inference_mode(False):
        exponents = torch.arange(0, head_dim, 2, dtype=torch.float32, device="cpu") / head_dim
        angles = torch.outer(torch.arange(length, dtype=torch.float32, device="cpu"), ROPE_BASE**-exponents)
        return torch.stack([angles.cos(), angles.sin()], dim=-1).to(device)


def rope_table(length: int, head_dim: int, device: torch.device) -> Tensor:
    """Cosine and sine of the rotary angles, fp32 (T, D / 2, 2)."""
    rounded = -(-length // ROPE_TABLE_STEP) * ROPE_TABLE_STEP
    return _rope_table(rounded, head_dim, device)[:length]


def apply_rope(x: Tensor, rope: Tensor) -> Tensor:
    """Rotate adjacent pairs of channels: (B, T, N, D), table (T, D / 2, 2) -> (B, T, N, D), in fp32."""
    # Complex multiplication: one pass over memory instead of six.
    pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))  # (B, T, N, D / 2)
    rotated = torch.view_as_real(pairs * torch.view_as_complex(rope).unsqueeze(1))
    return rotated.flatten(-2).to(x.dtype)


class TimestepEmbedder(nn.Module):
    """Flow time (B,) in [0, 1] -> embedding (B, C), by sinusoids and a two-layer perceptron."""

    def __init__(self, frequency_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.frequency_dim = frequency_dim
        self.mlp = nn.Sequential(nn.Linear(frequency_dim, hidden_dim), nn.SiLU(), nn.Linear(hidden_dim, hidden_dim))

    def forward(self, t: Tensor) -> Tensor:
        half = self.frequency_dim // 2
        steps = torch.arange(half, dtype=torch.float32, device=t.device)
        frequencies = torch.exp(-math.log(TIME_MAX_PERIOD) / half * steps)
        angles = TIME_SCALE * t.float().unsqueeze(-1) * frequencies  # (B, half)
        # Sinusoids in fp32: in half precision, angles up to 1000 would have no accuracy.
        sinusoids = torch.cat([angles.cos(), angles.sin()], dim=-1)
        embedding: Tensor = self.mlp(sinusoids.to(next(self.mlp.parameters()).dtype))
        return embedding


class AdaptiveNorm(nn.Module):
    """RMS norm with gain and bias from the time embedding (gain, not 1 + gain)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.project_layer = nn.Linear(dim, 2 * dim)
        self.norm = nn.RMSNorm(dim, eps=RMS_EPS)

    def gain_and_bias(self, time: Tensor) -> Tensor:
        """Time embedding (B, C) -> (B, 1, 2 C); the norm's own weight is part of the gain."""
        gain, bias = self.project_layer(time).unsqueeze(1).chunk(2, dim=-1)
        return torch.cat([gain * self.norm.weight, bias], dim=-1)

    def forward(self, x: Tensor, gain_and_bias: Tensor) -> Tensor:
        gain, bias = gain_and_bias.chunk(2, dim=-1)
        return torch.addcmul(bias, F.rms_norm(x, x.shape[-1:], eps=RMS_EPS), gain)  # (B, T, C)


class Attention(nn.Module):
    """Bidirectional multi-head attention with rotary positions."""

    def __init__(self, dim: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.head_dim = dim // n_heads
        self.wqkv = nn.Linear(dim, 3 * dim, bias=False)
        self.wo = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor, rope: Tensor, mask: Tensor | None) -> Tensor:
        batch, length, _ = x.shape
        qkv = self.wqkv(x).view(batch, length, 3 * self.n_heads, self.head_dim)
        qk, v = qkv.split([2 * self.n_heads, self.n_heads], dim=2)
        q, k = apply_rope(qk, rope).chunk(2, dim=2)  # 2 x (B, T, H, D)
        y = F.scaled_dot_product_attention(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=mask
        )  # (B, H, T, D)
        out: Tensor = self.wo(y.transpose(1, 2).flatten(2))
        return out  # (B, T, C)


class FeedForward(nn.Module):
    """Gated perceptron (SwiGLU)."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.w1 = nn.Linear(dim, hidden_dim, bias=False)
        self.w3 = nn.Linear(dim, hidden_dim, bias=False)
        self.w2 = nn.Linear(hidden_dim, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.w2(F.silu(self.w1(x)) * self.w3(x))
        return y


class Block(nn.Module):
    """One transformer layer; receives_skip: whether the output of an earlier layer is merged in first."""

    def __init__(self, config: DiTConfig, receives_skip: bool) -> None:
        super().__init__()
        dim = config.hidden_dim
        self.attention = Attention(dim, config.n_heads)
        self.feed_forward = FeedForward(dim, config.ffn_dim)
        self.ffn_norm = AdaptiveNorm(dim)
        self.attention_norm = AdaptiveNorm(dim)
        self.skip_in_linear = nn.Linear(2 * dim, dim) if receives_skip else None

    def forward(
        self, x: Tensor, norms: tuple[Tensor, Tensor], rope: Tensor, mask: Tensor | None, skip: Tensor | None
    ) -> Tensor:
        if self.skip_in_linear is not None:
            assert skip is not None
            x = self.skip_in_linear(torch.cat([x, skip], dim=-1))
        x = x + self.attention(self.attention_norm(x, norms[0]), rope, mask)
        y: Tensor = x + self.feed_forward(self.ffn_norm(x, norms[1]))
        return y  # (B, T, C)


class Transformer(nn.Module):
    """U-ViT: layers of the first half send skips to those of the second half, last to first."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        middle = config.depth // 2
        self.layers = nn.ModuleList(Block(config, receives_skip=i > middle) for i in range(config.depth))
        self.norm = AdaptiveNorm(config.hidden_dim)
        self.n_emitting = middle

    def norm_conditions(self, time: Tensor) -> Tensor:
        """Time embedding (B, C) -> gains and biases of all norms in order of use (2 depth + 1, B, 1, 2 C)."""
        norms: list[Tensor] = []
        for layer in self.layers:
            assert isinstance(layer, Block)
            norms += [layer.attention_norm.gain_and_bias(time), layer.ffn_norm.gain_and_bias(time)]
        return torch.stack([*norms, self.norm.gain_and_bias(time)])

    def forward(self, x: Tensor, norms: Tensor, rope: Tensor, mask: Tensor | None) -> Tensor:
        conditions = norms.unbind(0)
        skips: list[Tensor] = []
        for i, layer in enumerate(self.layers):
            assert isinstance(layer, Block)
            skip = skips.pop() if layer.skip_in_linear is not None else None
            x = layer(x, (conditions[2 * i], conditions[2 * i + 1]), rope, mask, skip)
            if i < self.n_emitting:
                skips.append(x)
        y: Tensor = self.norm(x, conditions[-1])
        return y  # (B, T, C)


class FinalLayer(nn.Module):
    """Layer norm, shifted and scaled by the time embedding, then a linear layer."""

    def __init__(self, dim: int, time_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, dim)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(time_dim, 2 * dim))

    def shift_and_scale(self, time: Tensor) -> Tensor:
        """Time embedding (B, C_t) -> (B, 1, 2 C)."""
        modulation: Tensor = self.adaLN_modulation(time)
        return modulation.unsqueeze(1)

    def forward(self, x: Tensor, shift_and_scale: Tensor) -> Tensor:
        shift, scale = shift_and_scale.chunk(2, dim=-1)
        normed = F.layer_norm(x, x.shape[-1:], eps=FINAL_NORM_EPS)
        y: Tensor = self.linear(torch.addcmul(shift, normed, 1 + scale))
        return y


class DiT(nn.Module):
    """The estimator. It computes in the dtype of its weights; all inputs except the time must have it."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        dim, head_dim = config.hidden_dim, config.wavenet.hidden_dim
        self.rope_dim = config.head_dim
        self.transformer = Transformer(config)
        self.cond_projection = nn.Linear(config.content_dim, dim)
        self.t_embedder = TimestepEmbedder(config.time_frequency_dim, dim)
        self.t_embedder2 = TimestepEmbedder(config.time_frequency_dim, head_dim)
        self.conv1 = nn.Linear(dim, head_dim)
        self.conv2 = nn.Conv1d(head_dim, config.n_mels, 1)
        self.wavenet = WaveNet(config.wavenet, head_dim)
        self.final_layer = FinalLayer(head_dim, dim)
        self.res_projection = nn.Linear(dim, head_dim)
        self.skip_linear = nn.Linear(dim + config.n_mels, dim)
        self.cond_x_merge_linear = nn.Linear(dim + 2 * config.n_mels + config.style_dim, dim)
        self._initialize()

    def _initialize(self) -> None:
        """Initialize for training: norms independent of the time, and velocity zero."""
        for module in self.modules():
            if isinstance(module, AdaptiveNorm):
                nn.init.zeros_(module.project_layer.weight)
                nn.init.zeros_(module.project_layer.bias)
                nn.init.ones_(module.project_layer.bias[: module.norm.weight.shape[0]])
        final = self.final_layer.adaLN_modulation[-1]
        for parameter in [*final.parameters(), *self.conv2.parameters()]:
            nn.init.zeros_(parameter)

    def time_embeddings(self, t: Tensor) -> AdaLNModulation:
        """Flow time (B,), or (1,) shared by the batch -> the `times` argument of `estimate`."""
        time = self.t_embedder(t)  # (B, C)
        return AdaLNModulation(
            self.transformer.norm_conditions(time),
            self.wavenet.time_bias(self.t_embedder2(t)),
            self.final_layer.shift_and_scale(time),
        )

    def rope(self, length: int, device: torch.device) -> Tensor:
        """The `rope` argument of `estimate` for T = `length`, fp32 (T, D / 2, 2)."""
        return rope_table(length, self.rope_dim, device)

    def estimate(
        self,
        x: Tensor,
        prompt: Tensor,
        times: AdaLNModulation,
        style: Tensor,
        condition: Tensor,
        rope: Tensor,
        mask: Tensor | None = None,
    ) -> Tensor:
        """As `forward`, with precomputed `times` and `rope`."""
        x = x.transpose(1, 2)  # (B, T, M)
        styles = style.unsqueeze(1).expand(-1, x.shape[1], -1)  # (B, T, C_style)
        merged = torch.cat([x, prompt.transpose(1, 2), self.cond_projection(condition), styles], dim=-1)
        key_mask = None if mask is None else mask[:, None, None, :]  # (B, 1, 1, T)
        hidden = self.transformer(self.cond_x_merge_linear(merged), times.norms, rope, key_mask)  # (B, T, C)
        hidden = self.skip_linear(torch.cat([hidden, x], dim=-1))
        frame_mask = None if mask is None else mask.unsqueeze(1)  # (B, 1, T)
        y = self.wavenet(self.conv1(hidden).transpose(1, 2), times.wavenet, frame_mask).transpose(1, 2)
        y = self.final_layer(y + self.res_projection(hidden), times.final)  # (B, T, C)
        velocity: Tensor = self.conv2(y.transpose(1, 2))
        return velocity  # (B, M, T)

    def forward(
        self,
        x: Tensor,
        prompt: Tensor,
        t: Tensor,
        style: Tensor,
        condition: Tensor,
        mask: Tensor | None = None,
        offsets: AdaLNModulation | None = None,
    ) -> Tensor:
        """The velocity of the mel at flow time `t`.

        x (B, M, T) noisy mel; prompt (B, M, T) reference mel, zero where the target is; t (B,) in [0, 1];
        style (B, C_style); condition (B, T, C_content); mask (B, T), True for real frames, only needed for
        padded batches; offsets: a voice's offsets of the modulation. Returns (B, M, T).
        """
        rope = self.rope(x.shape[-1], x.device)
        return self.estimate(x, prompt, self.time_embeddings(t).plus(offsets), style, condition, rope, mask)
