"""Published files that are on this machine already, to be copied instead of fetched.

In: folders to look into, and a file with its checksum. Out: a path of the right size, and its bytes in a `PartFile`,
whose checksum decides. Folders may be caches of huggingface_hub, or folders that upstream's downloader filled. Nothing
is written to them.

Source: huggingface_hub, file_download.py (layout of the cache: blobs are named by their checksums).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgetts.quant.hub import HubFile, Repository
from edgetts.quant.part_file import PartFile

_BLOCK = 1 << 20


def find_copy(folders: Sequence[Path], repository: Repository, file: HubFile, target: str) -> Path | None:
    """A file with the published size in one of the places where this one would be. target: path in a checkpoint."""
    for folder in folders:
        for path in _places(folder, repository, file, target):
            with contextlib.suppress(OSError):
                if path.is_file() and path.stat().st_size == file.size:
                    return path
    return None


def copy_into(path: Path, part: PartFile) -> None:
    """Append the missing bytes of a part from a file. Raises OSError, DownloadError."""
    with path.open("rb") as source:
        source.seek(part.size)
        while part.size < part.wanted_size and (block := source.read(_BLOCK)):
            part.write(block)


def _places(folder: Path, repository: Repository, file: HubFile, target: str) -> Iterator[Path]:
    yield folder / target
    cached = folder / f"models--{repository.name.replace('/', '--')}"
    yield cached / "blobs" / file.checksum.digest
    with contextlib.suppress(OSError):
        yield from (snapshot / file.path for snapshot in sorted((cached / "snapshots").iterdir()))
