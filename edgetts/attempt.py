"""The codes of one attempt at a segment, step by step, under guard.

In: the networks, a segment's prompt, options, a seed, bounds on the duration. Out: an iterator over the steps of
decoding, each with the codes that it made certain, which ends where the model stops or a guard objects; then the
attempt: codes that are cut and padded, and what is wrong with them. A GPT that overflows in 16 bits before its first
code is certain decodes again in float32. The caller asks for each step, and may stop between two of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from edgetts.decoding.attempts import Attempt
from edgetts.decoding.decode import CodeStream, max_codes_limit
from edgetts.decoding.guards import (
    NOTHING_LACKS,
    CodeGuard,
    Expected,
    Finding,
    cap_codes,
    find_problem,
    judge,
    n_at_end,
)
from edgetts.decoding.prompt import GPTPrompt
from edgetts.decoding.spoken import CodeSounds
from edgetts.options import SynthesisOptions

if TYPE_CHECKING:
    from edgetts.backends.networks import Networks


class GuardedCodes:
    """Iterate once, then read `attempt`. `close` releases the decoder where not all steps were asked for."""

    def __init__(
        self,
        networks: Networks,
        prompt: GPTPrompt,
        options: SynthesisOptions,
        seed: int,
        expected: Expected | None = None,
        sounds: CodeSounds | None = None,
    ) -> None:
        """expected: bounds on the duration. sounds: tells which words the codes lack; None: the codes do not tell."""
        config, expected = networks.config, expected or Expected()
        limit = min(options.max_codes, max_codes_limit(config.gpt))
        cap = cap_codes(prompt.n_text_tokens, config.code_rate, limit, expected=expected) if options.guards else limit
        if cap < expected.least_s * config.code_rate:  # max_codes is too low for the whole text
            expected = replace(expected, least_s=0.0)
        self._networks = networks
        self._prompt = prompt
        self._options = options
        self._settings = options.decode_settings(cap)
        self._seed = seed
        self._expected = expected
        self._sounds = sounds
        self._guard: CodeGuard | None = None
        if options.guards and options.n_beams == 1:  # with several beams, codes are certain late: judged at the end
            self._guard = CodeGuard(config.code_rate, config.silence_code, expected.settings())
        self._finding: Finding | None = None
        self._stream: CodeStream | None = None

    def __iter__(self) -> Iterator[list[int]]:
        """The codes that each step made certain."""
        networks = self._networks
        while True:
            with networks.widening("gpt", can_repeat=lambda: self._stream is None or not self._stream.codes):
                self._stream = CodeStream(
                    networks.gpt,
                    self._prompt,
                    self._settings,
                    torch.Generator().manual_seed(self._seed),
                    networks.stepper,
                    networks.decoders,
                )
                for new in self._stream:
                    if self._guard is not None:
                        self._finding = next(filter(None, map(self._guard.add, new)), None)
                    yield new
                    if self._finding is not None:
                        self.close()
                        break
                return

    @property
    def attempt(self) -> Attempt:
        """The outcome, once the steps have ended.

        The part that a guard objects to is cut off, so that the attempt is usable if none is better and no words are
        missing. Silence is added up to `tail_s`.
        """
        assert self._stream is not None, "no step was asked for"
        config, codes, finding, problem = self._networks.config, self._stream.codes, self._finding, None
        if self._options.guards:
            if self._guard is None:
                finding = find_problem(codes, config.code_rate, config.silence_code, self._expected.settings())
            if finding is not None:
                codes = codes[: max(1, finding.start + finding.period)]
            problem = judge(
                codes,
                config.code_rate,
                config.silence_code,
                self._sounds.lacking(self._expected.ids, codes) if self._sounds is not None else NOTHING_LACKS,
                expected=self._expected,
                finding=finding,
                stopped=self._stream.stopped,
            )
        silence = config.silence_code
        if silence is not None and codes:  # the sound of the last code decays in silence instead of breaking off
            n_silent = round(self._options.tail_s * config.code_rate / self._options.duration_factor)
            n_silent = min(n_silent, max_codes_limit(config.gpt) - len(codes)) - n_at_end(codes, silence)
            codes = codes + [silence] * max(0, n_silent)
        return Attempt(codes, self._seed, problem)

    def close(self) -> None:
        """End decoding, and release the decoder."""
        if self._stream is not None:
            self._stream.close()
