"""A lock-free ring buffer for one producer thread and one consumer callback.

In and out: int16 samples. The two positions are absolute counts that only grow. Each is written by one side only,
after its samples were copied, so the other side may read it at any time and at worst sees fewer samples. No lock, no
wait, no allocation after construction. Does not know rates and states.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Pcm = npt.NDArray[np.int16]  # (S,)


class RingBuffer:
    """`capacity` samples of room. `written` belongs to the producer, `read` to the consumer."""

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"the capacity of a ring buffer must be at least 1, not {capacity}")
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
        """Producer only: copy as many of `samples` (S,) as fit; returns how many."""
        count = min(len(samples), self.room)
        start = self.written % self.capacity
        first = min(count, self.capacity - start)
        np.copyto(self._data[start : start + first], samples[:first])
        np.copyto(self._data[: count - first], samples[first:count])
        self.written += count  # last: now the consumer may read them
        return count

    def read_into(self, out: Pcm, count: int) -> None:
        """Consumer only: move `count` samples (at most `available`) to the start of `out` (S,), any stride."""
        start = self.read % self.capacity
        first = min(count, self.capacity - start)
        np.copyto(out[:first], self._data[start : start + first])
        np.copyto(out[first:count], self._data[: count - first])
        self.read += count  # last: now the producer may overwrite them

    def clear(self) -> None:
        """Drop all samples. Only while neither side is active."""
        self.written = self.read = 0
