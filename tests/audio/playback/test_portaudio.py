"""The PortAudio sink against a recording of what it calls: no sound hardware, no library."""

from __future__ import annotations

import ast
import importlib
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import edgetts.audio.playback as package
from edgetts.audio.playback import portaudio
from edgetts.audio.playback.devices import choose_settings, find_device, list_devices
from edgetts.audio.playback.portaudio import PortAudioSink
from edgetts.errors import AudioError, Cancelled, UsageError

RATE = 22_050
BLOCK = 512


class PortAudioError(Exception):
    """As sounddevice's."""


class FakeStream:
    """Plays as fast as it is asked to by `FakeSoundDevice.play`, on a thread of its own."""

    def __init__(self, module: FakeSoundDevice, kwargs: dict[str, Any]) -> None:
        self.module, self.kwargs = module, kwargs
        self.latency = 0.05
        self.calls: list[str] = []
        self.blocks: list[np.ndarray] = []
        self.active = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self.calls.append("start")
        self.active = True
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while self.active:
            if len(self.blocks) >= self.module.dies_after:
                self.module.dies_after = self.module.dies_next
                if self.module.is_unplugged_then:
                    self.module.devices = self.module.devices[:1]
                self.active = False
                return
            out = np.full((BLOCK, self.kwargs["channels"]), -1, np.int16)
            status = SimpleNamespace(output_underflow=len(self.blocks) == 1)
            self.kwargs["callback"](out, BLOCK, None, status)
            self.blocks.append(out)
            time.sleep(0.001)

    def _end(self, name: str) -> None:
        self.calls.append(name)
        self.active = False
        if self._thread is not None:
            self._thread.join()

    def stop(self) -> None:
        self._end("stop")

    def abort(self) -> None:
        self._end("abort")

    def close(self) -> None:
        self._end("close")


class FakeSoundDevice:
    """Only what may be used; whatever else is touched (an input stream, say) is an AttributeError."""

    PortAudioError = PortAudioError

    def __init__(self) -> None:
        self.devices = [
            self.device("Webcam", outputs=0),
            self.device("USB Speaker"),
            self.device("HDMI 1"),
            self.device("HDMI 2"),
        ]
        self.default = 1
        self.rates = {RATE, 48_000}
        self.channels = {1, 2}
        self.streams: list[FakeStream] = []
        self.n_rescans = 0
        self.dies_after = self.dies_next = sys.maxsize
        self.is_unplugged_then = False
        self.refuses_to_open = 0

    @staticmethod
    def device(name: str, outputs: int = 2) -> dict[str, Any]:
        return {
            "name": name,
            "hostapi": 0,
            "max_output_channels": outputs,
            "max_input_channels": 2,
            "default_samplerate": 44_100.0,
        }

    def query_hostapis(self) -> list[dict[str, str]]:
        return [{"name": "ALSA"}]

    def query_devices(self, kind: str | None = None) -> Any:
        if kind is None:
            return self.devices
        assert kind == "output"
        if not 0 <= self.default < len(self.devices):
            raise PortAudioError("Error querying device -1")
        return self.devices[self.default] | {"index": self.default}

    def check_output_settings(self, device: int, channels: int, dtype: str, samplerate: int) -> None:
        assert self.devices[device]["max_output_channels"] >= channels and dtype == "int16"
        if samplerate not in self.rates or channels not in self.channels:
            raise PortAudioError("Invalid sample rate [PaErrorCode -9997]")

    def OutputStream(self, **kwargs: Any) -> FakeStream:  # noqa: N802
        if self.refuses_to_open:
            self.refuses_to_open -= 1
            raise PortAudioError("Device unavailable [PaErrorCode -9985]")
        self.streams.append(FakeStream(self, kwargs))
        return self.streams[-1]

    def _terminate(self) -> None:
        assert not any(stream.active for stream in self.streams)
        self.n_rescans += 1

    def _initialize(self) -> None:
        pass

    def heard(self) -> np.ndarray:
        return np.concatenate([block for stream in self.streams for block in stream.blocks])


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSoundDevice]:
    fake = FakeSoundDevice()
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    monkeypatch.setattr(portaudio, "REOPEN_WAIT_S", 0.01)
    yield fake
    for stream in fake.streams:
        stream.close()


def speech(count: int) -> tuple[np.ndarray, np.ndarray]:
    pcm = (np.arange(count) % 30_000 + 1).astype(np.int16)
    return pcm, (pcm / 32_767).astype(np.float32)


def test_one_output_stream_plays_several_utterances_to_their_last_sample(fake: FakeSoundDevice) -> None:
    pcm, samples = speech(3 * RATE)
    with PortAudioSink(prebuffer_s=0.1) as sink:
        sink.open(RATE)
        for part in np.array_split(samples, 3):
            for chunk in np.array_split(part, 7):
                sink.write(chunk)
            sink.drain()
        stats = sink.stats
    [stream] = fake.streams
    assert stream.kwargs["blocksize"] == 0 and 0.1 <= stream.kwargs["latency"] <= 0.2
    assert (stream.kwargs["samplerate"], stream.kwargs["channels"], stream.kwargs["device"]) == (RATE, 1, 1)
    assert stream.calls == ["start", "stop"] * 3 + ["close"]
    heard = fake.heard()[:, 0]
    np.testing.assert_array_equal(heard[heard != 0], pcm)
    assert stats.played_samples == len(pcm) and stats.device_underflows == 1
    assert sink.stats.played_samples == len(pcm)  # still there after close


def test_stereo_only_hardware_gets_both_channels_at_its_own_rate(fake: FakeSoundDevice) -> None:
    fake.rates, fake.channels = {48_000}, {2}
    sink = PortAudioSink("usb")
    sink.open(RATE)
    sink.write(speech(RATE)[1])
    sink.drain()
    sink.close()
    assert (fake.streams[0].kwargs["samplerate"], fake.streams[0].kwargs["channels"]) == (48_000, 2)
    heard = fake.heard()
    np.testing.assert_array_equal(heard[:, 0], heard[:, 1])
    assert sink.stats.played_samples == pytest.approx(48_000, abs=1)


def test_abort_stops_the_device_at_once_and_open_begins_anew(fake: FakeSoundDevice) -> None:
    sink = PortAudioSink(capacity_s=1)
    sink.open(RATE)
    timer = threading.Timer(0.1, sink.abort)
    timer.start()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        while True:
            sink.write(speech(RATE)[1])
    assert time.monotonic() - started < 5
    timer.join()
    assert fake.streams[0].calls == ["start", "abort"]
    fake.streams[0].blocks.clear()
    sink.open(RATE)
    sink.write(speech(100)[1])
    sink.drain()
    heard = fake.heard()[:, 0]
    np.testing.assert_array_equal(heard[heard != 0], speech(100)[0])
    assert len(fake.streams) == 1
    sink.close()


def test_a_device_that_vanishes_is_found_again_and_loses_only_what_it_had_taken(fake: FakeSoundDevice) -> None:
    fake.dies_after = 20
    pcm, samples = speech(RATE)
    sink = PortAudioSink("usb")
    sink.open(RATE)
    sink.write(samples[: RATE // 2])
    while fake.streams[0].active:
        time.sleep(0.01)
    # Meanwhile everything has another number, and the first try finds it busy.
    fake.devices.insert(0, fake.device("New", 2))
    fake.default, fake.refuses_to_open = 2, 1
    sink.write(samples[RATE // 2 :])
    sink.drain()
    stats = sink.stats
    sink.close()
    assert (stats.reopened, fake.n_rescans, len(fake.streams)) == (1, 2, 2)
    assert fake.streams[1].kwargs["device"] == 2
    heard = fake.heard()[:, 0]
    np.testing.assert_array_equal(heard[heard != 0], pcm)


@pytest.mark.parametrize("how", ["gone", "dies", "stalls"])
def test_a_device_that_stays_away_ends_in_one_sentence_after_bounded_tries(
    fake: FakeSoundDevice, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = PortAudioSink("usb", capacity_s=1)
    sink.open(RATE)
    if how == "gone":
        fake.dies_after, fake.is_unplugged_then = 3, True
    elif how == "dies":
        fake.dies_after = fake.dies_next = 1
    else:
        monkeypatch.setattr(portaudio, "STALLED_S", 0.02)
        monkeypatch.setattr(FakeStream, "_run", lambda self: None)
    with pytest.raises(AudioError, match=r"'USB Speaker' was lost and did not come back in 5 tries .*to a file"):
        sink.write(speech(5 * RATE)[1])
        sink.drain()
    assert fake.n_rescans == portaudio.MAX_REOPENS
    sink.close()


def test_devices_are_chosen_by_a_unique_part_of_their_name(fake: FakeSoundDevice) -> None:
    assert [device.name for device in list_devices()] == ["USB Speaker", "HDMI 1", "HDMI 2"]
    assert find_device(None).name == "USB Speaker"
    assert find_device("speak").name == "USB Speaker"
    fake.devices.append(fake.device("HDMI"))
    assert find_device("hdmi").name == "HDMI"  # a whole name before a part
    with pytest.raises(UsageError, match=r"'DMI' matches 3 .*'HDMI 1', 'HDMI 2', 'HDMI'"):
        find_device("DMI")
    for name in ("webcam", "", "nothing"):
        with pytest.raises(UsageError, match=rf"called '{name}'; there are: 'USB Speaker', 'HDMI 1'"):
            find_device(name)
    fake.default = -1
    with pytest.raises(UsageError, match="no default sound output; choose one of"):
        find_device(None)


def test_settings_prefer_the_rate_of_the_speech_and_mono(fake: FakeSoundDevice) -> None:
    device = find_device(None)
    assert (choose_settings(device, RATE).sample_rate, choose_settings(device, RATE).channels) == (RATE, 1)
    fake.channels = {2}
    assert (choose_settings(device, RATE).sample_rate, choose_settings(device, RATE).channels) == (RATE, 2)
    fake.rates = {44_100, 48_000}
    assert choose_settings(device, RATE).sample_rate == 44_100  # the device's own before the common ones
    fake.rates = set()
    with pytest.raises(AudioError, match=r"'USB Speaker' supports none of the rates 22050, 44100, .*to a file"):
        PortAudioSink().open(RATE)


def test_what_is_missing_is_said_with_its_remedy(fake: FakeSoundDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.refuses_to_open = 1
    with pytest.raises(AudioError, match=r"cannot be opened \(Device unavailable .*to a file"):
        PortAudioSink().open(RATE)
    fake.devices = fake.devices[:1]
    with pytest.raises(AudioError, match=r"no sound output device here; .*to a file"):
        PortAudioSink().open(RATE)

    def no_library(name: str) -> Any:
        raise OSError("PortAudio library not found")

    monkeypatch.setattr(importlib, "import_module", no_library)
    with pytest.raises(AudioError, match=r"apt install libportaudio2`, or write the speech to a file"):
        PortAudioSink().open(RATE)

    def no_package(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", no_package)
    with pytest.raises(AudioError, match=r"pip install 'edgetts-runtime\[play\]'`, or write the speech to a file"):
        list_devices()


def test_no_input_stream_is_opened_anywhere() -> None:
    """Every name of sounddevice that the sources use is on this list, and only OutputStream is a stream."""
    allowed = {
        *("OutputStream", "PortAudioError", "check_output_settings", "query_devices", "query_hostapis"),
        *("_terminate", "_initialize"),
    }
    used: set[str] = set()
    # A check by AST over the whole package: streams and recording have these names in sounddevice.
    recording = {"Stream", "RawStream", "InputStream", "RawInputStream", "rec", "playrec", "check_input_settings"}
    root = Path(package.__file__).parents[2]
    assert root.name == "edgetts"
    for path in root.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        is_playback = path.parent.name == "playback"
        assert is_playback or "sounddevice." not in source, path
        if not is_playback:
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Attribute):
                assert node.attr not in recording, path
                owner = node.value
                is_module = (isinstance(owner, ast.Name) and owner.id == "sounddevice") or (
                    isinstance(owner, ast.Call) and ast.unparse(owner.func) == "load_portaudio"
                )
                if is_module:
                    used.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert node.value not in recording, path
    assert "OutputStream" in used and used <= allowed
