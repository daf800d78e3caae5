"""Live playback: one long-lived PortAudio output stream whose callback copies from a ring buffer.

In: float32 samples. Out: sound on a device found by name. The callback takes no lock, does not wait and allocates no
buffer: it calls `Player.render` on the device's memory. A lost device is reopened by name, a bounded number of times.
States, prebuffer and back-pressure are in `player` and `buffered`, names and rates in `devices`.
"""

from __future__ import annotations

import time
from typing import Any

from edgetts.audio.playback.buffered import CAPACITY_S, BufferedSink
from edgetts.audio.playback.devices import (
    OR_FILE,
    SAMPLE_TYPE,
    DeviceSettings,
    OutputDevice,
    choose_settings,
    find_device,
    load_portaudio,
    rescan,
)
from edgetts.audio.playback.sink import MIN_PREBUFFER_S
from edgetts.errors import AudioError, UsageError

LATENCY_S = 0.15  # requested from the device: less stutters on a busy machine, more delays start and abort
ANY_BLOCK_SIZE = 0  # the device chooses; a fixed size would add another buffer
STALLED_S = 2.0  # a running device that pulls no block for this long is lost
MAX_REOPENS = 5
REOPEN_WAIT_S = 0.5  # before the first try, then 2, 3 ... times as long
STEADY_S = 5.0  # of speech played after a reopening reset the count of tries


class PortAudioSink(BufferedSink):
    """device: a part of an output device's name; None: the system's default.

    Loads and opens nothing before `open`, which raises AudioError or UsageError if PortAudio, the device or a
    supported rate is missing.
    """

    def __init__(
        self,
        device: str | None = None,
        *,
        prebuffer_s: float = MIN_PREBUFFER_S,
        capacity_s: float = CAPACITY_S,
    ) -> None:
        self._wanted = device
        self._device: OutputDevice | None = None
        self._settings = DeviceSettings(0, 0)
        self._stream: Any = None
        self._reported_latency_s = LATENCY_S
        self._device_underflows = 0
        self._reopened = 0
        self._n_tries = 0  # since the device was last steady
        self._steady_after = 0  # samples played
        self._seen_blocks = 0
        self._seen_at = 0.0
        super().__init__(prebuffer_s=prebuffer_s, capacity_s=capacity_s)

    @property
    def device(self) -> OutputDevice | None:
        """The device in use; None before `open`."""
        return self._device

    def _open_device(self, sample_rate: int) -> int:
        self._device = find_device(self._wanted)
        self._settings = choose_settings(self._device, sample_rate)
        self._device_underflows = self._reopened = self._n_tries = 0
        try:
            self._open_stream(self._device)
        except AudioError as error:
            raise AudioError(f"{error}; close other programs that use it, choose another device, {OR_FILE}.") from None
        return self._settings.sample_rate

    def _open_stream(self, device: OutputDevice) -> None:
        sounddevice = load_portaudio()
        try:
            self._stream = sounddevice.OutputStream(
                device=device.index,
                samplerate=self._settings.sample_rate,
                channels=self._settings.channels,
                dtype=SAMPLE_TYPE,
                blocksize=ANY_BLOCK_SIZE,
                latency=LATENCY_S,
                # The callback does not prime the output: that would save initial silence on hardware, but
                # PulseAudio's plug-in then waits a second before the first sound.
                callback=self._callback,
            )
        except (sounddevice.PortAudioError, ValueError) as error:
            self._stream = None
            raise AudioError(f"The sound output device {device.name!r} cannot be opened ({error})") from None
        self._reported_latency_s = float(self._stream.latency)

    def _callback(self, out: Any, _frames: int, _times: Any, status: Any) -> None:
        """Runs on PortAudio's thread. out: (S, channels) int16, the device's memory."""
        player = self._player
        if player is None:
            out.fill(0)
            return
        if status.output_underflow:
            self._device_underflows += 1
        player.render(out[:, 0])
        if out.shape[1] > 1:
            out[:, 1:] = out[:, :1]

    def _start_device(self) -> None:
        sounddevice = load_portaudio()
        self._watch()
        try:
            self._stream.start()
        except sounddevice.PortAudioError as error:
            self._reopen(str(error))

    def _stop_device(self, *, at_once: bool) -> None:
        if self._stream is None:
            return
        # Both ignore errors, such as of a lost device.
        if at_once:
            self._stream.abort()
        else:
            self._stream.stop()

    def _close_device(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    @property
    def _latency_s(self) -> float:
        return self._reported_latency_s

    def _sleep(self, seconds: float) -> None:
        self._cancelled.wait(seconds)

    def _device_counters(self) -> tuple[int, int]:
        return self._device_underflows, self._reopened

    # ---- lost devices

    def _watch(self) -> None:
        self._seen_blocks, self._seen_at = self._opened().n_blocks, time.monotonic()

    def _check_device(self) -> None:
        player = self._opened()
        now = time.monotonic()
        if not self._is_active():
            reason = "it stopped unexpectedly"
        elif player.n_blocks == self._seen_blocks and now - self._seen_at > STALLED_S:
            reason = f"it pulled no samples for {STALLED_S:g} s"
        else:
            if player.n_blocks != self._seen_blocks:
                self._watch()
            if self._n_tries and player.played > self._steady_after:
                self._n_tries = 0
            return
        with self._control:
            if self._is_running and not self._cancelled.is_set():
                self._reopen(reason)

    def _is_active(self) -> bool:
        try:
            return self._stream is not None and bool(self._stream.active)
        except load_portaudio().PortAudioError:
            return False

    def _reopen(self, reason: str) -> None:
        """Needs `_control` held. Samples in the ring buffer are kept; samples in the device are lost."""
        name = self._device.name if self._device is not None else "default"
        while self._n_tries < MAX_REOPENS:
            self._n_tries += 1
            self._close_device()
            if self._cancelled.wait(REOPEN_WAIT_S * self._n_tries):
                self._is_running = False
                self._raise_if_cancelled()
            rescan()
            try:
                self._reopen_once()
                return
            except (AudioError, UsageError) as error:
                reason = str(error).rstrip(".")
        self._is_running = False
        raise AudioError(
            f"The sound output device {name!r} was lost and did not come back in {MAX_REOPENS} tries ({reason}); "
            f"connect it again, choose another (`edgetts say --list-devices`), {OR_FILE}."
        )

    def _reopen_once(self) -> None:
        sounddevice = load_portaudio()
        device = find_device(self._wanted)
        settings = choose_settings(device, self._settings.sample_rate)
        if settings.sample_rate != self._settings.sample_rate:
            raise AudioError(
                f"The sound output device {device.name!r} no longer supports {self._settings.sample_rate} Hz"
            )
        self._device, self._settings = device, settings
        self._open_stream(device)
        self._watch()
        try:
            self._stream.start()
        except sounddevice.PortAudioError as error:
            raise AudioError(f"The sound output device {device.name!r} cannot be started ({error})") from None
        self._reopened += 1
        self._steady_after = self._opened().played + int(STEADY_S * settings.sample_rate)
