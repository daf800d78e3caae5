"""The latent pass: codes in, the GPT's hidden states for them out, chunk by chunk with a cache of its own.

In: the GPT, a `GPTPrompt`, and codes in any chunking. Out: for each code the hidden state that
predicts it, which S2Mel reads. It does not know how the codes were chosen or what is done with latents.

Upstream runs the GPT a second time over `[start, codes..., stop, stop]` at positions 0, 1, 2, 3... and
drops the last two outputs. (Decoding skips position 1, so its own hidden states are not these.) The pass
is causal and the latent of a code needs only what comes before it, so nothing has to wait for the stops.

Source: upstream `UnifiedVoice.forward` in indextts/gpt/model_v2.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from edgetts.decoding.decode import max_codes_limit
from edgetts.decoding.prompt import GPTPrompt
from edgetts.errors import UsageError
from edgetts.models.gpt import GPT, KVCache

_GROWTH = 1.5  # of the cache when a stream outgrows it: seldom enough not to matter, never twice the need


class LatentPass:
    """Latents of one text's codes.

    `capacity` codes are made room for at once; when more come, the cache is copied into a larger one.
    """

    @torch.inference_mode()
    def __init__(
        self,
        gpt: GPT,
        prompt: GPTPrompt,
        *,
        capacity: int = 0,
    ) -> None:
        self._gpt = gpt
        # Waits for the first codes, so that both go through the network at once.
        self._prefix = prompt.embeddings
        self._n_prefix = self._prefix.shape[1]
        self._cache = self._allocate(capacity)
        self._pending = gpt.config.start_mel_token  # not fed yet: nothing before the next code needs it
        self._n_codes = 0

    @property
    def n_codes(self) -> int:
        """Codes so far."""
        return self._n_codes

    @torch.inference_mode()
    def append(self, codes: Sequence[int]) -> Tensor:
        """Latents (1, n, C) of the next n codes (at least one, stop code excluded).

        Raises UsageError for no codes, for what is not a code, and for more than the model has positions.
        """
        config = self._gpt.config
        if not codes:
            raise UsageError("There are no codes to make latents of; at least one is needed.")
        special = (config.start_mel_token, config.stop_mel_token)
        wrong = [c for c in codes if not 0 <= c < config.n_mel_codes or c in special]
        if wrong:
            raise UsageError(f"{wrong[0]} is not a code; codes are 0 to {config.n_mel_codes - 1} but {special}.")
        start, end = self._n_codes, self._n_codes + len(codes)
        if end > max_codes_limit(config):
            raise UsageError(f"There are {end} codes; this model has positions for {max_codes_limit(config)}.")

        device = self._prefix.device
        fed = torch.tensor([[self._pending, *codes[:-1]]], device=device)  # (1, n)
        embedded = self._gpt.mel_embed(fed, torch.arange(start, end, device=device))
        if start == 0:
            embedded = torch.cat([self._prefix, embedded], dim=1)
        self._reserve(end)
        hidden: Tensor = self._gpt(embedded, self._cache)  # (1, n, C), with the prefix at first
        self._pending, self._n_codes = codes[-1], end
        return hidden[:, -len(codes) :]

    def _allocate(self, n_codes: int) -> KVCache:
        return KVCache.allocate(
            self._gpt.config,
            self._n_prefix + n_codes,
            device=self._prefix.device,
            dtype=self._prefix.dtype,
        )

    def _reserve(self, n_codes: int) -> None:
        if self._n_prefix + n_codes <= self._cache.capacity:
            return
        room = self._cache.capacity - self._n_prefix
        larger = self._allocate(max(n_codes, int(room * _GROWTH)))
        larger.copy_from(self._cache)
        self._cache = larger
