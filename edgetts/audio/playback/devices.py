"""Output devices: found by name, never by number, with a sentence for whatever is missing.

In: a part of a name, a sample rate. Out: which device, rate and number of channels to open. Only
outputs are looked at. PortAudio is loaded when first needed, and only through `load_portaudio`. How a
device is played to is in `portaudio`.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from edgetts.errors import AudioError, UsageError

SAMPLE_TYPE = "int16"
# Hz, tried after the wanted rate and the device's own: what sound hardware takes.
COMMON_RATES = (48_000, 44_100, 96_000, 32_000, 24_000, 16_000)
CHANNELS = (1, 2)  # hardware without a converter often refuses mono
OR_FILE = "or write the speech to a file"


@dataclass(frozen=True)
class OutputDevice:
    """index: PortAudio's number, good until devices are listed anew. default_rate: Hz."""

    index: int
    name: str
    host_api: str
    channels: int
    default_rate: int
    is_default: bool


@dataclass(frozen=True)
class DeviceSettings:
    """What a device was asked for and accepts."""

    sample_rate: int  # Hz
    channels: int


def load_portaudio() -> Any:
    """The module `sounddevice`. Raises AudioError with the remedy when it or its library is missing."""
    try:
        return importlib.import_module("sounddevice")
    except ImportError:
        raise AudioError(
            f"Playing needs the package sounddevice, which is not installed; "
            f"run `pip install 'edgetts[play]'`, {OR_FILE}."
        ) from None
    except OSError as error:
        raise AudioError(
            f"Playing needs the PortAudio library, which cannot be loaded ({_reason(error)}); "
            f"run `sudo apt install libportaudio2`, {OR_FILE}."
        ) from None


def list_devices() -> list[OutputDevice]:
    """Every device that can play, PortAudio's default first. Raises AudioError as `load_portaudio`."""
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
    """The device whose name holds `name` (letter case aside), a whole name before a part; None: the default.

    Raises AudioError when nothing can play, UsageError when no or more than one device fits.
    """
    devices = list_devices()
    if not devices:
        raise AudioError(f"There is no sound output device here; connect or enable one, {OR_FILE}.")
    if name is None:
        if not devices[0].is_default:
            raise UsageError(f"The system has no default sound output; choose one of: {_names(devices)}.")
        return devices[0]
    wanted = name.strip().casefold()
    fitting = [device for device in devices if wanted == device.name.casefold()] or [
        device for device in devices if wanted and wanted in device.name.casefold()
    ]
    if not fitting:
        raise UsageError(f"No sound output device is called {name!r}; there are: {_names(devices)}.")
    if len({device.name for device in fitting}) > 1:
        raise UsageError(
            f"{name!r} fits {len(fitting)} sound output devices: {_names(fitting)}; give more of the name."
        )
    return fitting[0]  # the same device through several host interfaces: the default one comes first


def choose_settings(device: OutputDevice, sample_rate: int) -> DeviceSettings:
    """What `device` takes: `sample_rate` (Hz) before its own rate before the common ones, mono before stereo.

    Raises AudioError when it takes none of them.
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
        f"The sound output device {device.name!r} takes none of the rates {', '.join(map(str, rates))} Hz "
        f"({reason}); it may be in use by another program: choose another (`edgetts say --list-devices`), {OR_FILE}."
    )


def rescan() -> None:
    """Let PortAudio look for devices again. It only does so when started anew, which ends every stream of
    this process: close one's own before."""
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
