"""The staging folder: a pack is written there and renamed to its target at the end.

In: a target checked by `edgetts.quant.target`. Out: files in a hidden folder beside it, then that folder under the
target's name. A mark file in the folder lists the files that this program wrote or may write; nothing else is
overwritten or removed, and links are not followed. A crashed process leaves folder and mark, and the next one
continues.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import stat
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from edgetts.errors import PackError, UsageError
from edgetts.pack.entries import MANIFEST_FILE
from edgetts.quant.folders import (
    NEW_FILE,
    OPEN_FOLDER,
    TAKEN,
    exchange,
    folder_of,
    foreign,
    is_at,
    opened,
    read_file,
    remove_file,
    remove_folder,
    rename_new,
    unlink,
    write_new,
)
from edgetts.quant.target import (
    DISCARDED,
    MARK,
    MARK_FILE,
    STAGING,
    check_target,
    open_marked,
    read_mark,
    replaceable,
    shown,
)


class StagingFolder:
    """The hidden folder beside `target`, locked; new, or continued from a crashed run.

    planned: names of files that may be in it. Raises UsageError if a folder of that name is not ours or has other
    files, PackError if another process uses it.
    """

    def __init__(self, target: Path, planned: Iterable[str]) -> None:
        self.target = target
        target.parent.mkdir(parents=True, exist_ok=True)
        self._parent = os.open(target.parent, OPEN_FOLDER)
        self._handle = -1
        try:
            self.path = target.with_name(STAGING.format(target.name))
            self._handle = self._locked(sorted(planned))
            self._names = set(read_mark(self._handle) or ())
            if others := sorted(foreign(self._handle, {*self._names, MARK_FILE})):
                raise UsageError(
                    f"{self.path} holds {shown(others)}, not made by edgetts, so it is left alone: move that away, or "
                    "give another name for the pack."
                )
        except BaseException:
            self.close()
            raise

    @contextlib.contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        """A new file ("name" or "folder/name"), open for writing; fsync at the end."""
        if name not in self._names:
            self._mark([name])
        with folder_of(self._handle, name, make=True) as (folder, last):
            unlink(folder, last)
            with open(os.open(last, NEW_FILE, 0o666, dir_fd=folder), "wb") as file:  # noqa: PTH123
                yield file
                file.flush()
                os.fsync(file.fileno())

    def read(self, name: str, most: int) -> bytes | None:
        """At most `most` bytes of a file; None if there is none."""
        return read_file(self._handle, name, most)

    def size(self, name: str) -> int | None:
        """Bytes of a plain file; None if there is none."""
        try:
            status = os.stat(name, dir_fd=self._handle, follow_symlinks=False)
        except FileNotFoundError:
            return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def remove(self, name: str) -> None:
        """Remove a file if it exists."""
        remove_file(self._handle, name)

    def keep_only(self, names: Collection[str]) -> None:
        """Remove all our files except these."""
        for name in self._names.difference(names):
            self.remove(name)

    def publish(self, *, force: bool) -> None:
        """Rename the folder to the target. Raises UsageError if the target has been taken meanwhile."""
        check_target(self.target, force=force)
        os.fsync(self._handle)
        old = self._pack_in_the_way()
        try:
            if old is None:
                # Free or an empty folder: rename fails for anything else.
                os.rename(self.path.name, self.target.name, src_dir_fd=self._parent, dst_dir_fd=self._parent)
            else:
                self._replace(old)
        finally:
            if old is not None:
                os.close(old)
        unlink(self._handle, MARK_FILE)
        os.fsync(self._parent)
        self.close()

    def discard(self) -> None:
        """Remove our files, and the folder if it is empty then."""
        _discard(self._parent, self.path.name, self._handle)
        self.close()

    def close(self) -> None:
        """Release the folder and its lock without changes."""
        for handle in (self._handle, self._parent):
            if handle >= 0:
                os.close(handle)
        self._handle = self._parent = -1

    def _locked(self, planned: list[str]) -> int:
        """A handle of the folder, locked with flock until the process ends."""
        while True:
            if not os.path.lexists(self.path):
                self._make(planned)
            handle = open_marked(self.path)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                os.close(handle)
                raise PackError(
                    f"Another process is writing the pack {self.target} now: wait until it is done."
                ) from error
            # The process that held the lock before may have renamed the folder.
            if not is_at(self._parent, self.path.name, handle):
                os.close(handle)
            elif DISCARDED in (read_mark(handle) or ()):  # a crashed run was removing it
                try:
                    _discard(self._parent, self.path.name, handle)
                finally:
                    os.close(handle)
            else:
                return handle

    def _make(self, planned: list[str]) -> None:
        """Create the folder with its mark atomically: a folder without a mark is not ours."""
        name = f".{self.target.name}.{secrets.token_hex(4)}.partial"
        os.mkdir(name, dir_fd=self._parent)
        handle = os.open(name, OPEN_FOLDER, dir_fd=self._parent)
        try:
            _write_mark(handle, planned)
            rename_new(self._parent, name, self._parent, self.path.name)
        except BaseException as error:
            unlink(handle, MARK_FILE)
            os.rmdir(name, dir_fd=self._parent)
            if not (isinstance(error, OSError) and error.errno in TAKEN):  # another process was faster
                raise
        finally:
            os.close(handle)

    def _mark(self, names: list[str]) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(MARK_FILE, flags, dir_fd=self._handle), "ab") as file:  # noqa: PTH123
            file.write("".join(f"{name}\n" for name in names).encode())
            file.flush()
            os.fsync(file.fileno())
        self._names.update(names)

    def _pack_in_the_way(self) -> int | None:
        """A handle of the pack to be replaced, marked for removal; None for an empty folder or none."""
        try:
            handle = os.open(self.target.name, OPEN_FOLDER, dir_fd=self._parent)
        except FileNotFoundError:
            return None
        try:
            if os.listdir(handle):  # noqa: PTH208
                _mark_discarded(handle, self.target)
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
        return None

    def _replace(self, old: int) -> None:
        """Swap with the existing pack and remove that."""
        name, ours = self.target.name, self.path.name
        if not exchange(self._parent, ours, name):
            # No atomic swap here: for a moment the target is missing; on error the old pack is restored.
            ours = f".{name}.{secrets.token_hex(4)}.old"
            rename_new(self._parent, name, self._parent, ours)
            try:
                rename_new(self._parent, self.path.name, self._parent, name)
            except OSError:
                rename_new(self._parent, ours, self._parent, name)
                raise
        if not is_at(self._parent, ours, old):  # another program replaced the folder meanwhile
            exchange(self._parent, ours, name)
            raise UsageError(f"{self.target} was replaced by another program meanwhile: give another name.")
        _discard(self._parent, ours, old)


def remove_pack(path: Path) -> None:
    """Remove a pack. Raises UsageError if its folder holds anything else."""
    with opened(path.parent.resolve()) as parent, opened(path) as handle:
        _mark_discarded(handle, path)
        _discard(parent, path.name, handle)


def is_torn(path: Path) -> bool:
    """Whether a crashed process began to remove this folder."""
    try:
        with opened(path) as handle:
            return DISCARDED in (read_mark(handle) or ())
    except OSError:
        return False


def finish_removal(path: Path) -> None:
    """Finish the removal of a folder that a crashed process began; leave anything else."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), opened(path) as handle:
        if DISCARDED in (read_mark(handle) or ()):
            with opened(path.parent.resolve()) as parent:
                _discard(parent, path.name, handle)


def _mark_discarded(handle: int, where: Path) -> None:
    manifest = replaceable(handle, where)
    unlink(handle, MARK_FILE)
    _write_mark(handle, [DISCARDED, MANIFEST_FILE, *sorted(manifest.files)])


def _write_mark(handle: int, names: Iterable[str]) -> None:
    write_new(handle, MARK_FILE, "".join(f"{line}\n" for line in (MARK, *names)).encode())


def _discard(parent: int, name: str, handle: int) -> None:
    """Remove the files that the folder's mark lists, then the folder. Raises UsageError if other files remain."""
    listed = read_mark(handle) or []
    for inside in listed:
        if inside != DISCARDED:
            remove_file(handle, inside)
    for folder_name in {inside.partition("/")[0] for inside in listed if "/" in inside}:
        remove_folder(handle, folder_name)
    left = sorted(foreign(handle, {MARK_FILE}))
    if left:
        raise UsageError(f"{name} could not be removed: it holds {shown(left)}, not made by edgetts; move that away.")
    unlink(handle, MARK_FILE)
    if is_at(parent, name, handle):
        remove_folder(parent, name)
