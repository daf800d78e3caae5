"""A sink with a simulated device and clock, and the states and waits of the real one.

In: float32 samples; a sleep advances the clock. Out: the blocks that a device would play, passed to a function at
their simulated times. Nothing waits in real time.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

import numpy as np

from edgetts.audio.playback.buffered import CAPACITY_S, BufferedSink
from edgetts.audio.playback.ring import Pcm
from edgetts.audio.playback.sink import MIN_PREBUFFER_S

BLOCK_S = 0.04  # pulled at once
N_BLOCKS_AHEAD = 4  # queued in the device: 0.16 s of latency


class SimulatedClock:
    """A clock that only `sleep` advances, in seconds; it runs the actions planned with `at`."""

    def __init__(self) -> None:
        self.now = 0.0
        self._planned: list[tuple[float, int, Callable[[], None]]] = []
        self._n_planned = 0

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Run `action` at `time`; actions with equal times run in the order of planning."""
        heapq.heappush(self._planned, (max(time, self.now), self._n_planned, action))
        self._n_planned += 1

    def sleep(self, seconds: float) -> None:
        """Advance the clock and run the actions that are due."""
        until = self.now + seconds
        while self._planned and self._planned[0][0] <= until:
            time, _, action = heapq.heappop(self._planned)
            self.now = max(self.now, time)
            action()
        self.now = max(self.now, until)


class SimulatedSink(BufferedSink):
    """Plays into `on_block`, which gets each block (S,) int16 and must copy it to keep it.

    device_rate: the only rate that the device supports (Hz); None: any.
    """

    def __init__(
        self,
        clock: SimulatedClock,
        on_block: Callable[[Pcm], None],
        *,
        device_rate: int | None = None,
        prebuffer_s: float = MIN_PREBUFFER_S,
        capacity_s: float = CAPACITY_S,
    ) -> None:
        self._clock = clock
        self._on_block = on_block
        self._only_rate = device_rate
        self._block: Pcm = np.zeros(0, np.int16)
        self._run = 0  # blocks planned in an earlier run are skipped
        self._is_pulling = False
        super().__init__(prebuffer_s=prebuffer_s, capacity_s=capacity_s)

    def _open_device(self, sample_rate: int) -> int:
        rate = self._only_rate or sample_rate
        self._block = np.zeros(int(BLOCK_S * rate), np.int16)
        return rate

    def _start_device(self) -> None:
        self._run += 1
        self._is_pulling = True
        for _ in range(N_BLOCKS_AHEAD):
            self._pull()
        self._plan(self._run)

    def _stop_device(self, *, at_once: bool) -> None:  # noqa: ARG002  # nothing is queued in a device
        self._is_pulling = False

    def _close_device(self) -> None:
        self._is_pulling = False

    @property
    def _latency_s(self) -> float:
        return BLOCK_S * N_BLOCKS_AHEAD

    def _sleep(self, seconds: float) -> None:
        self._clock.sleep(seconds)

    def _plan(self, run: int) -> None:
        def pull_again() -> None:
            if self._is_pulling and run == self._run:
                self._pull()
                self._plan(run)

        self._clock.at(self._clock.now + len(self._block) / self._device_rate, pull_again)

    def _pull(self) -> None:
        self._opened().render(self._block)
        self._on_block(self._block)
