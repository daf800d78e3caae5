"""The latent pass: the GPT's hidden states for given codes, chunk by chunk with its own KV cache.

In: the GPT, a `GPTPrompt`, and codes in chunks of any size. Out: for each code the hidden state that
predicts it, which S2Mel reads. Does not know how the codes were chosen or what the latents are for.

Upstream runs the GPT a second time over `[start, codes..., stop, stop]` at positions 0, 1, 2, 3... and
drops the last two outputs. (The hidden states of decoding differ, because decoding skips position 1.) The pass
is causal and a latent depends only on the codes before it, so it need not wait for the stop codes. The KV cache of the
prefix and the start code is the same in both passes, so it is taken from decoding if that kept it.

Source: upstream `UnifiedVoice.forward` in indextts/gpt/model_v2.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from edgetts.decoding.decode import max_codes_limit
from edgetts.decoding.prompt import GPTPrompt, PrefixStates
from edgetts.errors import UsageError
from edgetts.models.gpt import GPT, KVCache

_GROWTH = 1.5  # of the cache when it is full


class LatentPass:
    """Latents of one text's codes.

    capacity: codes to allocate the cache for; with more, it is copied into a larger one.
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
        # Runs together with the first codes.
        self._prompt = prompt.to(gpt.dtype)  # the GPT may have been reloaded in another dtype
        self._prefix = self._prompt.embeddings
        self._n_prefix = self._prefix.shape[1]
        self._cache = self._allocate(capacity)
        self._pending = gpt.config.start_mel_token  # not fed yet: the next latent needs it
        self._n_codes = 0

    @property
    def n_codes(self) -> int:
        """Codes so far."""
        return self._n_codes

    @torch.inference_mode()
    def append(self, codes: Sequence[int]) -> Tensor:
        """Latents (1, n, C) of the next n codes (at least one, stop code excluded).

        Raises UsageError for no codes, invalid codes, or more codes than the model has positions.
        """
        config = self._gpt.config
        if not codes:
            raise UsageError("The latent pass got no codes; give at least one.")
        special = (config.start_mel_token, config.stop_mel_token)
        wrong = [c for c in codes if not 0 <= c < config.n_mel_codes or c in special]
        if wrong:
            raise UsageError(f"{wrong[0]} is not a code; codes are 0 to {config.n_mel_codes - 1} but {special}.")
        start, end = self._n_codes, self._n_codes + len(codes)
        if end > max_codes_limit(config):
            raise UsageError(f"There are {end} codes; this model has positions for {max_codes_limit(config)}.")

        self._reserve(end)
        states = next(iter(self._prompt.states), None)
        if start == 0 and states is not None:
            latents = self._from_states(states, codes)
        else:
            embedded = self._embedded([self._pending, *codes[:-1]], start)
            if start == 0:
                embedded = torch.cat([self._prefix, embedded], dim=1)
            latents = self._gpt(embedded, self._cache)[:, -len(codes) :]  # without the prefix
        self._pending, self._n_codes = codes[-1], end
        return latents.float()  # S2Mel takes float32, whatever the GPT's dtype

    def _from_states(self, states: PrefixStates, codes: Sequence[int]) -> Tensor:
        """The first latents, from the states of prefix and start code that decoding kept."""
        self._cache.copy_from(KVCache(states.storage, states.storage.shape[4]))
        if len(codes) == 1:
            return states.hidden
        hidden: Tensor = self._gpt(self._embedded(codes[:-1], 1), self._cache)
        return torch.cat([states.hidden, hidden], dim=1)

    def _embedded(self, codes: Sequence[int], position: int) -> Tensor:
        """Embeddings (1, n, C) of codes at `position` and the following positions."""
        device = self._prefix.device
        positions = torch.arange(position, position + len(codes), device=device)
        return self._gpt.mel_embed(torch.tensor([list(codes)], device=device), positions)

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
