"""The compile cache on disk: the next process reuses what Inductor and Triton compiled.

In: the user's cache folder, a pack, a device. Out: on CUDA, a folder whose key covers the pack, the GPU and the
compiler versions, so its contents never go stale. Both compilers read their cache folder from the environment at first
use; variables that the user set are kept.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
from pathlib import Path

import torch

from edgetts.backends.device import describe
from edgetts.pack.entries import Manifest

VARIABLES = {"TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton"}
_FOLDER = "compiled"
_KEY_LENGTH = 16  # hexadecimal digits


def keep_compiled(cache: Path, manifest: Manifest, device: torch.device) -> Path | None:
    """Set the compile cache of this process. Returns its folder, or None on the CPU, where nothing is compiled.

    With two packs in one process, the first one decides the folder.
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
