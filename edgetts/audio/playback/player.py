"""The states of playback: wait for enough, play, fall silent when starved, play out the end.

In: int16 samples pushed by one producer, and its word that an utterance is complete. Out: blocks that
are filled for a device, real or simulated: both use this file, so what is tested under a fake clock is
what runs in the callback. It knows no device, no clock and no thread: `render` never waits, locks or
allocates a buffer, and every field is stored by one side only.

    BUFFERING --watermark or end--> PLAYING --ran dry--> STARVED --higher watermark or end--> PLAYING
                                    PLAYING --end said--> DRAINING --last sample--> BUFFERING
"""

from __future__ import annotations

import enum

from edgetts.audio.playback.ring import Pcm, RingBuffer

REBUFFER_GROWTH = 2.0  # each starvation waits for twice as much: a slow machine pauses seldom, not often


class State(enum.Enum):
    """What the device hears: silence (BUFFERING, STARVED, STOPPED) or speech (PLAYING, DRAINING)."""

    BUFFERING = "buffering"
    PLAYING = "playing"
    STARVED = "starved"
    DRAINING = "draining"
    STOPPED = "stopped"


class Player:
    """One producer (`push`, `end`, `stop`, `watermark`), one consumer (`render`, the counters).

    watermark: samples to have before speech starts, 0 or more; what fits into the buffer bounds it.
    """

    def __init__(self, capacity: int, watermark: int) -> None:
        self._ring = RingBuffer(capacity)
        self.watermark = watermark
        self.reset()

    def reset(self) -> None:
        """Back to the beginning, counters at 0; only while neither side is at work."""
        self._ring.clear()
        # The producer's:
        self._ends_at = 0  # up to this absolute sample speech is complete and needs no watermark
        self._is_stopped = False
        # The consumer's:
        self.state = State.BUFFERING
        self._growth = 1.0
        self.n_blocks = 0
        self.played = 0
        self.silent = 0
        self.underruns = 0
        self.rebuffers = 0

    # ---- producer

    def push(self, samples: Pcm) -> int:
        """Take what there is room for of `samples` (S,); returns how many."""
        return self._ring.write(samples)

    def end(self) -> None:
        """All that was pushed so far is complete: it plays to its last sample, however little it is."""
        self._ends_at = self._ring.written

    def stop(self) -> None:
        """From the next block on there is only silence."""
        self._is_stopped = True

    # ---- either

    @property
    def buffered(self) -> int:
        """Samples pushed and not yet handed to the device."""
        return self._ring.available

    @property
    def is_ready(self) -> bool:
        """Whether speech may start now: enough is there, or an end that nothing more will come before."""
        return self._ring.read < self._ends_at or self._ring.available >= self._threshold

    @property
    def _threshold(self) -> int:
        return max(1, min(int(self.watermark * self._growth), self._ring.capacity))

    # ---- consumer

    def render(self, out: Pcm) -> None:
        """Fill the device's block `out` (S,), any stride, with speech, or silence where there is none."""
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
        """Enter the state that this block is in; how many of its samples are speech."""
        ring = self._ring
        if self.state is State.DRAINING and ring.read >= self._ends_at:
            self._rest()
        if self.state in (State.BUFFERING, State.STARVED):
            if not self.is_ready:
                return 0
            if self.state is State.STARVED:
                self.rebuffers += 1
        # One look at each of the producer's fields: they may change while this runs. `ends_at` first,
        # so that it is never beyond the samples that are seen.
        ends_at = self._ends_at
        available = ring.available
        if ring.read < ends_at:
            self.state = State.DRAINING
            n_complete = ends_at - ring.read
            # What follows the end is another utterance, which has its own wait for enough.
            if available - n_complete < self._threshold:
                return min(wanted, n_complete)
        else:
            self.state = State.PLAYING
        return min(wanted, available)

    def _run_dry(self) -> None:
        """This block holds silence: say why."""
        if self._is_stopped:
            self.state = State.STOPPED
        elif self.state is State.DRAINING or (self.state is State.PLAYING and self._is_complete):
            self._rest()
        elif self.state is State.PLAYING:
            self.state = State.STARVED
            self.underruns += 1
            self._growth *= REBUFFER_GROWTH
        elif self.state is State.STARVED and self._is_complete:
            # The end came a moment after its last sample: nobody heard a gap.
            self.underruns -= 1
            self._rest()

    def _rest(self) -> None:
        """Between utterances."""
        self.state = State.BUFFERING
        self._growth = 1.0

    @property
    def _is_complete(self) -> bool:
        return self._ring.read == self._ends_at and not self._ring.available
