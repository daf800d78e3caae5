"""The codes of one attempt at a segment, step by step, under guard.

In: the networks, a segment's prompt, options, a seed, bounds on the duration. Out: an iterator over the steps of
decoding, each with the codes that it made certain, which ends where the model stops or a guard objects; then the
attempt: codes that are cut and padded, and what is wrong with them. A GPT that overflows in 16 bits before its first
code is certain decodes again in float32. The caller asks for each step, and may stop between two of them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from edgetts.decoding.attempts import Attempt
from edgetts.decoding.decode import CodeStream, max_codes_limit
from edgetts.decoding.guards import CodeGuard, Expected, Finding, cap_codes, find_problem, judge, n_at_end
from edgetts.decoding.prompt import GPTPrompt
from edgetts.decoding.spoken import CodeSounds
from edgetts.options import SynthesisOptions

if TYPE_CHECKING:
    from edgetts.backends.networks import Networks


class GuardedCodes:
    """Iterate, then read `attempt`. `close` releases the decoder where not all steps were asked for."""

    def __init__(
        self,
        networks: Networks,
        prompt: GPTPrompt,
        options: SynthesisOptions,
        seed: int,
        expected: Expected,
        sounds: CodeSounds | None = None,
    ) -> None:
        """sounds: tells which words the codes lack; None: the codes do not tell."""
        config = networks.config
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

    def __iter__(self) -> GuardedCodes:
        return self

    def __next__(self) -> list[int]:
        new = None if self._finding is not None else self._step()
        if new is None:
            self.close()
            raise StopIteration
        if self._guard is not None:
            for code in new:
                self._finding = self._finding or self._guard.add(code)
        return new

    @property
    def codes(self) -> list[int]:
        """All codes so far."""
        return [] if self._stream is None else self._stream.codes

    @property
    def attempt(self) -> Attempt:
        """The outcome, once the steps have ended.

        The part that a guard objects to is cut off, so that the attempt is usable if none is better and no words are
        missing.
        """
        assert self._stream is not None, "no step was asked for"
        config, codes, finding, problem = self._networks.config, self.codes, self._finding, None
        if self._options.guards:
            if self._guard is None:
                finding = find_problem(codes, config.code_rate, config.silence_code, self._expected.settings())
            if finding is not None:
                codes = codes[: max(1, finding.start + finding.period)]
            problem = judge(
                codes,
                config.code_rate,
                config.silence_code,
                self._sounds.n_missing(self._expected.ids, codes) if self._sounds is not None else 0,
                expected=self._expected,
                finding=finding,
                stopped=self._stream.stopped,
            )
        return Attempt(self._ringing_out(codes), self._seed, problem)

    def close(self) -> None:
        """End decoding, and release the decoder."""
        if self._stream is not None:
            self._stream.close()

    def _step(self) -> list[int] | None:
        """The codes that the next step made certain; None after the last step."""
        while True:
            with self._networks.widening("gpt", can_repeat=lambda: not self.codes):
                if self._stream is None:
                    gpt = self._networks.gpt
                    self._stream = CodeStream(
                        gpt,
                        self._prompt.to(gpt.dtype),
                        self._settings,
                        torch.Generator().manual_seed(self._seed),
                        self._networks.stepper,
                        self._networks.decoders,
                    )
                return next(self._stream, None)
            self._stream = None  # the GPT overflowed and was loaded again

    def _ringing_out(self, codes: list[int]) -> list[int]:
        """Codes padded with silence up to `tail_s`, so that the sound of the last code decays instead of breaking
        off."""
        config, options = self._networks.config, self._options
        silence = config.silence_code
        if silence is None or not codes:
            return codes
        wanted = round(options.tail_s * config.code_rate / options.duration_factor)
        wanted = min(wanted, max_codes_limit(config.gpt) - len(codes))
        return codes + [silence] * max(0, wanted - n_at_end(codes, silence))
