"""Fetching the published checkpoint of a family and the models that it needs.

In: a folder, and a hub. Out: the folder in the layout that upstream's downloader makes and
`edgetts.quant.checkpoint` reads, with only the files that conversion needs, and the licenses that come with them.
A `Plan` comes first (files present, files missing, disk space), so that the user can be asked; then the download.
A file appears under its name only whole and with the published checksum. An interrupted run is taken up where
it stopped; `edgetts-download.json` in the folder keeps what was agreed to and what was already checked. No link in
the folder is written through, and nothing is removed but parts of files.

Source: upstream indextts/utils/model_download.py (which repositories, where their files lie).
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgetts.errors import CheckpointError, DownloadError, UsageError
from edgetts.families import FAMILIES, Family
from edgetts.families.published import Published
from edgetts.pack.plain_json import shown
from edgetts.progress import CountedProgress
from edgetts.quant.checkpoint import AUXILIARY_FILES, CACHE_FOLDER, CONFIG_FILE, GLOSSARY_FILE, locate_files
from edgetts.quant.download_folder import PARTS_FOLDER, check_folder, check_space, locked, remove_parts, writing
from edgetts.quant.download_record import RECORD_FORMAT, entry_of, is_ours, read_record, was_fetched, write_record
from edgetts.quant.hub import DEFAULT_REVISION, Hub, HubFile, NotPublished, Repository
from edgetts.quant.local_copies import copy_into, find_copy
from edgetts.quant.part_file import PartFile, has_checksum, part_path
from edgetts.quant.upstream_config import published, read_upstream_config

_LICENSE_FILE = re.compile(r"(LICEN[SC]E|NOTICE|DISCLAIMER)[A-Za-z0-9._-]*", re.IGNORECASE)


@dataclass(frozen=True)
class WantedFile:
    """A file and where it goes. target: path inside the folder."""

    repository: Repository
    file: HubFile
    target: str

    @property
    def name(self) -> str:
        return f"{self.file.path} of {self.repository.name}"


@dataclass(frozen=True)
class Plan:
    """The plan of a download. missing: files to get, in order; fetch_bytes: bytes still to fetch.

    copies: by target, a file of this machine that is probably the missing one; copy_bytes: of them.
    """

    folder: Path
    family: Family
    hub: Hub = field(repr=False)
    repositories: tuple[Repository, ...]
    files: tuple[WantedFile, ...]
    missing: tuple[WantedFile, ...]
    replaced: frozenset[str]  # targets where another file exists
    fetch_bytes: int
    copies: Mapping[str, Path]
    copy_bytes: int
    agreed: bool  # whether the licenses were accepted for this folder before

    @property
    def total_bytes(self) -> int:
        return sum(wanted.file.size for wanted in self.files)

    @property
    def licenses(self) -> dict[str, str]:
        """Declared license by repository."""
        return _licenses(published(self.family), self.repositories)

    @property
    def elsewhere(self) -> dict[str, str]:
        """Address of the hub by repository, for those that `hub` does not have."""
        return {r.name: r.hub.endpoint for r in self.repositories if r.hub is not self.hub}


@dataclass(frozen=True)
class Download:
    """The result of a download."""

    folder: Path
    n_bytes: int  # of all files
    fetched: tuple[str, ...]  # targets that were missing before
    commits: Mapping[str, str]


def choose_family(folder: Path | None, title: str | None = None) -> Family:
    """The family to fetch: the one of this title, or what the folder holds or is called, or the latest.

    Raises UsageError for a title that no family has, or where the folder holds another.
    """
    by_title = {family.title.lower(): family for family in FAMILIES.values()}
    wanted = None if title is None else by_title.get(title.strip().lower())
    if title is not None and wanted is None:
        known = " and ".join(family.title for family in reversed(FAMILIES.values()))
        raise UsageError(f"--model {shown(title)} is unknown: there are {known}.")
    held = None
    if folder is not None and (folder / CONFIG_FILE).is_file():
        with contextlib.suppress(CheckpointError):  # damaged, or of an unknown model: reported later
            held = read_upstream_config(folder / CONFIG_FILE).family
    if wanted is not None and held not in (None, wanted):
        raise UsageError(f"{folder} holds an {held.title}: give another folder for {wanted.title}.")
    named = by_title.get(folder.name.lower()) if folder is not None else None
    return wanted or held or named or next(reversed(FAMILIES.values()))


def plan_download(
    folder: str | Path,
    family: Family,
    *,
    endpoint: str | None = None,
    hub: Hub | None = None,
    other_hub: Hub | None = None,
    revision: str = DEFAULT_REVISION,
    replace: bool = False,
    reuse: Sequence[Path] = (),
    progress: CountedProgress | None = None,
) -> Plan:
    """Ask the hub what there is, and look at what the folder holds; writes nothing there but checks.

    endpoint: address of a mirror of Hugging Face. hub: another hub instead. other_hub: for models of other publishers
    that the hub does not have. revision: branch, tag or commit of the family's repository; the other models are
    taken as they are now. replace: files that differ from the published ones will be fetched again. reuse: folders
    from which published files are copied, instead of fetched: hub caches, checkpoints. Raises UsageError for a folder
    or an address that cannot be used, DownloadError for everything else.
    """
    target = check_folder(Path(folder))
    hub = Hub(endpoint) if hub is None else hub
    known = published(family)
    own = hub.repository(known.repository, revision)
    names = dict.fromkeys(AUXILIARY_FILES[key].repo for key in known.auxiliary)
    repositories = {known.repository: own, **{name: _repository(name, hub, other_hub) for name in names}}
    files = _wanted(target, hub, known, repositories)
    record = read_record(target)
    missing = _missing(target, files, record, replace, progress)
    parts = target / PARTS_FOLDER
    lacking = {w.target: w.file.size - min(_size(part_path(parts, w.file.checksum)), w.file.size) for w in missing}
    found = {w.target: find_copy(_others(reuse, target), w.repository, w.file, w.target) for w in missing}
    copies = {name: path for name, path in found.items() if path is not None}
    copy_bytes = sum(lacking[name] for name in copies)
    total = sum(lacking.values())
    check_space(target, total)
    return Plan(
        target,
        family,
        hub,
        tuple(repositories.values()),
        files,
        missing,
        replaced=frozenset(w.target for w in missing if os.path.lexists(target / w.target)),
        fetch_bytes=total - copy_bytes,
        copies=copies,
        copy_bytes=copy_bytes,
        agreed=record.get("licenses") == _licenses(known, repositories.values()),
    )


def download(plan: Plan, *, progress: CountedProgress | None = None) -> Download:
    """Fetch the missing files of a plan; the caller has asked for acceptance of the licenses.

    Raises DownloadError, and CheckpointError when the files are not those of a checkpoint that can be converted.
    """
    parts = plan.folder / PARTS_FOLDER
    done = plan.total_bytes - sum(wanted.file.size for wanted in plan.missing)
    entries: dict[str, Any] = dict(read_record(plan.folder).get("files", {}))
    commits = {repository.name: repository.commit for repository in plan.repositories}

    def save() -> None:
        record = {"format": RECORD_FORMAT, "licenses": plan.licenses, "commits": commits, "files": entries}
        write_record(plan.folder, parts, record)

    with writing(plan.folder):
        plan.folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            parts.mkdir()
        with locked(parts):
            for wanted in plan.files:
                if wanted not in plan.missing:
                    entries[wanted.target] = entry_of(plan.folder / wanted.target, wanted.file.checksum)
            save()
            for wanted in plan.missing:
                _fetch(plan, wanted, parts, done, progress)
                done += wanted.file.size
                entries[wanted.target] = entry_of(plan.folder / wanted.target, wanted.file.checksum)
                save()
                if wanted.target == CONFIG_FILE:
                    _check_config(plan)
            _check_config(plan)
            remove_parts(parts)
    return Download(plan.folder, plan.total_bytes, tuple(w.target for w in plan.missing), commits)


def _fetch(plan: Plan, wanted: WantedFile, parts: Path, done: int, progress: CountedProgress | None) -> None:
    here = 0

    def on_bytes(count: int) -> None:
        nonlocal here
        here += count
        if progress is not None:
            progress(wanted.name, done + here, plan.total_bytes)

    def waiting(what: str) -> None:
        if progress is not None:
            progress(f"{wanted.name}: {what}", done + here, plan.total_bytes)

    copied = plan.copies.get(wanted.target)
    with PartFile(parts, wanted.file.size, wanted.file.checksum, on_bytes) as part:
        if copied is not None:
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                copy_into(copied, part)
            if part.size == part.wanted_size and not part.is_right:
                part.restart()  # another file of the same size
        wanted.repository.hub.fetch(wanted.repository, wanted.file, part, tell=waiting)
        try:
            is_right = part.finish(plan.folder / wanted.target, plan.folder, replace=wanted.target in plan.replaced)
        except FileExistsError:
            raise DownloadError(
                f"{wanted.target} has appeared in {plan.folder} meanwhile, and is left alone: see what it is, and run "
                "the same command again."
            ) from None
        if not is_right:
            raise DownloadError(
                f"What arrived as {wanted.name} is not what was published (its checksum is not "
                f"{wanted.file.checksum}), and was thrown away: run the same command again, or try without the "
                f"mirror {wanted.repository.hub.endpoint}."
            )


def _repository(name: str, hub: Hub, other: Hub | None) -> Repository:
    """A repository of another publisher. Raises DownloadError."""
    try:
        return hub.repository(name)
    except NotPublished:
        if other is None:
            raise
        return other.repository(name)


def _others(folders: Sequence[Path], target: Path) -> list[Path]:
    return [folder for folder in folders if folder.resolve() != target]


def _wanted(folder: Path, hub: Hub, known: Published, repositories: Mapping[str, Repository]) -> tuple[WantedFile, ...]:
    """All files to have, the one that decides about the others first. Raises DownloadError for those not published."""
    own = repositories[known.repository]
    # As the published config.yaml names them; compared with it as soon as that is here.
    targets = [(own, name, name) for name in (CONFIG_FILE, *known.usual)]
    if GLOSSARY_FILE in own.files:
        targets.append((own, GLOSSARY_FILE, GLOSSARY_FILE))
    for auxiliary in (AUXILIARY_FILES[key] for key in known.auxiliary):
        places = [f"{CACHE_FOLDER}/{flat}" for flat in auxiliary.flat]
        place = next((place for place in places if (folder / place).is_file()), places[0])
        targets.append((repositories[auxiliary.repo], auxiliary.inside, place))
    lacking = [f"{path} ({repository.name})" for repository, path, _ in targets if path not in repository.files]
    if lacking:
        raise DownloadError(
            f"{hub.endpoint} has no file, or no checksum of it, for {len(lacking)} that are needed: "
            f"{'; '.join(lacking)} (revision {own.revision}); try another revision= or endpoint=."
        )
    for repository in repositories.values():
        subfolder = "" if repository is own else f"{CACHE_FOLDER}/licenses/{repository.name.replace('/', '--')}/"
        licenses = sorted(path for path in repository.files if _LICENSE_FILE.fullmatch(path))
        targets += [(repository, path, subfolder + path) for path in licenses]
    return tuple(WantedFile(repository, repository.files[path], target) for repository, path, target in targets)


def _missing(
    folder: Path,
    files: tuple[WantedFile, ...],
    record: Mapping[str, Any],
    replace: bool,
    progress: CountedProgress | None,
) -> tuple[WantedFile, ...]:
    """Files that are not here as published. Raises UsageError for others in their place that we did not fetch."""
    entries = record.get("files", {})
    missing, strange = [], []
    doubtful = [w for w in files if os.path.lexists(folder / w.target) and not _is_known(folder, w, entries)]
    total, done = sum(_size(folder / wanted.target) for wanted in doubtful), 0

    def on_bytes(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress("checking what is there", done, total)

    for wanted in files:
        path = folder / wanted.target
        if wanted not in doubtful:
            if not os.path.lexists(path):
                missing.append(wanted)
        elif _size(path) != wanted.file.size or not has_checksum(path, wanted.file.checksum, on_bytes):
            missing.append(wanted)
            if not was_fetched(path, entries.get(wanted.target)):
                strange.append(wanted.target)
    if strange and not replace:
        raise UsageError(
            f"{folder} holds {len(strange)} file(s) that are not the published ones: {', '.join(strange)}; give "
            "another folder, or replace them with replace=."
        )
    return tuple(missing)


def _is_known(folder: Path, wanted: WantedFile, entries: Mapping[str, Any]) -> bool:
    """Whether the file is the one wanted by what the record says of it, and was not written to since."""
    ours = is_ours(folder / wanted.target, entries.get(wanted.target))
    return ours and entries[wanted.target]["checksum"] == str(wanted.file.checksum)


def _check_config(plan: Plan) -> None:
    """Raises CheckpointError if the version cannot be converted, or names files outside the plan."""
    upstream = read_upstream_config(plan.folder / CONFIG_FILE)
    known, revision = published(plan.family), plan.repositories[0].revision
    others = sorted(set(upstream.files.values()) - set(known.usual))
    if others or upstream.family is not plan.family:
        is_other = upstream.family is not plan.family
        what = f"is one of {upstream.family.title}" if is_other else f"names {', '.join(others)}"
        raise CheckpointError(
            f"{CONFIG_FILE} of {known.repository} at revision {revision} {what}, which is not of the "
            f"{plan.family.title} that can be converted: do not set revision=."
        )
    if all((plan.folder / wanted.target).is_file() for wanted in plan.files):
        locate_files(plan.folder, upstream)


def _licenses(known: Published, repositories: Any) -> dict[str, str]:
    declared = {repository.name: repository.license or "not declared" for repository in repositories}
    return {**declared, known.repository: known.own_license}


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
