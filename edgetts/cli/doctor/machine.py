"""Checks of the machine: Python, torch, the device, sound output, caches."""

from __future__ import annotations

import importlib
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edgetts.cli.common import mib
from edgetts.cli.doctor.finding import Finding, broken, note, ok
from edgetts.errors import AudioError, EdgeTTSError, UsageError, one_line

if TYPE_CHECKING:
    from edgetts.backends.device import DeviceChoice

PYTHONS = ((3, 10), (3, 14))  # from, below; as in pyproject.toml
TORCHES = ((2, 8), (2, 14))
SAMPLE_RATE = 22_050  # Hz, of the speech


def check_python(version: tuple[int, int, int] = sys.version_info[:3]) -> Finding:
    """Whether this Python is one that the package is tested with."""
    shown = ".".join(map(str, version))
    text = f"{shown} on {platform.machine()}, {platform.system()}"
    if not PYTHONS[0] <= version[:2] < PYTHONS[1]:
        return broken("python", text, "install edgetts in an environment of Python 3.10 to 3.13")
    return ok("python", text)


def check_torch() -> Finding:
    """Whether torch can be imported, and is of a tested version."""
    try:
        torch = importlib.import_module("torch")
    except (ImportError, OSError) as error:
        return broken("torch", f"cannot be imported ({one_line(str(error))})", "install it again: `pip install torch`")
    numbers = tuple(int(part) for part in str(torch.__version__).split("+")[0].split(".")[:2])
    text = f"{torch.__version__}, {torch.get_num_threads()} threads"
    if not TORCHES[0] <= numbers < TORCHES[1]:
        return broken("torch", text, "versions 2.8 to 2.13 are supported: `pip install 'torch>=2.8,<2.14'`")
    return ok("torch", text)


def check_device(name: str, *, dev: Path = Path("/dev")) -> Finding:
    """Whether the device works; name: as for --device. dev: where a GPU shows itself."""
    from edgetts.backends.device import describe, pick_device

    try:
        choice: DeviceChoice = pick_device(name)
    except UsageError as error:
        return broken("device", str(error).rstrip("."))
    text = describe(choice.device)
    if choice.notice:
        return broken("device", f"{text}. {choice.notice.rstrip('.')}", "update the driver, or install a torch for it")
    has_gpu = any((dev / node).exists() for node in ("nvidia0", "nvmap", "nvhost-gpu"))
    if choice.device.type == "cpu" and has_gpu and name == "auto":
        return note("device", f"{text}; there is an NVIDIA GPU, and this torch does not use it", _cuda_remedy(dev))
    return ok("device", text)


def _cuda_remedy(dev: Path) -> str:
    is_jetson = (dev / "nvmap").exists()
    return "install NVIDIA's torch for this JetPack" if is_jetson else "install a torch with CUDA: see pytorch.org"


def check_sound(device_rate: int = SAMPLE_RATE) -> Finding:
    """Whether there is a device that plays."""
    from edgetts.audio.playback.devices import choose_settings, find_device, list_devices

    try:
        devices = list_devices()
    except AudioError as error:
        return note("sound", str(error).rstrip("."))
    if not devices:
        return note("sound", "no output device", "connect or enable one; a user's sound server needs a session")
    try:
        device = find_device(None)
        settings = choose_settings(device, device_rate)
    except EdgeTTSError as error:
        return broken("sound", str(error).rstrip("."))
    names = f"{len(devices)} devices, the default is {device.name}"
    return ok("sound", f"{names}, at {settings.sample_rate} Hz")


def check_caches(cache: Path) -> Finding:
    """Whether the cache folder can be written to; how large it is."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        probe = cache / ".probe"
        probe.write_bytes(b"")
        probe.unlink()
        size = sum(path.lstat().st_size for path in cache.rglob("*") if path.is_file())
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        return broken("caches", f"{cache}: {reason}", "make it writable for this user, or set EDGETTS_HOME")
    return ok("caches", f"{cache}, {mib(size)}")
