"""A sink without a device, under a clock that tests move: the same states and waits as the real one.

In: float32 samples; a sleep moves the clock. Out: the blocks that a device would have played, given to
a function one by one at their simulated times. Nothing here waits in real time.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

import numpy as np

from edgetts.audio.playback.buffered import CAPACITY_S, BufferedSink
from edgetts.audio.playback.ring import Pcm
from edgetts.audio.playback.sink import MIN_PREBUFFER_S

BLOCK_S = 0.04  # a device asks for so much at once
N_BLOCKS_AHEAD = 4  # and has so many waiting: 0.16 s of latency


class SimulatedClock:
    """Seconds that pass only in `sleep`; what was planned with `at` happens on the way, in order."""

    def __init__(self) -> None:
        self.now = 0.0
        self._planned: list[tuple[float, int, Callable[[], None]]] = []
        self._n_planned = 0

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Do this at that time; what has the same time happens in the order of planning."""
        heapq.heappush(self._planned, (max(time, self.now), self._n_planned, action))
        self._n_planned += 1

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        while self._planned and self._planned[0][0] <= until:
            time, _, action = heapq.heappop(self._planned)
            self.now = max(self.now, time)
            action()
        self.now = max(self.now, until)


class SimulatedSink(BufferedSink):
    """Plays into `on_block`, which gets each block (S,) int16 and must copy what it keeps.

    device_rate: the only rate that the device takes (Hz); None: any.
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
        self._run = 0  # a block planned in an earlier run does not happen
        self._is_asking = False
        super().__init__(prebuffer_s=prebuffer_s, capacity_s=capacity_s)

    def _open_device(self, sample_rate: int) -> int:
        rate = self._only_rate or sample_rate
        self._block = np.zeros(int(BLOCK_S * rate), np.int16)
        return rate

    def _start_device(self) -> None:
        self._run += 1
        self._is_asking = True
        for _ in range(N_BLOCKS_AHEAD):
            self._ask()
        self._plan(self._run)

    def _stop_device(self, *, at_once: bool) -> None:  # noqa: ARG002  # nothing is queued in a device
        self._is_asking = False

    def _close_device(self) -> None:
        self._is_asking = False

    @property
    def _latency_s(self) -> float:
        return BLOCK_S * N_BLOCKS_AHEAD

    def _sleep(self, seconds: float) -> None:
        self._clock.sleep(seconds)

    def _plan(self, run: int) -> None:
        def ask_again() -> None:
            if self._is_asking and run == self._run:
                self._ask()
                self._plan(run)

        self._clock.at(self._clock.now + len(self._block) / self._device_rate, ask_again)

    def _ask(self) -> None:
        self._opened().render(self._block)
        self._on_block(self._block)
