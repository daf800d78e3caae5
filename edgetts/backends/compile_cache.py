"""The compile cache on disk: the next process reuses what Inductor and Triton compiled.

In: the user's cache folder, a pack, a device. Out: on CUDA, a folder whose key covers the pack, the GPU and the
compiler versions, so its contents never go stale. Both compilers read their cache folder from the environment at first
use; variables that the user set are kept.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from edgetts import __version__
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


@dataclass(frozen=True)
class Compilations:
    """Counts of compilations in this process. A process that finds a warm cache has no misses and no new files."""

    misses: int  # graphs that Inductor compiled
    hits: int  # graphs that it took from the cache
    new_files: int  # new files of Inductor and Triton in the cache folder


class CompileWatch:
    """Counts compilations from its construction on. folder: as returned by `keep_compiled`."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._files = _files(folder)
        self._counts = _inductor_counts()

    def so_far(self) -> Compilations:
        misses, hits = (now - then for now, then in zip(_inductor_counts(), self._counts, strict=True))
        return Compilations(misses, hits, len(_files(self._folder) - self._files))


def _files(folder: Path | None) -> set[Path]:
    return set() if folder is None else {path for path in folder.rglob("*") if path.is_file()}


def _inductor_counts() -> tuple[int, int]:
    """Misses and hits of Inductor's cache. A bypass counts as a miss: it was compiled, too."""
    utils = sys.modules.get("torch._dynamo.utils")
    if utils is None:
        return 0, 0
    counts = utils.counters["inductor"]
    return counts["fxgraph_cache_miss"] + counts["fxgraph_cache_bypass"], counts["fxgraph_cache_hit"]


def _key(manifest: Manifest, device: torch.device) -> str:
    files = [manifest.files[name].sha256 for name in sorted(manifest.files)]
    capability = torch.cuda.get_device_capability(device)
    versions = [f"edgetts {__version__}", *(f"{name} {_version(name)}" for name in ("torch", "triton"))]
    parts = [*files, describe(device), str(capability), torch.version.cuda or "", *versions]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:_KEY_LENGTH]


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
