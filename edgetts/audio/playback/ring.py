"""A ring buffer between one thread that writes samples and one callback that reads them, without a lock.

In and out: int16 samples. The two positions are absolute counts that only grow; each is stored by one
side alone, after the samples it speaks for are in place, so either side may read the other's at any
moment and at worst sees less than there is. Nothing but index arithmetic and copies happens here: no
lock, no wait, no buffer allocated after construction. It knows no rates and no states.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Pcm = npt.NDArray[np.int16]  # (S,)


class RingBuffer:
    """`capacity` samples of room. `written` belongs to the producer, `read` to the consumer."""

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"a ring buffer needs room for at least one sample, not {capacity}")
        self._data: Pcm = np.zeros(capacity, np.int16)
        self.capacity = capacity
        self.written = 0
        self.read = 0

    @property
    def available(self) -> int:
        """Samples that may be read now."""
        return self.written - self.read

    @property
    def room(self) -> int:
        """Samples that may be written now."""
        return self.capacity - self.available

    def write(self, samples: Pcm) -> int:
        """Producer only: take as many of `samples` (S,) as there is room for and return how many."""
        count = min(len(samples), self.room)
        start = self.written % self.capacity
        first = min(count, self.capacity - start)
        np.copyto(self._data[start : start + first], samples[:first])
        np.copyto(self._data[: count - first], samples[first:count])
        self.written += count  # last: from here on the consumer may read them
        return count

    def read_into(self, out: Pcm, count: int) -> None:
        """Consumer only: move `count` samples (at most `available`) to the head of `out` (S,), any stride."""
        start = self.read % self.capacity
        first = min(count, self.capacity - start)
        np.copyto(out[:first], self._data[start : start + first])
        np.copyto(out[first:count], self._data[: count - first])
        self.read += count  # last: from here on the producer may overwrite them

    def clear(self) -> None:
        """Forget everything; only while neither side is at work."""
        self.written = self.read = 0
