"""Writes a model pack atomically: the target is complete or absent.

In: a configuration, tensors per component, the tokenizer and other files. Out: a pack folder. Everything is written to
a hidden folder beside the target (`edgetts.quant.staging`), synced, and renamed at the end. A crashed writer leaves
that folder; the next one reuses finished components from the same source and removes the rest. Used by the converter
and the training recipe.

    with PackWriter(target, config, name="tiny", recipe="tiny", license="...") as writer:
        for component, tensors in trained.items():
            writer.add_component(component, tensors, rules=[SchemeRule("*", "int8_channel")])
        writer.add_file("tokenizer.json", path)
        writer.finish()
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from torch import Tensor

from edgetts import __version__
from edgetts.errors import EdgeTTSError, PackError, UsageError
from edgetts.families import ALL_COMPONENTS, family_of
from edgetts.options import SynthesisOptions
from edgetts.pack.config import ModelConfig
from edgetts.pack.entries import MANIFEST_FILE, TOKENIZER_FILE, ComponentEntry, FileEntry, Manifest
from edgetts.pack.manifest import manifest_json, parse_manifest
from edgetts.pack.plain_json import listed
from edgetts.pack.relations import model_problems
from edgetts.pack.strict import from_dict, to_dict
from edgetts.quant.components import component_problems
from edgetts.quant.lazy import LazyTensor
from edgetts.quant.schemes import Encode, SchemeRule, round_to_nearest
from edgetts.quant.staging import StagingFolder
from edgetts.quant.target import check_target
from edgetts.quant.tensor_file import TensorFilePlan, WrittenComponent

# Measures a complete pack before it is published: folder -> the manifest's quality table.
Measure = Callable[[Path], Mapping[str, Any]]

_TENSORS_SUFFIX = ".safetensors"
_RECEIPT_SUFFIX = ".written.json"
_MAX_RECEIPT_BYTES = 64 << 20
_PLANNED = (
    MANIFEST_FILE,
    TOKENIZER_FILE,
    *(component + suffix for component in ALL_COMPONENTS for suffix in (_TENSORS_SUFFIX, _RECEIPT_SUFFIX)),
)


class PackWriter:
    """Writes one pack to `target`.

    text: options of the text front end. defaults: synthesis options for this model. encoder_id: of the encoders, if the
    tensors are not their float32 originals (default: computed from them). without: features that this model lacks.
    force: replace an existing pack. Raises UsageError for a target that cannot be used, PackError if another process is
    writing it.
    """

    def __init__(
        self,
        target: str | Path,
        config: ModelConfig,
        *,
        name: str,
        recipe: str,
        license: str,
        description: str = "",
        text: Mapping[str, Any] | None = None,
        defaults: Mapping[str, Any] | None = None,
        encoder_id: str | None = None,
        without: Sequence[str] = (),
        force: bool = False,
    ) -> None:
        self.target = check_target(target, force=force)
        self.config = config
        self.family = family_of(config)
        self._about = {"name": name, "recipe": recipe, "license": license, "description": description}
        self._text = dict(text or {})
        self._defaults = dict(defaults or {})
        self._encoder_id = encoder_id
        self._without = tuple(without)
        self._force = force
        self._written: dict[str, WrittenComponent] = {}
        self._entries: dict[str, ComponentEntry] = {}
        self._files: dict[str, FileEntry] = {}
        self._is_complete = False  # except for its quality
        self.reused: list[str] = []  # components from an interrupted run
        if problems := model_problems(config):
            raise PackError(f"These dimensions are not valid: {listed(problems)}.")
        SynthesisOptions.of(self._defaults, {})
        self._staging = StagingFolder(self.target, _PLANNED)
        self._is_open = True

    @property
    def folder(self) -> Path:
        """The staging folder of the pack until `finish`."""
        return self._staging.path

    def __enter__(self) -> PackWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Removes the staging folder after an error in the tensors; keeps it for the next run after an interruption or
        a failed measurement."""
        if not self._is_open:
            return
        self._is_open = False
        if kind is None or (issubclass(kind, EdgeTTSError) and not self._is_complete):
            with contextlib.suppress(UsageError):  # it holds other files: they stay
                self._staging.discard()
        self._staging.close()

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

        dtype: of tensors that no rule quantizes: "float32", "float16" or "bfloat16". encode: quantizes. fingerprint:
        identifies source and storage; an interrupted run's file with the same one is reused. progress: called with
        numbers of bytes. Raises PackError listing every missing, unexpected and misshapen tensor, or naming one that is
        not finite.
        """
        if component not in self.family.components or component in self._written:
            raise ValueError(f"component {component!r} is unknown or was added already")
        lazy = {n: LazyTensor.of(t.detach().cpu()) if isinstance(t, Tensor) else t for n, t in tensors.items()}
        problems = component_problems(component, {n: t.shape for n, t in lazy.items()}, self.config)
        if problems:
            raise PackError(f"The tensors of {component} do not fit its network: {'; '.join(problems)}.")
        plan = TensorFilePlan(component, lazy, dtype, rules)
        name, receipt = f"{component}{_TENSORS_SUFFIX}", f"{component}{_RECEIPT_SUFFIX}"
        written = None if fingerprint is None else _read_receipt(self._staging, receipt, name, fingerprint)
        if written is None:
            self._staging.remove(receipt)
            _require_space(self.folder, plan.n_bytes, self.target)
            with self._staging.create(name) as file:
                written = plan.write(
                    file, digests=component in self.family.enroll_components, progress=progress, encode=encode
                )
            if fingerprint is not None:
                _write_receipt(self._staging, receipt, written, fingerprint)
        else:
            self.reused.append(component)
            if progress is not None:
                progress(plan.n_bytes)
        self._written[component] = written
        self._entries[component] = plan.entry(name)
        self._files[name] = written.file

    def add_file(self, name: str, source: str | Path | bytes) -> None:
        """Add a file, such as `tokenizer.json`, by path or content."""
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
        with self._staging.create(name) as file:
            file.write(data)
        self._files[name] = FileEntry(len(data), hashlib.sha256(data).hexdigest())

    @property
    def n_bytes(self) -> int:
        """Bytes of all files so far; of a finished pack, `Manifest.total_bytes`."""
        return sum(entry.bytes for entry in self._files.values())

    @property
    def snr(self) -> dict[str, dict[str, float]]:
        """Signal-to-quantization-noise ratio in dB of each quantized tensor, by component."""
        return {c: dict(written.snr) for c, written in self._written.items() if written.snr}

    def finish(self, quality: Mapping[str, Any] | Measure | None = None) -> Path:
        """Write the manifest and publish the pack. Returns the target.

        quality: the measurements, or a function that measures the staging folder, which can be opened as a pack; it may
        still add files.
        """
        missing = [c for c in self.family.components if c not in self._written]
        missing += [] if TOKENIZER_FILE in self._files else [TOKENIZER_FILE]
        if missing:
            raise PackError(f"The pack {self.target} is not complete: {', '.join(missing)} were not added.")
        if callable(quality):
            self._write_manifest(None)
            self._is_complete = True
            quality = quality(self.folder)
        self._write_manifest(quality)
        self._staging.keep_only({*self._files, MANIFEST_FILE})
        self._staging.publish(force=self._force)
        self._is_open = False
        return self.target

    def _write_manifest(self, quality: Mapping[str, Any] | None) -> None:
        manifest = Manifest(
            family=self.family.name,
            created_by=f"edgetts {__version__}",
            encoder_id=self._encoder_id or self._computed_encoder_id(),
            model=self.config,
            text=self._text,
            defaults=self._defaults,
            components={c: self._entries[c] for c in self.family.components},
            files=dict(sorted(self._files.items())),
            quality=quality,
            without=self._without,
            **self._about,
        )
        content = manifest_json(manifest)
        parse_manifest(content.encode(), MANIFEST_FILE)  # check that it can be read back
        with self._staging.create(MANIFEST_FILE) as file:
            file.write(content.encode())

    def _computed_encoder_id(self) -> str:
        """Hash of everything that determines the enrollment of a recording: encoder values and dimensions."""
        table = {
            "family": self.family.name,
            "tensors": {c: dict(sorted(self._written[c].digests.items())) for c in self.family.enroll_components},
            "config": {
                part: to_dict(getattr(self.config, part))
                for part in ("audio", "semantic_encoder", "semantic_codec", "speaker_encoder", "conditioning")
            },
        }
        return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()


def _require_space(folder: Path, n_bytes: int, target: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < n_bytes:
        raise PackError(
            f"The disk is too full for the pack {target}: {n_bytes / 1e9:.1f} GB are needed next and "
            f"{free / 1e9:.1f} GB are free; free some space or give another path."
        )


def _write_receipt(folder: StagingFolder, name: str, written: WrittenComponent, fingerprint: str) -> None:
    table = {
        "fingerprint": fingerprint,
        "file": to_dict(written.file),
        "digests": dict(written.digests),
        "snr": dict(written.snr),
    }
    with folder.create(name) as file:
        file.write(json.dumps(table).encode())


def _read_receipt(folder: StagingFolder, receipt: str, name: str, fingerprint: str) -> WrittenComponent | None:
    """The finished file of an interrupted run from the same source, or None."""
    data = folder.read(receipt, _MAX_RECEIPT_BYTES)
    if data is None:
        return None
    try:
        table = json.loads(data)
        if table["fingerprint"] != fingerprint:
            return None
        file = from_dict(FileEntry, table["file"], what=receipt)
        digests = {str(k): str(v) for k, v in table["digests"].items()}
        snr = {str(k): float(v) for k, v in table["snr"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, PackError):  # incomplete: written again
        return None
    return WrittenComponent(file, digests, snr) if folder.size(name) == file.bytes else None
