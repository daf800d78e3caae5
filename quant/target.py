"""Checks of the target path of a pack: it must be free, or hold a pack and nothing else.

In: the user's path. Out: the resolved path, or a `UsageError` before any work is done. Nothing is written or removed.
The last part of the path is not followed: a link is never taken for the target, so its destination cannot be replaced.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from edgetts.errors import PackError, UsageError
from edgetts.pack.entries import MANIFEST_FILE, Manifest
from edgetts.pack.manifest import MAX_MANIFEST_BYTES, parse_manifest
from edgetts.quant.folders import OPEN_FOLDER, foreign, opened, read_file

MARK_FILE = ".edgetts-staging"  # in a folder being written or removed: see `edgetts.quant.staging`
DISCARDED = "-"  # a line of the mark: the folder is being removed
MARK = "Made by edgetts, which may remove the files that are listed here:"
STAGING = ".{}.partial"
_LONGEST = "..{}.reference.xxxxxxxx.partial"  # the longest name derived from the target's
_MAX_SHOWN = 5
_NAME = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._-]{0,99}/)?[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # as in a manifest


def check_target(path: str | Path, *, force: bool, source: str | Path | None = None) -> Path:
    """The target with links in its parent folders resolved. Raises UsageError if no pack can be written there.

    force: an existing pack may be replaced if it holds only files of its manifest. source: the input; it must not be
    the target or contain it.
    """
    try:
        target = _resolved(Path(path))
        _check_place(target, Path(path))
        if _is_pack_in_the_way(target):
            if not force:
                raise UsageError(f"There is a pack at {target} already: give another name, or replace it with force=.")
            own_pack(target)
        if source is not None:
            _check_apart(target, Path(source))
    except (OSError, ValueError, RuntimeError) as error:  # ValueError: a zero byte; RuntimeError: a loop of links
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"No pack can be written to {str(path)!r} ({reason}): give another name.") from None
    return target


def own_pack(folder: Path) -> Manifest:
    """The manifest of a pack without other files. Raises UsageError for anything else."""
    try:
        with opened(folder) as handle:
            return replaceable(handle, folder)
    except OSError as error:  # a link, a file
        raise UsageError(f"{folder} is not a folder, so it is left alone: give another name.") from error


def replaceable(handle: int, where: Path) -> Manifest:
    """The manifest of the pack in the open folder. Raises UsageError if it is not a pack or has other files."""
    manifest = _own_manifest(handle, where)
    others = sorted(foreign(handle, {*manifest.files, MANIFEST_FILE, MARK_FILE}))
    if others:
        raise UsageError(
            f"{where} holds {shown(others)} besides the pack, not made by edgetts, so it is left alone: move that "
            "away, or give another name."
        )
    changed = sorted(_changed(handle, manifest))
    if changed:
        raise UsageError(
            f"{shown(changed)} in {where} was changed since the pack was made, so the pack is left alone: move that "
            "file away, or give another name."
        )
    return manifest


def _changed(handle: int, manifest: Manifest) -> Iterator[str]:
    """Files that differ from the manifest, among those that users may edit: glossaries, voices, notes.

    Weights are not compared: nobody edits them, and damaged ones may be replaced.
    """
    weights = {component.file for component in manifest.components.values()}
    for name, entry in manifest.files.items():
        if name not in weights:
            data = read_file(handle, name, entry.bytes + 1)
            if data and hashlib.sha256(data).hexdigest() != entry.sha256:
                yield name


def shown(names: list[str]) -> str:
    more = f" and {len(names) - _MAX_SHOWN} more" if len(names) > _MAX_SHOWN else ""
    return ", ".join(repr(name) for name in names[:_MAX_SHOWN]) + more


def _resolved(path: Path) -> Path:
    absolute = path.absolute()
    if absolute.name in ("", ".."):
        return absolute.resolve(strict=True)
    for parent in absolute.parents:
        if parent.is_symlink() and not parent.exists():
            raise UsageError(f"{parent} is a broken symbolic link: fix or remove it, or give another name.")
        if parent.exists():
            if not parent.is_dir():
                raise UsageError(f"{parent} is a file, so no pack can be made in it: give another name.")
            break
    return absolute.parent.resolve() / absolute.name


def _check_place(target: Path, given: Path) -> None:
    """Raises UsageError for paths where a pack folder cannot or should not be."""
    if target.is_symlink():
        meant = target.readlink()
        raise UsageError(
            f"{given} is a symbolic link to {meant}, and links are never replaced or followed: give the name of the "
            "folder itself."
        )
    home = Path("~").expanduser()
    for place, what in ((Path.cwd(), "the current folder"), (home, "your home folder")):
        resolved = place.resolve()
        if target == resolved or target in resolved.parents:
            verb = "is" if target == resolved else "holds"
            raise UsageError(f"{given} {verb} {what}: give the name of a new folder, such as {target / 'my.pack'}.")
    if target.is_dir() and target.is_mount():
        raise UsageError(f"{given} is a mount point, which cannot be replaced: give a folder inside it.")
    for pattern in (STAGING, _LONGEST):
        beside = target.with_name(pattern.format(target.name))
        try:
            beside.lstat()
        except FileNotFoundError:
            continue
        os.close(open_marked(beside))


def open_marked(folder: Path) -> int:
    """A handle of a folder with our mark. Raises UsageError for anything else."""
    with contextlib.suppress(OSError):  # a link, a file
        handle = os.open(folder, OPEN_FOLDER)
        if read_mark(handle) is not None:
            return handle
        os.close(handle)
    raise UsageError(
        f"{folder} is needed as a work folder, but was not made by this version of "
        "edgetts, so it is left alone: rename or "
        "remove it, or give another name for the pack."
    )


def read_mark(handle: int) -> list[str] | None:
    """The lines of the mark after the first one; None if there is no mark."""
    data = read_file(handle, MARK_FILE, MAX_MANIFEST_BYTES)
    lines = [] if data is None else data.decode("utf-8", errors="replace").splitlines()
    if lines[:1] != [MARK] or not all(line == DISCARDED or _NAME.fullmatch(line) for line in lines[1:]):
        return None
    return lines[1:]


def _check_apart(target: Path, source: Path) -> None:
    origin = source.resolve()
    if target == origin:
        raise UsageError(f"{source} cannot be read and replaced at once: give another name for the pack.")
    if origin in target.parents:
        raise UsageError(f"{target} lies inside {source}, which it is made from: give a folder outside.")


def _is_pack_in_the_way(target: Path) -> bool:
    """Whether there is a pack at the target; False if it is free. Raises UsageError for anything else."""
    try:
        status = target.lstat()
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(status.st_mode):
        raise UsageError(f"{target} is a file, but a pack is a folder: give another name.")
    if not any(target.iterdir()):
        return False
    if not (target / MANIFEST_FILE).is_file():
        raise UsageError(f"{target} is not a pack and holds other files, so it is left alone: give another name.")
    return True


def _own_manifest(handle: int, where: Path) -> Manifest:
    data = read_file(handle, MANIFEST_FILE, MAX_MANIFEST_BYTES + 1)
    try:
        if data is None or len(data) > MAX_MANIFEST_BYTES:
            raise PackError(f"{MANIFEST_FILE} is not a manifest")
        return parse_manifest(data, str(where / MANIFEST_FILE))
    except PackError as error:
        reason = str(error).partition(";")[0].rstrip(".")
        raise UsageError(
            f"The {MANIFEST_FILE} in {where} is not one of an edgetts pack, so the folder is left alone "
            f"({reason}): give another name, or remove it yourself."
        ) from error
