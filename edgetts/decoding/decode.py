"""The decode loop: text and voice in, codes out, one network step per code over a static cache.

In: the GPT, a `GPTPrompt`, `DecodeSettings`, a `torch.Generator`. Out: codes without the stop code. With one beam codes
can be streamed (`CodeStream`); `generate_codes` collects them, or runs a beam search. Knows no latents, audio or time;
the caller handles bad results.

Positions: the start code has position 0, the k-th code k + 1, so position 1 is never used, as in upstream.

Source: upstream `inference_speech` in indextts/gpt/model_v2.py over Hugging Face `generate`.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from edgetts.decoding.beam import BeamSearch, Candidate
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
    stopped: bool  # by the stop code; False: by `max_codes` or cancellation
    cancelled: bool  # by `should_stop`


def max_codes_limit(config: GPTConfig) -> int:
    """The most codes that the model has positions for."""
    return config.n_mel_positions - _N_EXTRA_CODES


Stepper = Callable[[Tensor, KVCache], Tensor]  # called like the GPT: embeddings (B, T, C), cache -> hidden (B, T, C)


class _HostDecoder:
    """Runs the network: prefill once, then one step per code for all rows."""

    def __init__(self, gpt: GPT, prefix: Tensor, n_rows: int, max_codes: int, stepper: Stepper | None) -> None:
        self._gpt = gpt
        self._stepper = stepper or gpt
        self._prefix = prefix
        self._n_prefix = prefix.shape[1] + 1  # with the start code
        # The last code is never fed, but the start code is.
        self._cache = KVCache.allocate(
            gpt.config, self._n_prefix + max_codes, batch=n_rows, device=prefix.device, dtype=prefix.dtype
        )
        self._positions = torch.arange(gpt.config.n_mel_positions, device=prefix.device)

    def start(self) -> Tensor:
        """Logits (rows, K) fp32 of the first code, the same for each row."""
        start = torch.full((1, 1), self._gpt.config.start_mel_token, device=self._prefix.device)
        embedded = torch.cat([self._prefix, self._gpt.mel_embed(start, self._positions[:1])], dim=1)
        hidden = self._gpt(embedded, self._cache.rows(1))  # (1, P, C)
        self._cache.share_first_row(self._n_prefix)
        return self._logits(hidden).expand(self._cache.batch, -1)

    def step(self, codes: list[int]) -> Tensor:
        """Feed one code per row; logits (rows, K) fp32 of the next."""
        position = self._cache.length - self._n_prefix + 2  # position 1 is skipped
        fed = torch.tensor(codes, device=self._prefix.device).unsqueeze(1)  # (rows, 1)
        embedded = self._gpt.mel_embed(fed, self._positions[position : position + 1])
        return self._logits(self._stepper(embedded, self._cache))

    def reorder(self, parents: list[int], n_shared_codes: int) -> None:
        """Row b continues row `parents[b]`. The two share their first `n_shared_codes` codes."""
        if parents != list(range(len(parents))):
            order = torch.tensor(parents, device=self._prefix.device)
            self._cache.reorder(order, self._n_prefix + n_shared_codes)

    def _logits(self, hidden: Tensor) -> Tensor:
        logits = self._gpt.logits(hidden[:, -1:])[:, 0].float()  # (rows, K)
        if not math.isfinite(float(logits.max())):
            raise not_finite(self._cache.length - self._n_prefix)
        return logits


class CodeStream:
    """Codes one by one, with one beam: an iterator that computes a code when asked for it.

    Arguments as of `generate_codes`; `settings.n_beams` must be 1. `should_stop` is called before each code.
    After the last code, `stopped` and `cancelled` tell why decoding ended.
    """

    def __init__(
        self,
        gpt: GPT,
        prompt: GPTPrompt,
        settings: DecodeSettings,
        generator: torch.Generator | None,
        should_stop: Callable[[], bool] | None = None,
        stepper: Stepper | None = None,
        decoders: BurstDecoders | None = None,
    ) -> None:
        if settings.n_beams != 1:
            raise UsageError(f"n_beams is {settings.n_beams}; codes can be streamed with 1 beam only.")
        self._generator = _checked(gpt, settings, generator)
        self._settings = settings
        self._should_stop = should_stop
        self._stop_code = gpt.config.stop_mel_token
        self.codes: list[int] = []
        self.stopped = False
        self.cancelled = False
        self._reader = None if decoders is None else BurstReader(decoders, prompt, settings, self._generator)
        if decoders is None:
            with torch.inference_mode():
                self._decoder = _HostDecoder(gpt, prompt.embeddings, 1, settings.max_codes, stepper)
                self._seen = start_seen(gpt.config, 1, prompt.embeddings.device)

    def __iter__(self) -> CodeStream:
        return self

    @torch.inference_mode()
    def __next__(self) -> int:
        if self.stopped or self.cancelled or len(self.codes) == self._settings.max_codes:
            raise StopIteration
        if self._should_stop is not None and self._should_stop():
            self.cancelled = True
            self.close()
            raise StopIteration
        if self._reader is not None:
            code = self._reader.next()[0].code
        else:
            logits = self._decoder.step(self.codes[-1:]) if self.codes else self._decoder.start()  # (1, K)
            scores = penalize_repetition(logits, self._seen, self._settings.repetition_penalty)
            if self._generator is not None:
                code = int(sample(filter_logits(scores, self._settings), 1, self._generator))
            else:
                code = int(scores.argmax())
            self._seen[0, code] = True
        if code == self._stop_code:
            self.stopped = True
            self.close()
            raise StopIteration
        self.codes.append(code)
        if len(self.codes) == self._settings.max_codes:
            self.close()
        return code

    def close(self) -> None:
        """Release the decoder for other texts. Called automatically after the last code."""
        if self._reader is not None:
            self._reader.close()


def generate_codes(
    gpt: GPT,
    prompt: GPTPrompt,
    settings: DecodeSettings,
    generator: torch.Generator | None,
    should_stop: Callable[[], bool] | None = None,
    on_code: Callable[[int], None] | None = None,
    stepper: Stepper | None = None,
    decoders: BurstDecoders | None = None,
) -> DecodeResult:
    """Codes for one text, at most `settings.max_codes`.

    `generator` is needed for sampling only. `should_stop` is called before each code; True ends the loop. `on_code` is
    called with each code of the result, in order, as soon as it is certain: with several beams that is when all of them
    agree on it. stepper: computes each step in place of the GPT, with equal results up to rounding
    (`edgetts.backends.fused_step`). decoders: also choose the codes, several at a time, with equal results up to
    rounding (`edgetts.backends.device_decoder`); then no stepper is used, and the generator may have drawn for more
    codes than are returned. The same seed and settings give the same codes. Raises UsageError for arguments that the
    model cannot take, NonFiniteError if logits are not finite.
    """
    if settings.n_beams > 1:
        return _search(gpt, prompt, settings, generator, should_stop, on_code, stepper, decoders)
    stream = CodeStream(gpt, prompt, settings, generator, should_stop, stepper, decoders)
    with contextlib.closing(stream):
        for code in stream:
            if on_code is not None:
                on_code(code)
    return DecodeResult(stream.codes, stream.stopped, stream.cancelled)


class _BeamSteps:
    """Candidates of a beam search, one network step at a time: log-softmax, repetition penalty, filters, then the
    beam's score is added and the candidates are chosen."""

    def __init__(
        self,
        gpt: GPT,
        prompt: GPTPrompt,
        settings: DecodeSettings,
        generator: torch.Generator | None,
        stepper: Stepper | None,
        search: BeamSearch,
    ) -> None:
        device = prompt.embeddings.device
        self._settings = settings
        self._generator = generator
        self._search = search
        self._decoder = _HostDecoder(gpt, prompt.embeddings, settings.n_beams, settings.max_codes, stepper)
        self._seen = start_seen(gpt.config, settings.n_beams, device)
        self._rows = torch.arange(settings.n_beams, device=device)

    def next(self) -> list[Candidate]:
        """The candidates of the first code, or of the code after those in `search.added`."""
        search, added = self._search, self._search.added
        if added:
            parents, codes = [c.beam for c in added], [c.code for c in added]
            self._decoder.reorder(parents, search.n_shared_codes)
            self._seen = self._seen[parents]
            self._seen[self._rows, codes] = True
            logits = self._decoder.step(codes)  # (beams, K)
        else:
            logits = self._decoder.start()
        scores = penalize_repetition(logits.log_softmax(dim=-1), self._seen, self._settings.repetition_penalty)
        if self._generator is not None:
            scores = filter_logits(scores, self._settings)
        scores = scores + torch.tensor(search.scores, device=scores.device).unsqueeze(1)
        return _candidates(scores, search.n_candidates, self._generator)

    def close(self) -> None:
        """Nothing to release."""


@torch.inference_mode()
def _search(
    gpt: GPT,
    prompt: GPTPrompt,
    settings: DecodeSettings,
    generator: torch.Generator | None,
    should_stop: Callable[[], bool] | None,
    on_code: Callable[[int], None] | None,
    stepper: Stepper | None,
    decoders: BurstDecoders | None,
) -> DecodeResult:
    """Beam search. A device decoder makes the same choices as `search`, one burst ahead of it."""
    generator = _checked(gpt, settings, generator)
    search = BeamSearch(settings.n_beams, settings.length_penalty, gpt.config.stop_mel_token)
    steps: _BeamSteps | BurstReader
    if decoders is None:
        steps = _BeamSteps(gpt, prompt, settings, generator, stepper, search)
    else:
        steps = BurstReader(decoders, prompt, settings, generator)
    n_told = 0
    try:
        while not search.done and search.n_codes < settings.max_codes:
            if should_stop is not None and should_stop():
                return DecodeResult(search.leader(), stopped=False, cancelled=True)
            search.step(steps.next())
            if on_code is not None:
                n_told += _tell(search.newly_settled(), on_code)
    finally:
        steps.close()
    best = search.best()
    if on_code is not None:
        _tell(best.codes[n_told:], on_code)
    return DecodeResult(best.codes, best.stopped, cancelled=False)


def _tell(codes: list[int], on_code: Callable[[int], None]) -> int:
    for code in codes:
        on_code(code)
    return len(codes)


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
