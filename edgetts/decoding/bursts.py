"""Reads candidates from a decoder that runs ahead in bursts of several choices.

In: a `BurstDecoder`, which decodes one text at a time on its device, and settings. Out: the candidates of each choice,
one choice at a time, for a decode loop on the host. While a burst is read, the decoder computes the next one. Choices
beyond the end of the text are dropped. Knows no network and no device.
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
"""Choices that are launched together and read together."""


class BurstDecoder(Protocol):
    """Decodes one text, choice by choice. Only one thread at a time may call it."""

    def prefill(self, prompt: GPTPrompt, settings: DecodeSettings, generator: torch.Generator | None) -> None:
        """Start a new text: run the prefix and make the first choice."""

    def launch(self, n: int) -> int:
        """Queue the next `n` choices, or as many as `max_codes` allows; returns their number without waiting."""

    def poll(self) -> list[list[Candidate]]:
        """Wait for the oldest unread launch (the prefill counts as one); returns the candidates of its choices.

        No candidates for a choice means that its scores were not finite.
        """


class BurstDecoders(Protocol):
    """A pool of decoders: a decode loop takes one and gives it back at its end."""

    def take(self, n_rows: int) -> BurstDecoder: ...

    def give_back(self, decoder: BurstDecoder) -> None: ...


class BurstReader:
    """The choices of one text. `close` gives the decoder back to the pool; otherwise it is freed with the reader."""

    def __init__(
        self, decoders: BurstDecoders, prompt: GPTPrompt, settings: DecodeSettings, generator: torch.Generator | None
    ) -> None:
        self._decoders = decoders
        self._decoder: BurstDecoder | None = None
        self._call = (prompt, settings, generator)
        self._read: deque[list[Candidate]] = deque()
        self._n_read = 0

    def next(self) -> list[Candidate]:
        """The candidates of the next choice. Raises NonFiniteError if its scores are not finite."""
        if not self._read:
            if self._decoder is None:
                self._decoder = self._decoders.take(self._call[1].n_beams)
                self._decoder.prefill(*self._call)
            self._decoder.launch(BURST)  # the burst after the one that is read now
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
