"""Candidates from a decoder that computes several choices at once and ahead: one choice after the other.

In: a `BurstDecoder`, which makes the codes of one text at a time where its networks are, and settings. Out: for each
choice what a decode loop on the host looks at, one burst after it was launched: the decoder computes the next burst
while this one is read. What was computed beyond the end is thrown away. It knows no network and no device.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

import torch

from edgetts.decoding.beam import Candidate
from edgetts.decoding.prompt import GPTPrompt
from edgetts.decoding.settings import DecodeSettings
from edgetts.errors import NonFiniteError

BURST = 8
"""Choices that are launched at once, and whose results are read at once."""


class BurstDecoder(Protocol):
    """Choices of one text, in order. Calls come from one thread at a time."""

    def prefill(self, prompt: GPTPrompt, settings: DecodeSettings, generator: torch.Generator | None) -> None:
        """Forget the text before, run the prefix and make the first choice."""

    def launch(self, n: int) -> int:
        """Start the next `n` choices, or as many as there may still be, and say how many; does not wait for them."""

    def poll(self) -> list[list[Candidate]]:
        """Wait for the oldest launch that was not read (the prefill is one) and give the candidates of its choices.

        A choice without candidates: the scores were no numbers.
        """


class BurstDecoders(Protocol):
    """Where a loop gets a decoder, and gives it back when it needs no more choices."""

    def take(self, n_rows: int) -> BurstDecoder: ...

    def give_back(self, decoder: BurstDecoder) -> None: ...


class BurstReader:
    """The choices of one text. Gives the decoder back when closed; where that is forgotten, it goes with the reader."""

    def __init__(
        self, decoders: BurstDecoders, prompt: GPTPrompt, settings: DecodeSettings, generator: torch.Generator | None
    ) -> None:
        self._decoders = decoders
        self._decoder: BurstDecoder | None = None
        self._call = (prompt, settings, generator)
        self._read: deque[list[Candidate]] = deque()
        self._n_read = 0

    def next(self) -> list[Candidate]:
        """The candidates of the next choice. Raises NonFiniteError where scores were no numbers."""
        if not self._read:
            if self._decoder is None:
                self._decoder = self._decoders.take(self._call[1].n_beams)
                self._decoder.prefill(*self._call)
            self._decoder.launch(BURST)  # the burst behind the one that is read now
            self._read += self._decoder.poll()
        candidates = self._read.popleft()
        if not candidates:
            self.close()
            raise not_finite(self._n_read)
        self._n_read += 1
        return candidates

    def close(self) -> None:
        decoder, self._decoder = self._decoder, None
        if decoder is not None:
            self._decoders.give_back(decoder)


def not_finite(n_codes: int) -> NonFiniteError:
    return NonFiniteError(
        f"The GPT computed non-finite scores after {n_codes} codes; "
        "where they overflowed in 16 bits, compute=exact helps; else the pack's weights are damaged."
    )
