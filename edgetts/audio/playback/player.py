"""State machine of playback: buffer, play, play silence on underrun, drain.

In: int16 samples from one producer, and a mark at the end of each utterance. Out: filled blocks for a device, real or
simulated: the tests with a simulated clock run the same code as the callback. Does not know devices, clocks or
threads: `render` never waits, locks or allocates a buffer, and every field is written by one side only.

    BUFFERING --watermark or end--> PLAYING --underrun--> STARVED --higher watermark or end--> PLAYING
                                    PLAYING --end marked--> DRAINING --last sample--> BUFFERING
"""

from __future__ import annotations

import enum

from edgetts.audio.playback.ring import Pcm, RingBuffer

REBUFFER_GROWTH = 2.0  # factor on the watermark after each underrun: few long pauses instead of many short ones


class State(enum.Enum):
    """The device plays silence (BUFFERING, STARVED, STOPPED) or speech (PLAYING, DRAINING)."""

    BUFFERING = "buffering"
    PLAYING = "playing"
    STARVED = "starved"
    DRAINING = "draining"
    STOPPED = "stopped"


class Player:
    """One producer (`push`, `end`, `stop`, `watermark`), one consumer (`render`, the counters).

    watermark: samples to buffer before speech starts, 0 or more; bounded by the capacity.
    """

    def __init__(self, capacity: int, watermark: int) -> None:
        self._ring = RingBuffer(capacity)
        self.watermark = watermark
        self.reset()

    def reset(self) -> None:
        """Back to the initial state, counters at 0. Only while neither side is active."""
        self._ring.clear()
        # Written by the producer:
        self._ends_at = 0  # absolute sample; speech before it is complete and needs no watermark
        self._is_stopped = False
        # Written by the consumer:
        self.state = State.BUFFERING
        self._growth = 1.0
        self.n_blocks = 0
        self.played = 0
        self.silent = 0
        self.underruns = 0
        self.rebuffers = 0

    # ---- producer

    def push(self, samples: Pcm) -> int:
        """Buffer as many of `samples` (S,) as fit; returns how many."""
        return self._ring.write(samples)

    def end(self) -> None:
        """Mark the end of an utterance: all pushed samples are played, even if fewer than the watermark."""
        self._ends_at = self._ring.written

    def stop(self) -> None:
        """Play only silence from the next block on."""
        self._is_stopped = True

    # ---- either

    @property
    def buffered(self) -> int:
        """Samples pushed and not yet given to the device."""
        return self._ring.available

    @property
    def is_ready(self) -> bool:
        """Whether speech may start: the watermark is reached, or the rest of an utterance is complete."""
        return self._ring.read < self._ends_at or self._ring.available >= self._threshold

    @property
    def _threshold(self) -> int:
        return max(1, min(int(self.watermark * self._growth), self._ring.capacity))

    # ---- consumer

    def render(self, out: Pcm) -> None:
        """Fill the device's block `out` (S,), any stride, with speech, and the rest with silence."""
        wanted = len(out)
        count = 0 if self._is_stopped else self._advance(wanted)
        if count:
            self._ring.read_into(out, count)
            self.played += count
        if count < wanted:
            out[count:] = 0
            self.silent += wanted - count
            self._run_dry()
        self.n_blocks += 1

    def _advance(self, wanted: int) -> int:
        """Update the state for this block; returns how many of its samples are speech."""
        ring = self._ring
        if self.state is State.DRAINING and ring.read >= self._ends_at:
            self._go_idle()
        if self.state in (State.BUFFERING, State.STARVED):
            if not self.is_ready:
                return 0
            if self.state is State.STARVED:
                self.rebuffers += 1
        # Each of the producer's fields is read once, because it may change meanwhile; `ends_at` first, so that
        # it is never beyond the available samples.
        ends_at = self._ends_at
        available = ring.available
        if ring.read < ends_at:
            self.state = State.DRAINING
            n_complete = ends_at - ring.read
            # After the end comes another utterance, which waits for its own watermark.
            if available - n_complete < self._threshold:
                return min(wanted, n_complete)
        else:
            self.state = State.PLAYING
        return min(wanted, available)

    def _run_dry(self) -> None:
        """Update the state after a block that holds silence."""
        if self._is_stopped:
            self.state = State.STOPPED
        elif self.state is State.DRAINING or (self.state is State.PLAYING and self._is_complete):
            self._go_idle()
        elif self.state is State.PLAYING:
            self.state = State.STARVED
            self.underruns += 1
            self._growth *= REBUFFER_GROWTH
        elif self.state is State.STARVED and self._is_complete:
            # The end was marked just after its last sample was played: this was no gap.
            self.underruns -= 1
            self._go_idle()

    def _go_idle(self) -> None:
        """Enter the state between utterances."""
        self.state = State.BUFFERING
        self._growth = 1.0

    @property
    def _is_complete(self) -> bool:
        return self._ring.read == self._ends_at and not self._ring.available
