"""A chunk of audio for a listener in this or another process. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class AudioChunk:
    """A chunk of speech. Concatenated, the chunks of a stream are the whole audio."""

    # (S,) mono; in [-1, 1] if float32
    samples: npt.NDArray[np.float32] | npt.NDArray[np.int16] = field(repr=False, compare=False)
    sample_rate: int  # Hz
    offset: int  # samples of the stream before this chunk
    text: str  # of its segment, as spoken
    start: int  # of the segment in the given text, characters
    end: int  # of the segment in the given text
    segment: int  # index, from 0
    ends_segment: bool
    awaits_text: bool  # all text so far is spoken and more may arrive: the next chunk may take a while
    last: bool  # of the stream; it may have no samples

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.sample_rate
