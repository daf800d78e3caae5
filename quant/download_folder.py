"""The folder of a download: may it be used, is there space, is it locked.

In: the user's path, and the parts folder inside it. Out: the resolved path, or an error that says what to do. It does
not know hubs or checkpoints.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from edgetts.errors import DownloadError, UsageError
from edgetts.pack.entries import MANIFEST_FILE
from edgetts.quant.download_record import RECORD_FILE
from edgetts.quant.folders import opened, remove_folder, unlink
from edgetts.quant.part_file import is_part

PARTS_FOLDER = ".edgetts-download"
SPARE_BYTES = 64 << 20  # left free on the disk
_GIB = 1 << 30


def check_folder(given: Path) -> Path:
    """The resolved folder. Raises UsageError for one that cannot be used."""
    try:
        folder = given.resolve()
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{given} is a file: give a folder to download to.")
        if (folder / MANIFEST_FILE).is_file():
            raise UsageError(f"{given} is a model pack already: give another folder to download to.")
        for name, is_right in ((RECORD_FILE, stat.S_ISREG), (PARTS_FOLDER, stat.S_ISDIR)):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                if not is_right((folder / name).lstat().st_mode):
                    raise UsageError(
                        f"{folder / name} is needed for the download, but was not made by it: remove it, or give "
                        "another folder."
                    )
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a zero byte
        raise UsageError(f"{str(given)!r} is no folder to download to ({error}): give another folder.") from None
    return folder


def check_space(folder: Path, fetch_bytes: int) -> None:
    """Raises DownloadError if the disk has too little space."""
    existing = next(path for path in (folder, *folder.parents) if path.is_dir())
    free = shutil.disk_usage(existing).free
    needed = fetch_bytes + SPARE_BYTES
    if fetch_bytes and free < needed:
        raise DownloadError(
            f"{needed / _GIB:.2f} GiB are needed in {folder}, but the disk has {free / _GIB:.2f} GiB free: make room, "
            "or give a folder on another disk."
        )


def remove_parts(parts: Path) -> None:
    """Remove parts of files, and their folder if it is then empty."""
    with opened(parts) as handle, opened(parts.parent) as folder:
        for part in parts.iterdir():
            if is_part(part.name):
                unlink(handle, part.name)
        remove_folder(folder, parts.name)


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn OSError inside the block into DownloadError."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DownloadError(f"{folder} cannot be written to ({reason}): give another folder.") from error


@contextlib.contextmanager
def locked(parts: Path) -> Iterator[None]:
    """Lock the folder against a second run. Raises DownloadError."""
    with opened(parts) as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DownloadError(f"Another download into {parts.parent} is running: wait until it has ended.") from None
        yield
