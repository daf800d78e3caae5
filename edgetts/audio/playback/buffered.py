"""Base class of the sinks that play in real time, between float32 samples and a device that pulls blocks.

In: float32 samples of any rate. Out: `Player.render` calls from a device, which a subclass opens, starts and stops.
Does resampling, conversion to 16 bits, back-pressure, prebuffering, draining and cancelling; does not know the device
and its clock. A wait is a sleep for the time that the device needs to play the buffered samples, not a busy loop.
"""

from __future__ import annotations

import abc
import logging
import threading
from typing import Any

import numpy as np

from edgetts.audio.formats import to_pcm16
from edgetts.audio.playback.player import Player, State
from edgetts.audio.playback.ring import Pcm
from edgetts.audio.playback.sink import MAX_PREBUFFER_S, MIN_PREBUFFER_S, PlaybackStats, Samples, Sink
from edgetts.errors import AudioError, Cancelled, UsageError

logger = logging.getLogger(__name__)

CAPACITY_S = 2 * MAX_PREBUFFER_S  # of speech, 5 MB at 48 kHz; `write` sleeps while the buffer is full
MIN_SLEEP_S = 0.005  # bounds the CPU time of a wait
MAX_SLEEP_S = 0.25  # bounds the time until a lost device is noticed
RESAMPLING = "HQ"


class BufferedSink(Sink):
    """Base of the sinks with a device.

    prebuffer_s: see `Sink`. capacity_s: seconds of speech that fit into the buffer.
    Raises UsageError when either is out of range.
    """

    def __init__(self, *, prebuffer_s: float = MIN_PREBUFFER_S, capacity_s: float = CAPACITY_S) -> None:
        if not 0 < capacity_s < float("inf"):
            raise UsageError(f"The capacity of the playback buffer is {capacity_s} s; it must be finite and above 0.")
        self._capacity_s = capacity_s
        self._prebuffer_s = MIN_PREBUFFER_S
        self._player: Player | None = None  # None while closed
        self._last_stats = PlaybackStats(State.STOPPED, 0, 0, 0, 0, 0, 0, 0, 0)  # at the last `close`
        self._source_rate = 0  # Hz, of the written samples
        self._device_rate = 0  # Hz
        self._resampler: Any = None  # soxr.ResampleStream, stateful across chunks
        self._is_running = False
        self._cancelled = threading.Event()
        # Held while the device is started, stopped or aborted. The callback never takes it.
        self._control = threading.Lock()
        self.prebuffer_s = prebuffer_s

    # ---- the device, implemented by subclasses

    @abc.abstractmethod
    def _open_device(self, sample_rate: int) -> int:
        """Find and open the device. Returns its rate (Hz), `sample_rate` if it supports that."""

    @abc.abstractmethod
    def _start_device(self) -> None:
        """Begin to pull blocks from `self._player`."""

    @abc.abstractmethod
    def _stop_device(self, *, at_once: bool) -> None:
        """Stop pulling blocks. at_once: drop the queued blocks, otherwise wait until they were played. Never raises."""

    @abc.abstractmethod
    def _close_device(self) -> None:
        """Release the device. Never raises."""

    @property
    @abc.abstractmethod
    def _latency_s(self) -> float:
        """Output latency of the device in seconds."""

    @abc.abstractmethod
    def _sleep(self, seconds: float) -> None:
        """Wait for `seconds` or until `self._cancelled` is set."""

    def _check_device(self) -> None:
        """If the running device was lost, reopen it or raise AudioError."""

    def _device_counters(self) -> tuple[int, int]:
        """Number of device underflows and of reopenings."""
        return 0, 0

    # ---- the interface

    @property
    def prebuffer_s(self) -> float:
        return self._prebuffer_s

    @prebuffer_s.setter
    def prebuffer_s(self, seconds: float) -> None:
        if not 0 <= seconds <= MAX_PREBUFFER_S:
            raise UsageError(f"The prebuffer is {seconds} s; allowed is 0 to {MAX_PREBUFFER_S:g} s.")
        self._prebuffer_s = seconds
        if self._player is not None:
            self._player.watermark = self._watermark()

    def open(self, sample_rate: int) -> None:
        if sample_rate < 1:
            raise UsageError(f"The sample rate is {sample_rate}; give a rate in Hz, such as 22050.")
        if self._player is not None and self._source_rate != sample_rate:
            self.close()
        if self._player is None:
            self._device_rate = self._open_device(sample_rate)
            self._source_rate = sample_rate
            self._player = Player(int(self._capacity_s * self._device_rate), self._watermark())
        else:
            self._halt(at_once=True)
            self._player.reset()
        self._resampler = self._new_resampler()
        self._cancelled.clear()

    def write(self, samples: Samples) -> None:
        self._opened()
        if samples.ndim != 1 or samples.dtype != np.float32:
            raise UsageError(f"Playback takes float32 samples (S,), not {samples.dtype} {samples.shape}.")
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(samples)
        self._push(samples)

    def end(self) -> None:
        player = self._opened()
        self._raise_if_cancelled()
        if self._resampler is not None:
            self._push(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))
            self._resampler = self._new_resampler()
        player.end()
        if player.buffered:
            self._ensure_running()

    def drain(self) -> None:
        player = self._opened()
        self.end()
        while player.buffered:
            self._wait(player.buffered)
        if self._is_running:
            # The device still plays its latency. A cancel ends this sleep, but not the wait in `_halt`.
            self._wait(int(self._latency_s * self._device_rate))
            self._halt(at_once=False)
        self._raise_if_cancelled()

    def abort(self) -> None:
        self._cancelled.set()
        if self._player is not None:
            self._player.stop()
        self._halt(at_once=True)

    def close(self) -> None:
        self.abort()
        with self._control:
            if self._player is not None:
                self._last_stats = self.stats
                logger.info("playback ended: %s", self._last_stats)
                self._close_device()
            self._player = None

    @property
    def stats(self) -> PlaybackStats:
        player = self._player
        if player is None:
            return self._last_stats
        underflows, reopened = self._device_counters()
        return PlaybackStats(
            state=State.STOPPED if self._cancelled.is_set() else player.state,
            sample_rate=self._device_rate,
            played_samples=player.played,
            silent_samples=player.silent,
            buffered_samples=player.buffered,
            underruns=player.underruns,
            rebuffers=player.rebuffers,
            device_underflows=underflows,
            reopened=reopened,
        )

    # ---- internal

    def _opened(self) -> Player:
        if self._player is None:
            raise AudioError("The playback device is not open; call open(sample_rate) first.")
        return self._player

    def _new_resampler(self) -> Any:
        if self._device_rate == self._source_rate:
            return None
        import soxr

        return soxr.ResampleStream(self._source_rate, self._device_rate, 1, dtype="float32", quality=RESAMPLING)

    def _watermark(self) -> int:
        """Samples to buffer before playing: the prebuffer and the latency, which sound servers pull at once."""
        return int((self._prebuffer_s + self._latency_s) * self._device_rate)

    def _push(self, samples: Samples) -> None:
        player = self._opened()
        self._raise_if_cancelled()
        pcm: Pcm = np.frombuffer(to_pcm16(samples), "<i2")
        while True:
            pcm = pcm[player.push(pcm) :]
            if player.is_ready:
                self._ensure_running()
            if not len(pcm):
                break
            self._wait(len(pcm))
        if self._is_running:
            self._check_device()

    def _wait(self, n_samples: int) -> None:
        """Sleep while the device plays up to `n_samples`."""
        self._raise_if_cancelled()
        self._sleep(min(max(n_samples / self._device_rate, MIN_SLEEP_S), MAX_SLEEP_S))
        self._raise_if_cancelled()
        if self._is_running:
            self._check_device()

    def _ensure_running(self) -> None:
        with self._control:
            if not self._is_running and not self._cancelled.is_set():
                self._start_device()
                self._is_running = True

    def _halt(self, *, at_once: bool) -> None:
        with self._control:
            if self._is_running:
                self._is_running = False
                self._stop_device(at_once=at_once)

    def _raise_if_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise Cancelled("Playback was stopped.")
