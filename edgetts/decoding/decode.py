"""The decode loop: text and voice in, codes out, one network step per code over a static cache.

In: the GPT, a `GPTPrompt`, `DecodeSettings`, a `torch.Generator`. Out: codes without the stop code, step by step
(`CodeStream`) or all at once (`generate_codes`). The caller asks for each step, may stop between two of them, and
handles bad results: nothing here calls back. Knows no latents, audio or time.

Positions: the start code has position 0, the k-th code k + 1, so position 1 is never used, as in upstream.

Source: upstream `inference_speech` in indextts/gpt/model_v2.py over Hugging Face `generate`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from edgetts.decoding.beam import Candidate, Search, search_with
from edgetts.decoding.bursts import BurstDecoders, BurstReader, not_finite
from edgetts.decoding.prompt import GPTPrompt
from edgetts.decoding.sampling import filter_logits, penalize_repetition, sample, start_seen
from edgetts.decoding.settings import DecodeSettings
from edgetts.errors import UsageError
from edgetts.models.gpt import GPT, KVCache
from edgetts.pack.config import GPTConfig

_N_EXTRA_CODES = 3  # the start code, and two stop codes of upstream's latent pass


@dataclass(frozen=True)
class DecodeResult:
    """Codes without the stop code, and why decoding ended."""

    codes: list[int]
    stopped: bool  # by the stop code; False: by `max_codes`


def max_codes_limit(config: GPTConfig) -> int:
    """The most codes that the model has positions for."""
    return config.n_mel_positions - _N_EXTRA_CODES


Stepper = Callable[[Tensor, KVCache], Tensor]  # called like the GPT: embeddings (B, T, C), cache -> hidden (B, T, C)


class CodeStream:
    """Codes of one text: an iterator over the steps of the network, each computed when it is asked for.

    A step gives the codes that have become certain with it: with one beam its code; with several the codes that all
    beams agree on, often none, and with the last step the rest of the best beam's. Whoever wants no more codes asks for
    no further step and calls `close`. Arguments as of `generate_codes`. The decoder is released after the last step or
    an error.

    codes: all so far.
    """

    @torch.inference_mode()
    def __init__(
        self,
        gpt: GPT,
        prompt: GPTPrompt,
        settings: DecodeSettings,
        generator: torch.Generator | None,
        stepper: Stepper | None = None,
        decoders: BurstDecoders | None = None,
    ) -> None:
        generator = _checked(gpt, settings, generator)
        prompt = prompt.to(gpt.dtype)  # the GPT may have been reloaded in another dtype
        self.codes: list[int] = []
        self._is_closed = False
        self._search = search_with(settings, gpt.config.stop_mel_token)
        self._steps: _HostSteps | BurstReader
        if decoders is not None:  # makes the same choices as the search, one burst ahead of it
            self._steps = BurstReader(decoders, prompt, settings, generator)
        else:
            self._steps = _HostSteps(gpt, prompt.embeddings, settings, generator, stepper or gpt, self._search)

    @property
    def stopped(self) -> bool:
        """Whether the stop code ended the codes."""
        return self._search.stopped

    def __iter__(self) -> CodeStream:
        return self

    @torch.inference_mode()
    def __next__(self) -> list[int]:
        if self._is_closed:
            raise StopIteration
        try:
            new = self._search.step(self._steps.next())
        except BaseException:
            self.close()
            raise
        if self._search.done:
            self.close()
        self.codes += new
        return new

    def close(self) -> None:
        """End decoding and release the decoder for other texts."""
        self._is_closed = True
        self._steps.close()


def generate_codes(
    gpt: GPT,
    prompt: GPTPrompt,
    settings: DecodeSettings,
    generator: torch.Generator | None,
    stepper: Stepper | None = None,
    decoders: BurstDecoders | None = None,
) -> DecodeResult:
    """All codes of one text, at most `settings.max_codes`.

    `generator` is needed for sampling only. stepper: computes each step in place of the GPT, with equal results up to
    rounding (`edgetts.backends.fused_step`). decoders: also choose the codes, several at a time, with equal results up
    to rounding (`edgetts.backends.device_decoder`); then no stepper is used, and the generator may have drawn for more
    codes than are returned. The same seed and settings give the same codes. Raises UsageError for arguments that the
    model cannot take, NonFiniteError if logits are not finite.
    """
    stream = CodeStream(gpt, prompt, settings, generator, stepper, decoders)
    for _ in stream:
        pass
    return DecodeResult(stream.codes, stream.stopped)


class _HostSteps:
    """Candidates of each code: a prefill, then one network step for all beams per code; repetition penalty, filters and
    choice on the host.

    With several beams the scores are log-probabilities, to which the beam's score is added.
    """

    def __init__(
        self,
        gpt: GPT,
        prefix: Tensor,
        settings: DecodeSettings,
        generator: torch.Generator | None,
        stepper: Stepper,
        search: Search,
    ) -> None:
        device = prefix.device
        self._gpt = gpt
        self._prefix = prefix
        self._settings = settings
        self._generator = generator
        self._stepper = stepper
        self._search = search
        self._n_prefix = prefix.shape[1] + 1  # with the start code
        # The last code is never fed, but the start code is.
        self._cache = KVCache.allocate(
            gpt.config, self._n_prefix + settings.max_codes, batch=settings.n_beams, device=device, dtype=prefix.dtype
        )
        self._positions = torch.arange(gpt.config.n_mel_positions, device=device)
        # None: a penalty of 1 changes no score.
        self._seen = start_seen(gpt.config, settings.n_beams, device) if settings.repetition_penalty != 1 else None

    def next(self) -> list[Candidate]:
        """The candidates of the first code, or of the code after those in `search.added`."""
        logits = self._next_logits(self._search.added) if self._search.added else self._first_logits()  # (beams, K)
        if not math.isfinite(float(logits.max())):
            raise not_finite(self._cache.length - self._n_prefix)
        is_one = self._settings.n_beams == 1
        scores = logits if is_one else logits.log_softmax(dim=-1)
        if self._seen is not None:
            scores = penalize_repetition(scores, self._seen, self._settings.repetition_penalty)
        if self._generator is not None:
            scores = filter_logits(scores, self._settings)
        if is_one:
            pick = scores.argmax() if self._generator is None else sample(scores, 1, self._generator)
            return [Candidate(0.0, int(pick), 0)]  # no other beam's score is compared with its own
        scores = scores + torch.tensor(self._search.scores, device=scores.device).unsqueeze(1)
        return _candidates(scores, self._search.n_candidates, self._generator)

    def close(self) -> None:
        """Nothing to release."""

    def _first_logits(self) -> Tensor:
        """Logits (beams, K) fp32 of the first code, the same for each beam."""
        start = torch.full((1, 1), self._gpt.config.start_mel_token, device=self._prefix.device)
        embedded = torch.cat([self._prefix, self._gpt.mel_embed(start, self._positions[:1])], dim=1)
        hidden = self._gpt(embedded, self._cache.rows(1))  # (1, P, C)
        self._cache.share_first_row(self._n_prefix)
        logits: Tensor = self._gpt.logits(hidden[:, -1:])[:, 0].float()
        return logits.expand(self._cache.batch, -1)

    def _next_logits(self, added: list[Candidate]) -> Tensor:
        """Feed what each beam added; logits (beams, K) fp32 of the next code."""
        fed = torch.tensor([[c.code] for c in added], device=self._prefix.device)  # (beams, 1)
        parents = [c.beam for c in added]
        if parents != list(range(len(parents))):  # beam b continues beam `parents[b]`
            order = torch.tensor(parents, device=self._prefix.device)
            self._cache.reorder(order, self._n_prefix + self._search.n_shared_codes)
            self._seen = self._seen[order] if self._seen is not None else None
        if self._seen is not None:
            self._seen.scatter_(1, fed, True)
        position = self._cache.length - self._n_prefix + 2  # position 1 is skipped
        hidden = self._stepper(self._gpt.mel_embed(fed, self._positions[position : position + 1]), self._cache)
        logits: Tensor = self._gpt.logits(hidden[:, -1:])[:, 0].float()
        return logits


def _candidates(scores: Tensor, n: int, generator: torch.Generator | None) -> list[Candidate]:
    """The `n` best or, with a generator, `n` sampled candidates over all beams, best first. scores (beams, K)."""
    flat = scores.view(1, -1)  # (1, beams * K)
    if generator is None:
        values, indices = flat.topk(n, dim=-1)
    else:
        indices = sample(flat, n, generator)
        values, order = flat.gather(-1, indices).sort(dim=-1, descending=True)
        indices = indices.gather(-1, order)
    n_codes = scores.shape[1]
    return [
        Candidate(value, index % n_codes, index // n_codes)
        for value, index in zip(values[0].tolist(), indices[0].tolist(), strict=True)
    ]


def _checked(gpt: GPT, settings: DecodeSettings, generator: torch.Generator | None) -> torch.Generator | None:
    """The generator for sampling, None for greedy decoding."""
    limit = max_codes_limit(gpt.config)
    if settings.max_codes > limit:
        raise UsageError(f"max_codes is {settings.max_codes}; this model has positions for 1 to {limit}.")
    if not settings.do_sample:
        return None
    if generator is None:
        raise UsageError("do_sample is True and no generator was given; pass a seeded torch.Generator.")
    return generator
