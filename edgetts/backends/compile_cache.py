"""Where compilers keep what they made, so that the next process compiles nothing.

In: the user's cache folder, a pack, a device. Out: on CUDA a folder for Inductor and Triton, for each pack, card and
version of the compilers: what is in it fits whoever finds it, and nothing has to be deleted when they change. Both
compilers read where to write from the environment, when they first write; a folder that the user named is left.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
from pathlib import Path

import torch

from edgetts.backends.device import describe
from edgetts.pack.manifest import Manifest

VARIABLES = {"TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton"}
_FOLDER = "compiled"
_KEY_LENGTH = 16  # hexadecimal digits


def keep_compiled(cache: Path, manifest: Manifest, device: torch.device) -> Path | None:
    """Have compilers of this process keep what they make; the folder, or None where nothing is compiled (the CPU).

    Of two packs in one process the first one names the folder.
    """
    if device.type != "cuda":
        return None
    folder = cache / _FOLDER / _key(manifest, device)
    for variable, name in VARIABLES.items():
        os.environ.setdefault(variable, str(folder / name))
    return folder


def _key(manifest: Manifest, device: torch.device) -> str:
    files = [manifest.files[name].sha256 for name in sorted(manifest.files)]
    capability = torch.cuda.get_device_capability(device)
    versions = [f"{name} {_version(name)}" for name in ("edgetts", "torch", "triton")]
    parts = [*files, describe(device), str(capability), torch.version.cuda or "", *versions]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:_KEY_LENGTH]


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
