"""Finds output devices by name.

In: a part of a name, a sample rate. Out: the device, rate and number of channels to open. Input devices are ignored.
PortAudio is loaded on first use, and only by `load_portaudio`. Does not play: `portaudio` does.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from edgetts.distribution import install
from edgetts.errors import AudioError, UsageError

SAMPLE_TYPE = "int16"
# Hz, common in sound hardware; tried after the wanted rate and the device's own.
COMMON_RATES = (48_000, 44_100, 96_000, 32_000, 24_000, 16_000)
CHANNELS = (1, 2)  # in this order; some hardware refuses mono
OR_FILE = "or write the speech to a file"


@dataclass(frozen=True)
class OutputDevice:
    """index: PortAudio's number, valid until the next rescan. default_rate: Hz."""

    index: int
    name: str
    host_api: str
    channels: int
    default_rate: int
    is_default: bool


@dataclass(frozen=True)
class DeviceSettings:
    """Settings that a device supports."""

    sample_rate: int  # Hz
    channels: int


def load_portaudio() -> Any:
    """The module `sounddevice`. Raises AudioError if it or the PortAudio library is missing."""
    try:
        return importlib.import_module("sounddevice")
    except ImportError:
        raise AudioError(
            f"Playing needs the package sounddevice, which is not installed; run `{install('play')}`, {OR_FILE}."
        ) from None
    except OSError as error:
        raise AudioError(
            f"Playing needs the PortAudio library, which cannot be loaded ({_reason(error)}); "
            f"run `sudo apt install libportaudio2`, {OR_FILE}."
        ) from None


def list_devices() -> list[OutputDevice]:
    """All output devices, PortAudio's default first. Raises AudioError as `load_portaudio`."""
    sounddevice = load_portaudio()
    host_apis = sounddevice.query_hostapis()
    default = _default_index(sounddevice)
    found = [
        OutputDevice(
            index=index,
            name=str(device["name"]),
            host_api=str(host_apis[device["hostapi"]]["name"]),
            channels=int(device["max_output_channels"]),
            default_rate=round(device["default_samplerate"]),
            is_default=index == default,
        )
        for index, device in enumerate(sounddevice.query_devices())
        if device["max_output_channels"] > 0
    ]
    return sorted(found, key=lambda device: not device.is_default)


def find_device(name: str | None) -> OutputDevice:
    """The device called `name`, else the one whose name contains it, ignoring case; None: the default device.

    Raises AudioError if there is no output device, UsageError if none or several match.
    """
    devices = list_devices()
    if not devices:
        raise AudioError(f"There is no sound output device here; connect or enable one, {OR_FILE}.")
    if name is None:
        if not devices[0].is_default:
            raise UsageError(f"The system has no default sound output; choose one of: {_names(devices)}.")
        return devices[0]
    wanted = name.strip().casefold()
    matching = [device for device in devices if wanted == device.name.casefold()] or [
        device for device in devices if wanted and wanted in device.name.casefold()
    ]
    if not matching:
        raise UsageError(f"No sound output device is called {name!r}; there are: {_names(devices)}.")
    if len({device.name for device in matching}) > 1:
        raise UsageError(
            f"{name!r} matches {len(matching)} sound output devices: {_names(matching)}; give more of the name."
        )
    return matching[0]  # one device on several host APIs: the default one comes first


def choose_settings(device: OutputDevice, sample_rate: int) -> DeviceSettings:
    """Settings that `device` supports. Rates are tried in the order `sample_rate` (Hz), its own, common ones; mono
    before stereo. Raises AudioError if it supports none.
    """
    sounddevice = load_portaudio()
    rates = list(dict.fromkeys((sample_rate, device.default_rate, *COMMON_RATES)))
    reason = ""
    for rate in rates:
        for channels in CHANNELS:
            if channels > device.channels:
                continue
            try:
                sounddevice.check_output_settings(
                    device=device.index, channels=channels, dtype=SAMPLE_TYPE, samplerate=rate
                )
            except (sounddevice.PortAudioError, ValueError) as error:
                reason = reason or _reason(error)
            else:
                return DeviceSettings(rate, channels)
    raise AudioError(
        f"The sound output device {device.name!r} supports none of the rates {', '.join(map(str, rates))} Hz "
        f"({reason}); it may be in use by another program: choose another (`edgetts say --list-devices`), {OR_FILE}."
    )


def rescan() -> None:
    """Restart PortAudio, which is the only way to update its list of devices. Ends every stream of this process:
    close yours before."""
    sounddevice = load_portaudio()
    sounddevice._terminate()
    sounddevice._initialize()


def _default_index(sounddevice: Any) -> int | None:
    try:
        return int(sounddevice.query_devices(kind="output")["index"])
    except (sounddevice.PortAudioError, ValueError):
        return None


def _names(devices: list[OutputDevice]) -> str:
    return ", ".join(repr(name) for name in dict.fromkeys(device.name for device in devices))


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
