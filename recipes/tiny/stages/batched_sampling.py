"""Samples codes of many texts at once from a GPT.

In: a GPT, the embeddings of voices and texts, temperature and top-p. Out: codes. For training (`word_rewards`); the
runtime decodes one text at a time (`edgetts.decoding`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from edgetts.decoding.sampling import keep_top_p
from edgetts.models.gpt import GPT, KVCache
from recipes.tiny.common import autocast, has_bf16_products

COMPACT_BELOW = 0.6  # share of unfinished rows below which the finished ones are dropped


@torch.inference_mode()
def sample_codes(
    gpt: GPT,
    prompts: Sequence[Tensor],
    limits: Sequence[int],
    generator: torch.Generator,
    *,
    temperature: float,
    top_p: float,
) -> list[list[int] | None]:
    """Codes of each prompt (P, C), without the stop code; None where there is none after `limits` codes."""
    config, n = gpt.config, len(prompts)
    longest, most = max(map(len, prompts)), max(limits)
    x = torch.zeros(n, longest, config.model_dim)
    visible = torch.zeros(n, longest + 1 + most, dtype=torch.bool)
    for k, prompt in enumerate(prompts):  # padded on the left; positions are in the embeddings
        x[k, longest - len(prompt) :] = prompt
        visible[k, longest - len(prompt) :] = True
    dtype = torch.bfloat16 if has_bf16_products() else torch.float32
    cache = KVCache.allocate(config, longest + 1 + most, batch=n, dtype=dtype)
    start = gpt.mel_embed(torch.full((n, 1), config.start_mel_token), torch.zeros(1, dtype=torch.int64))
    x = torch.cat([x, start], 1)
    size = longest + 1
    causal = torch.ones(size, size).tril().bool()
    mask = (causal & visible[:, None, :size]) | torch.eye(size).bool()  # (B, T, T)
    found: list[list[int] | None] = [None] * n
    rows, going, limit = torch.arange(n), torch.ones(n, dtype=torch.bool), torch.tensor(limits)
    codes = torch.empty(n, 0, dtype=torch.int64)
    with autocast("cpu"):  # one context for all steps: it converts the weights once
        for step in range(most + 1):
            for layer, block in enumerate(gpt.gpt.h):
                x = block(x, mask[:, None], cache, layer)
            logits = gpt.mel_head(gpt.final_norm(gpt.gpt.ln_f(x[:, -1].float()))).float()  # (B, K)
            cache.length += x.shape[1]
            logits[:, config.start_mel_token] = -torch.inf
            shares = keep_top_p(logits / temperature, top_p, 1).softmax(-1)
            new = torch.multinomial(shares, 1, generator=generator)[:, 0]
            stopped = going & (new == config.stop_mel_token)
            for k in stopped.nonzero()[:, 0].tolist():
                found[int(rows[k])] = codes[k].tolist()
            going = going & ~stopped & (step < limit)
            if not going.any():
                break
            codes = torch.cat([codes, new[:, None]], 1)
            if going.float().mean() < COMPACT_BELOW:
                cache = KVCache(cache.storage[:, :, going], cache.length)
                rows, codes, limit, visible, going = (t[going] for t in (rows, codes, limit, visible, going))
            x = gpt.mel_embed(codes[:, -1:], torch.tensor([step + 2]))
            mask = visible[:, None, : cache.length + 1]
    return found
