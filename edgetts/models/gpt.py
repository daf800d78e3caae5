"""The text-to-codes transformer of IndexTTS-2: GPT-2 blocks over conditioning, text and code embeddings.

In: 32 conditioning latents and an emotion vector (made once per voice), text ids, codes so far.
Out: hidden states after both final norms (also the latents that S2Mel reads) and logits over the codes.
It does not know sampling, beams, stopping, devices or dtypes.

The sequence is `[latents + emotion on each, speed_emb(1), speed_emb(0), start text stop, start codes...]`
with separate learned positions for text and codes. Without a cache, `forward` is one causal teacher-forced pass, also
for training: concatenate the parts of each row and pad on the right, then no mask is needed. With a `KVCache`, new
positions are appended to the cache.

Source: upstream indextts/gpt/model_v2.py (sequence, norms, heads) over GPT-2 (blocks).
Shapes: B batch, T time, C channels, H heads, D head dim, K codes in the vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgetts.errors import GenerationError
from edgetts.pack.config import GPTConfig

EXPECTED_EXTRAS = ("text_head.weight", "text_head.bias")
"""Published tensors that synthesis does not need: the text prediction head, used in training only."""

N_SPEED_EMBEDDINGS = 2
LAYER_NORM_EPS = 1e-5
_MLP_RATIO = 4


@dataclass
class KVCache:
    """Keys and values of every layer, allocated once and filled from the left.

    `storage` is (layers, 2, B, H, T_max, D), keys at 0 and values at 1; `length` positions are valid.
    The caller owns it and may reduce `length` to drop positions.
    """

    storage: Tensor
    length: int = 0

    @classmethod
    def allocate(
        cls,
        config: GPTConfig,
        capacity: int,
        *,
        batch: int = 1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> KVCache:
        """An empty cache for `capacity` positions (prefix and codes together) of `batch` rows."""
        shape = (config.n_layers, 2, batch, config.n_heads, capacity, config.head_dim)
        return cls(torch.empty(shape, device=device, dtype=dtype))  # the OS does not back untouched pages

    @property
    def capacity(self) -> int:
        return self.storage.shape[4]

    @property
    def batch(self) -> int:
        return self.storage.shape[2]

    def rows(self, n: int) -> KVCache:
        """The first `n` rows, sharing memory: run a common prefix once for all rows."""
        return KVCache(self.storage[:, :, :n], self.length)

    def share_first_row(self, length: int) -> None:
        """Copy the first `length` positions of row 0 to every row, and set the length to it."""
        self.storage[:, :, 1:, :, :length] = self.storage[:, :, :1, :, :length]
        self.length = length

    def copy_from(self, other: KVCache) -> None:
        """Copy the positions of `other`, which has the same batch size and fits."""
        self.storage[:, :, :, :, : other.length] = other.storage[:, :, :, :, : other.length]
        self.length = other.length

    def reorder(self, parents: Tensor, start: int) -> None:
        """Row b continues row `parents[b]` (int64, (B,)). Positions before `start` must already be equal."""
        tail = self.storage[:, :, :, :, start : self.length]
        tail.copy_(tail.index_select(2, parents))

    def write(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Append `key` and `value` (B, H, T, D). Returns all P + T of both as views (B, H, P + T, D).

        `length` does not change: every layer writes at the same position, and the network advances it once at the end.
        """
        end = self.length + key.shape[2]
        if end > self.capacity:
            raise GenerationError(
                f"The KV cache has room for {self.capacity} positions, and {end} are needed: "
                "use shorter segments or fewer codes."
            )
        keys, values = self.storage[layer, 0], self.storage[layer, 1]  # (B, H, T_max, D)
        keys[:, :, self.length : end] = key
        values[:, :, self.length : end] = value
        return keys[:, :, :end], values[:, :, :end]


class Attention(nn.Module):
    """Causal self-attention with one projection for queries, keys and values."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.n_heads = config.n_heads
        self.c_attn = nn.Linear(config.model_dim, 3 * config.model_dim)
        self.c_proj = nn.Linear(config.model_dim, config.model_dim)

    def forward(self, x: Tensor, mask: Tensor | None, cache: KVCache | None, layer: int) -> Tensor:
        batch, time, channels = x.shape
        query, key, value = (
            part.view(batch, time, self.n_heads, -1).transpose(1, 2)  # (B, H, T, D)
            for part in self.c_attn(x).split(channels, dim=2)
        )
        if cache is not None:
            key, value = cache.write(layer, key, value)  # (B, H, P + T, D)
        # Without past positions the causal kernel applies; a single new position attends to everything.
        causal = mask is None and time > 1
        y = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)
        out: Tensor = self.c_proj(y.transpose(1, 2).reshape(batch, time, channels))
        return out  # (B, T, C)


class MLP(nn.Module):
    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.model_dim, _MLP_RATIO * config.model_dim)
        self.c_proj = nn.Linear(_MLP_RATIO * config.model_dim, config.model_dim)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))
        return out


class Block(nn.Module):
    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.model_dim, eps=LAYER_NORM_EPS)
        self.attn = Attention(config)
        self.ln_2 = nn.LayerNorm(config.model_dim, eps=LAYER_NORM_EPS)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, mask: Tensor | None, cache: KVCache | None, layer: int) -> Tensor:
        x = x + self.attn(self.ln_1(x), mask, cache, layer)
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out


class Transformer(nn.Module):
    """The blocks and GPT-2's own final norm."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.ln_f = nn.LayerNorm(config.model_dim, eps=LAYER_NORM_EPS)

    def forward(self, x: Tensor, cache: KVCache | None) -> Tensor:
        mask = _continuation_mask(x.shape[1], cache.length, x.device) if cache is not None else None
        for layer, block in enumerate(self.h):
            x = block(x, mask, cache, layer)
        if cache is not None:
            cache.length += x.shape[1]
        out: Tensor = self.ln_f(x)
        return out


class LearnedPositions(nn.Module):
    def __init__(self, n_positions: int, dim: int) -> None:
        super().__init__()
        self.emb = nn.Embedding(n_positions, dim)

    def forward(self, positions: Tensor) -> Tensor:
        out: Tensor = self.emb(positions)
        return out


class GPT(nn.Module):
    """Embeddings of conditioning, text and codes -> hidden states -> logits of the next code."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.text_embedding = nn.Embedding(config.n_text_tokens, config.model_dim)
        self.mel_embedding = nn.Embedding(config.n_mel_codes, config.model_dim)
        self.text_pos_embedding = LearnedPositions(config.n_text_positions, config.model_dim)
        self.mel_pos_embedding = LearnedPositions(config.n_mel_positions, config.model_dim)
        self._add_tables(config)
        self.gpt = Transformer(config)
        self.final_norm = nn.LayerNorm(config.model_dim, eps=LAYER_NORM_EPS)
        self.mel_head = nn.Linear(config.model_dim, config.n_mel_codes)

    def _add_tables(self, config: GPTConfig) -> None:
        """Tables that not every family has."""
        self.speed_emb = nn.Embedding(N_SPEED_EMBEDDINGS, config.model_dim)

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""
        return self.final_norm.weight.dtype

    @property
    def device(self) -> torch.device:
        return self.final_norm.weight.device

    @property
    def n_languages(self) -> int:
        """Languages that it distinguishes; 0: it hears the language from the text."""
        return 0

    def speed_rows(self) -> Tensor:
        """The rows (2, C) between conditioning latents and text; the second embedding comes first."""
        return self.speed_emb.weight.flip(0)

    @property
    def n_conditioning_tokens(self) -> int:
        """Positions in front of the text: the latents and two speed embeddings."""
        return self.config.n_conditioning_latents + N_SPEED_EMBEDDINGS

    def condition(self, conditioning_latents: Tensor, emotion_vector: Tensor) -> Tensor:
        """Latents (B, 32, C) and emotion vector (B, C) to the first positions (B, 34, C)."""
        latents = conditioning_latents + emotion_vector.unsqueeze(1)
        return torch.cat([latents, self.speed_rows().expand(latents.shape[0], -1, -1)], dim=1)

    def language_row(self, language: int | None) -> Tensor | None:
        """The row added to every text position, (1, 1, C); None: nothing."""
        if language is not None:
            raise ValueError("this GPT does not distinguish languages")
        return None

    def text_embed(self, text_ids: Tensor, language: int | None = None) -> Tensor:
        """Text ids (B, T) with start and stop tokens, at positions 0, 1, ... -> (B, T, C).

        language: one of `n_languages`, if there are any.
        """
        positions = torch.arange(text_ids.shape[1], device=text_ids.device)
        out: Tensor = self.text_embedding(text_ids) + self.text_pos_embedding(positions)
        row = self.language_row(language)
        return out if row is None else out + row

    def prefix(
        self, conditioning_latents: Tensor, emotion_vector: Tensor, text_ids: Tensor, language: int | None = None
    ) -> Tensor:
        """The embeddings before the start code.

        conditioning_latents (B, N, C), emotion_vector (B, C), text_ids (B, T) int64 without start and stop tokens,
        which are added here; language as of `text_embed`. Returns (B, N + 2 + T + 2, C).
        """
        wrapped = F.pad(text_ids, (1, 0), value=self.config.start_text_token)
        wrapped = F.pad(wrapped, (0, 1), value=self.config.stop_text_token)  # (B, T + 2)
        conditioning = self.condition(conditioning_latents, emotion_vector)
        return torch.cat([conditioning, self.text_embed(wrapped, language)], dim=1)

    def mel_embed(self, codes: Tensor, positions: Tensor) -> Tensor:
        """Codes (B, T) int64 at code positions (T,) int64 (the start code has 0) -> (B, T, C)."""
        out: Tensor = self.mel_embedding(codes) + self.mel_pos_embedding(positions)
        return out

    def forward(self, embeddings: Tensor, cache: KVCache | None = None) -> Tensor:
        """Causal pass: embeddings (B, T, C) -> hidden states (B, T, C) after both final norms.

        With a cache, the new positions attend to the cached ones and are appended. Raises GenerationError if they do
        not fit.
        """
        out: Tensor = self.final_norm(self.gpt(embeddings, cache))
        return out

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden states (B, T, C) -> logits (B, T, K) of the next code."""
        out: Tensor = self.mel_head(hidden)
        return out


def _continuation_mask(time: int, past: int, device: torch.device) -> Tensor | None:
    """Causal mask (T, P + T), True = attend, or None if no explicit mask is needed."""
    if past == 0 or time == 1:
        return None
    return torch.ones(time, past + time, dtype=torch.bool, device=device).tril(diagonal=past)
