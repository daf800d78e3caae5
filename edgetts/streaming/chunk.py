"""A piece of speech on its way to whoever listens, in this process or in another: loads no torch."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class AudioChunk:
    """A piece of speech. Chunks follow each other without a gap: joined, they are the whole audio."""

    # (S,) mono; in [-1, 1] if float32
    samples: npt.NDArray[np.float32] | npt.NDArray[np.int16] = field(repr=False, compare=False)
    sample_rate: int  # Hz
    offset: int  # samples of the stream before this chunk
    text: str  # of the segment that it belongs to, as it is spoken
    start: int  # where that segment begins in the text that was given (characters)
    end: int  # and where it ends
    segment: int  # which one it is, from 0
    ends_segment: bool
    awaits_text: bool  # all text so far is spoken and more may come: what follows may take a while
    last: bool  # of the stream; this one may have no samples

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.sample_rate
