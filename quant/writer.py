"""Writing a model pack: it appears whole or not at all.

In: a configuration, tensors per component, the tokeniser and other files. Out: a pack folder. Everything is
written into a hidden folder beside the target, flushed, and renamed at the end. A writer that died leaves
that folder behind; the next one takes finished components over if they come from the same source, and
removes the rest. Used by the converter and by the training recipe.

    with PackWriter(target, config, name="tiny", recipe="tiny", licence="...") as writer:
        for component, tensors in trained.items():
            writer.add_component(component, tensors, rules=[SchemeRule("*", "int8_channel")])
        writer.add_file("tokenizer.json", path)
        writer.finish()
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from torch import Tensor

from edgetts import __version__
from edgetts.errors import EdgeTTSError, PackError, UsageError
from edgetts.options import SynthesisOptions
from edgetts.pack.config import ModelConfig, from_dict, to_dict
from edgetts.pack.manifest import (
    COMPONENTS,
    ENROL_COMPONENTS,
    FAMILY,
    MANIFEST_FILE,
    TOKENIZER_FILE,
    ComponentEntry,
    FileEntry,
    Manifest,
    manifest_json,
    parse_manifest,
)
from edgetts.pack.plain_json import listed
from edgetts.pack.relations import model_problems
from edgetts.pack.verify import file_sha256
from quant.components import component_problems
from quant.lazy import LazyTensor
from quant.schemes import Encode, SchemeRule, round_to_nearest
from quant.tensor_file import TensorFilePlan, WrittenComponent

# Measures a pack that is complete but not in its place yet: folder -> the manifest's quality table.
Measure = Callable[[Path], Mapping[str, Any]]

_RECEIPT_SUFFIX = ".written.json"
_RENAME_EXCHANGE = 2  # flag of Linux's renameat2: swap two folders in one step
_AT_FDCWD = -100  # paths are relative to the working folder


class PackWriter:
    """Writes one pack to `target`.

    text: options of the text front end. defaults: synthesis options that suit this model.
    encoder_id: of the encoders, where the tensors given here are not
    their float32 originals (default: computed from them). without: features that this model lacks.
    force: replace a pack that is there already.
    Raises UsageError when the target is in the way, PackError when another process is writing it.
    """

    def __init__(
        self,
        target: str | Path,
        config: ModelConfig,
        *,
        name: str,
        recipe: str,
        licence: str,
        description: str = "",
        text: Mapping[str, Any] | None = None,
        defaults: Mapping[str, Any] | None = None,
        encoder_id: str | None = None,
        without: Sequence[str] = (),
        force: bool = False,
    ) -> None:
        self.target = Path(target).absolute()
        self.config = config
        self._about = {"name": name, "recipe": recipe, "licence": licence, "description": description}
        self._text = dict(text or {})
        self._defaults = dict(defaults or {})
        self._encoder_id = encoder_id
        self._without = tuple(without)
        self._force = force
        self._written: dict[str, WrittenComponent] = {}
        self._entries: dict[str, ComponentEntry] = {}
        self._files: dict[str, FileEntry] = {}
        self._is_complete = False  # all but its quality
        self.reused: list[str] = []  # components taken over from an interrupted run
        if problems := model_problems(config):
            raise PackError(f"No pack can have these dimensions: {listed(problems)}.")
        SynthesisOptions.of(self._defaults, {})
        check_target(self.target, force=force)
        self.target.parent.mkdir(parents=True, exist_ok=True)
        self.folder = self.target.parent / f".{self.target.name}.partial"
        self._lock: int | None = _lock_folder(self.folder, self.target)

    def __enter__(self) -> PackWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Removes what was written when the tensors were at fault; keeps it for the next run when this one was
        interrupted, or when measuring failed."""
        if self._lock is None:
            return
        if kind is None or (issubclass(kind, EdgeTTSError) and not self._is_complete):
            shutil.rmtree(self.folder, ignore_errors=True)
        self._unlock()

    def add_component(
        self,
        component: str,
        tensors: Mapping[str, Tensor | LazyTensor],
        *,
        dtype: str = "float32",
        rules: Sequence[SchemeRule] = (),
        fingerprint: str | None = None,
        progress: Callable[[int], None] | None = None,
        encode: Encode = round_to_nearest,
    ) -> None:
        """Store a component's tensors, checked against its network first.

        dtype: one of "float32", "float16", "bfloat16", of tensors that no rule quantises. encode: quantises.
        fingerprint: identifies where the tensors come from and how they are stored; an interrupted run's file
        with the same one is taken over. `progress` gets bytes.
        Raises PackError listing every missing, unexpected and misshapen tensor, or naming one that is not
        finite.
        """
        if component not in COMPONENTS or component in self._written:
            raise ValueError(f"component {component!r} is unknown or was added already")
        lazy = {n: LazyTensor.of(t.detach().cpu()) if isinstance(t, Tensor) else t for n, t in tensors.items()}
        problems = component_problems(component, {n: t.shape for n, t in lazy.items()}, self.config)
        if problems:
            raise PackError(f"The tensors of {component} do not fit its network: {'; '.join(problems)}.")
        plan = TensorFilePlan(component, lazy, dtype, rules)
        path = self.folder / f"{component}.safetensors"
        receipt = self.folder / f"{component}{_RECEIPT_SUFFIX}"
        written = None if fingerprint is None else _read_receipt(receipt, path, fingerprint)
        if written is None:
            receipt.unlink(missing_ok=True)
            _require_space(self.folder, plan.n_bytes, self.target)
            written = plan.write(path, digests=component in ENROL_COMPONENTS, progress=progress, encode=encode)
            if fingerprint is not None:
                _write_receipt(receipt, written, fingerprint)
        else:
            self.reused.append(component)
            if progress is not None:
                progress(plan.n_bytes)
        self._written[component] = written
        self._entries[component] = plan.entry(path.name)
        self._files[path.name] = written.file

    def add_file(self, name: str, source: str | Path | bytes) -> None:
        """Add a file, such as `tokenizer.json`, by path or content."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(source if isinstance(source, bytes) else Path(source).read_bytes())
        _flush(path)
        self._files[name] = FileEntry(path.stat().st_size, file_sha256(path))

    @property
    def snr(self) -> dict[str, dict[str, float]]:
        """Signal to quantisation noise in dB of each quantised tensor, by component."""
        return {c: dict(written.snr) for c, written in self._written.items() if written.snr}

    def finish(self, quality: Mapping[str, Any] | Measure | None = None) -> Path:
        """Write the manifest and put the pack in its place. Returns the target.

        quality: what was measured, or a function that measures: it gets the folder, which can be opened as a
        pack but is not in its place yet, and may still add files.
        """
        missing = [c for c in COMPONENTS if c not in self._written]
        missing += [] if TOKENIZER_FILE in self._files else [TOKENIZER_FILE]
        if missing:
            raise PackError(f"The pack {self.target} is not complete: {', '.join(missing)} were not added.")
        if callable(quality):
            self._write_manifest(None)
            self._is_complete = True
            quality = quality(self.folder)
        self._write_manifest(quality)
        self._remove_leftovers()
        _flush(self.folder)
        _publish(self.folder, self.target, force=self._force)
        _flush(self.target.parent)
        self._unlock()
        return self.target

    def _write_manifest(self, quality: Mapping[str, Any] | None) -> None:
        manifest = Manifest(
            family=FAMILY,
            created_by=f"edgetts {__version__}",
            encoder_id=self._encoder_id or self._computed_encoder_id(),
            model=self.config,
            text=self._text,
            defaults=self._defaults,
            components={c: self._entries[c] for c in COMPONENTS},
            files=dict(sorted(self._files.items())),
            quality=quality,
            without=self._without,
            **self._about,
        )
        content = manifest_json(manifest)
        parse_manifest(content.encode(), MANIFEST_FILE)  # what is written can be read
        (self.folder / MANIFEST_FILE).write_text(content, encoding="utf-8")
        _flush(self.folder / MANIFEST_FILE)

    def _computed_encoder_id(self) -> str:
        """Hash of everything that decides what a recording becomes: encoder values and dimensions."""
        table = {
            "family": FAMILY,
            "tensors": {c: dict(sorted(self._written[c].digests.items())) for c in ENROL_COMPONENTS},
            "config": {
                part: to_dict(getattr(self.config, part))
                for part in ("audio", "semantic_encoder", "semantic_codec", "speaker_encoder", "conditioning")
            },
        }
        return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()

    def _remove_leftovers(self) -> None:
        for path in self.folder.rglob("*"):
            if path.is_file() and str(path.relative_to(self.folder)) not in (*self._files, MANIFEST_FILE):
                path.unlink()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def check_target(target: Path, *, force: bool) -> None:
    """Raises UsageError when a pack cannot be written to `target`."""
    if target.is_dir() and not any(target.iterdir()):
        return
    if not target.exists():
        return
    if not target.is_dir():
        raise UsageError(f"{target} is a file, but a pack is a folder: give another name.")
    if not (target / MANIFEST_FILE).is_file():
        raise UsageError(f"{target} holds other files and is no pack, so it is left alone: give another name.")
    if not force:
        raise UsageError(f"There is a pack at {target} already: give another name, or replace it with --force.")


def _lock_folder(folder: Path, target: Path) -> int:
    """Make the hidden folder and lock it. The lock goes when the process does, however it ends."""
    while True:
        folder.mkdir(exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise PackError(f"Another process is writing the pack {target} now: wait until it is done.") from error
        # The process that held the lock may have renamed the folder just before we got it.
        if folder.exists() and os.path.samestat(folder.stat(), os.fstat(handle)):
            return handle
        os.close(handle)


def _publish(folder: Path, target: Path, *, force: bool) -> None:
    check_target(target, force=force)
    if not (target.is_dir() and any(target.iterdir())):
        folder.replace(target)
        return
    if not _exchange(folder, target):
        # No file system call swaps folders here: for a moment there is none, and the old one comes back on error.
        old = target.parent / f".{target.name}.old"
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
        try:
            folder.rename(target)
        except OSError:
            old.rename(target)
            raise
        folder = old
    shutil.rmtree(folder)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step, where kernel and file system can."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    result: int = renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    return result == 0


def _require_space(folder: Path, n_bytes: int, target: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < n_bytes:
        raise PackError(
            f"The disk is too full for the pack {target}: {n_bytes / 1e9:.1f} GB are needed next and "
            f"{free / 1e9:.1f} GB are free; make room or give another place."
        )


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_receipt(receipt: Path, written: WrittenComponent, fingerprint: str) -> None:
    table = {
        "fingerprint": fingerprint,
        "file": to_dict(written.file),
        "digests": dict(written.digests),
        "snr": dict(written.snr),
    }
    temporary = receipt.with_suffix(".tmp")
    temporary.write_text(json.dumps(table))
    _flush(temporary)
    temporary.replace(receipt)


def _read_receipt(receipt: Path, path: Path, fingerprint: str) -> WrittenComponent | None:
    """What an interrupted run wrote from the same source, if it finished that file."""
    if not receipt.is_file() or not path.is_file():
        return None
    try:
        table = json.loads(receipt.read_text())
        if table["fingerprint"] != fingerprint:
            return None
        file = from_dict(FileEntry, table["file"], what=str(receipt))
        digests = {str(k): str(v) for k, v in table["digests"].items()}
        snr = {str(k): float(v) for k, v in table["snr"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, PackError):  # torn: the component is written again
        return None
    return WrittenComponent(file, digests, snr) if path.stat().st_size == file.bytes else None
