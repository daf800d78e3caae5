"""Fits the options of a call to a bound on memory.

In: an open pack, a compute mode, a `Place`, the options of a call. Out: the options, with shorter segments and then a
shorter prompt as needed, or UsageError. `edgetts.memory.estimate` describes what is counted.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgetts.compute import Compute
from edgetts.decoding.guards import cap_codes
from edgetts.errors import UsageError
from edgetts.memory.estimate import Estimate, Size, Weights, estimate, weigh
from edgetts.memory.place import Place, bound_allocator, shown
from edgetts.options import MAX_PROMPT_S, MIN_PROMPT_S, MIN_SEGMENT_TOKENS, SynthesisOptions
from edgetts.pack.config import ModelConfig

if TYPE_CHECKING:
    import torch

    from edgetts.pack.load import Pack

_PROMPT_STEP_S = 0.5


@dataclass(frozen=True)
class Budget:
    """A bound on memory, for one pack, compute mode and process."""

    n_bytes: int
    config: ModelConfig
    weights: Weights
    compute: Compute
    place: Place
    start: float

    @classmethod
    def of(cls, n_bytes: int, pack: Pack, compute: Compute, place: Place) -> Budget:
        """The budget of this process, counting the memory that it holds now.

        Raises UsageError if one second of speech does not fit; its message says what the shortest usual segment needs.
        """
        budget = cls(n_bytes, pack.config, weigh(pack, compute, place), compute, place, place.start())
        given = {"n_beams": 1, "max_segment_tokens": MIN_SEGMENT_TOKENS, "guards": True}
        usual = SynthesisOptions.of(pack.manifest.defaults, given)
        least = dataclasses.replace(usual, max_codes=min(usual.max_codes, math.ceil(pack.config.code_rate)))
        frames = budget._frames(MIN_PROMPT_S)
        if budget.estimate(least, frames, in_parts=False).peak > n_bytes:
            raise budget._refusal(budget.estimate(usual, frames, in_parts=False).peak, 1)
        return budget

    def estimate(self, options: SynthesisOptions, prompt_frames: int, *, in_parts: bool) -> Estimate:
        """The estimate of a call with these options and a voice of `prompt_frames` mel frames."""
        from edgetts.decoding.decode import max_codes_limit

        n_tokens = options.max_segment_tokens
        n_codes = min(options.max_codes, max_codes_limit(self.config.gpt))
        if options.guards:
            n_codes = cap_codes(n_tokens + 1, self.config.code_rate, n_codes)
        if options.prompt_s is not None:
            prompt_frames = min(prompt_frames, self._frames(options.prompt_s))
        n_rows = 2 if options.flow_settings().is_guided(0.0) else 1
        size = Size(n_tokens, n_codes, options.n_beams, prompt_frames, n_rows, in_parts)
        return self.estimate_size(size)

    def keep(self, device: torch.device) -> int | None:
        """Apply the bound to torch's allocator on a GPU. Returns the bound on host memory in bytes; None: no bound."""
        if self.place.on_cuda:
            bound_allocator(device, self.n_bytes - self.start)
        return self.n_bytes if self.place.counts_host else None

    def estimate_size(self, size: Size) -> Estimate:
        """The estimate of a call of this size."""
        return estimate(self.config, self.weights, size, self.compute, self.place, start=self.start)

    def fit(
        self, options: SynthesisOptions, prompt_frames: int, *, in_parts: bool
    ) -> tuple[SynthesisOptions, str | None]:
        """The options, with shorter segments and then a shorter prompt as needed, and a notice if they were changed.

        Raises UsageError if the shortest ones do not fit.
        """
        tried = options
        for tried in self._smaller(options, prompt_frames):
            if self.estimate(tried, prompt_frames, in_parts=in_parts).peak <= self.n_bytes:
                return tried, self._notice(options, tried)
        raise self._refusal(self.estimate(tried, prompt_frames, in_parts=in_parts).peak, options.n_beams)

    def _refusal(self, needed: float, n_beams: int) -> UsageError:
        fewer = ", take fewer beams" if n_beams > 1 else ""
        return UsageError(
            f"Speaking with this pack needs at least {shown(needed)} of {self.place.kind}, but the budget is "
            f"{shown(self.n_bytes)}: allow more{fewer}, or make a smaller pack with `edgetts quantize`."
        )

    def _smaller(self, options: SynthesisOptions, prompt_frames: int) -> Iterable[SynthesisOptions]:
        """The unchanged options, then ever shorter segments, then an ever shorter prompt."""
        yield options
        tried = options
        for n_tokens in range(options.max_segment_tokens, MIN_SEGMENT_TOKENS - 1, -1):
            most = cap_codes(n_tokens + 1, self.config.code_rate, options.max_codes)
            tried = dataclasses.replace(options, max_segment_tokens=n_tokens, max_codes=most)
            yield tried
        whole_s = prompt_frames / self.config.audio.frame_rate
        prompt_s = min(whole_s, MAX_PROMPT_S if options.prompt_s is None else options.prompt_s)
        for i in range(math.ceil(prompt_s / _PROMPT_STEP_S) - 1, 0, -1):
            yield dataclasses.replace(tried, prompt_s=max(MIN_PROMPT_S, i * _PROMPT_STEP_S))

    def _notice(self, asked: SynthesisOptions, found: SynthesisOptions) -> str | None:
        changes = []
        if found.max_segment_tokens != asked.max_segment_tokens:
            changes.append(f"segments have at most {found.max_segment_tokens} tokens, not {asked.max_segment_tokens}")
        if found.max_codes != asked.max_codes and not asked.guards:  # with guards the text bounds them anyway
            changes.append(f"a segment has at most {found.max_codes} codes, not {asked.max_codes}")
        if found.prompt_s != asked.prompt_s:
            changes.append(f"the prompt is {found.prompt_s:g} s of the voice's recording")
        return f"To stay within {shown(self.n_bytes)} of {self.place.kind}, {', '.join(changes)}." if changes else None

    def _frames(self, seconds: float) -> int:
        return round(seconds * self.config.audio.frame_rate)
