"""Opening a model pack and loading networks from it.

In: a pack folder. Out: a `Pack`: its dimensions, its tokenizer, and networks filled from memory-mapped
files. On the CPU, a tensor that is stored in the dtype it is used in is not copied: it is the mapped file.
Each kind of defect has its own `PackError` message. Knows no network: the caller passes the class.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from edgetts.errors import PackError
from edgetts.pack.config import ModelConfig
from edgetts.pack.entries import (
    CODE_SOUNDS_FILE,
    GLOSSARY_FILE,
    LEXICON_FILE,
    MANIFEST_FILE,
    TOKENIZER_FILE,
    ComponentEntry,
    Manifest,
    SchemeGroup,
)
from edgetts.pack.header import tensor_header
from edgetts.pack.locate import cache_folder
from edgetts.pack.manifest import FORMAT, read_manifest
from edgetts.pack.mapped_files import FileWatch
from edgetts.pack.mapped_tensors import DTYPES, MappedTensors
from edgetts.pack.meta_init import init_on_meta
from edgetts.pack.page_release import give_back_whole
from edgetts.pack.schemes import SCHEMES, Quantized, layout_problem
from edgetts.pack.verify import Stamp, Verifier, check_size

logger = logging.getLogger(__name__)

ModuleT = TypeVar("ModuleT", bound=nn.Module)
ReadT = TypeVar("ReadT")
# Gets a network on the meta device and its quantized tensors, replaces layers by ones that compute with those tensors,
# and returns the names of the tensors it took (`edgetts.backends.linear`).
Replace = Callable[[nn.Module, Mapping[str, Quantized]], Collection[str]]

_RELEASE_EVERY_BYTES = 32 << 20  # copied from a file before its pages are released


def open_pack(path: str | Path, *, verify: bool = False, home: Path | None = None) -> Pack:
    """Open the pack folder at `path`.

    Checks the manifest, and that every file exists with the right size. The sha256 of a file is checked when it is
    first used, or of all files now with `verify=True`; results are cached in the cache folder under `home`
    (default: the user's). Raises PackError.
    """
    folder = Path(path)
    stamp = Stamp.of(folder / MANIFEST_FILE)
    manifest = read_manifest(folder)
    for name, entry in manifest.files.items():
        check_size(folder / name, entry)
    pack = Pack(folder, manifest, home)
    pack.used[MANIFEST_FILE] = stamp
    if verify:
        pack.verify()
    logger.info("opened pack %s (%s, %.0f MB)", folder, manifest.name, manifest.total_bytes / 1e6)
    return pack


class Pack:
    """An open pack. Holds no tensors: each `state_dict` or `module` maps its file anew."""

    def __init__(self, path: Path, manifest: Manifest, home: Path | None) -> None:
        self.path = path
        self.manifest = manifest
        self.home = home
        self._verifier = Verifier(cache_folder(home))
        self.used: dict[str, Stamp | None] = {}  # files in use, and their state when they were opened
        self.watch: FileWatch | None = None  # of the mapped files, if the process has one
        self._was_truncated: dict[str, Callable[[], bool]] = {}  # of watched files
        self._kept: dict[str, Any] = {}  # by file, what was read from it
        self._reading = threading.Lock()

    def __repr__(self) -> str:
        about = self.manifest
        recipe = f", recipe {about.recipe}" if about.recipe else ""
        return f"Pack({about.name!r} at {str(self.path)!r}, {about.family}{recipe}, {about.total_bytes / 1e6:.0f} MB)"

    @property
    def config(self) -> ModelConfig:
        return self.manifest.model

    @property
    def tokenizer_path(self) -> Path:
        return self.file(TOKENIZER_FILE)

    @property
    def glossary_path(self) -> Path | None:
        """The glossary that came with the checkpoint, if one did."""
        return self.file(GLOSSARY_FILE) if GLOSSARY_FILE in self.manifest.files else None

    @property
    def lexicon_path(self) -> Path | None:
        """Pronunciations of words, if the model reads phones."""
        return self.file(LEXICON_FILE) if LEXICON_FILE in self.manifest.files else None

    @property
    def code_sounds_path(self) -> Path | None:
        """Which sound of the text each code is, if the codes tell."""
        return self.file(CODE_SOUNDS_FILE) if CODE_SOUNDS_FILE in self.manifest.files else None

    def file(self, name: str) -> Path:
        """Path of a file of the pack, after checking its content. Raises PackError if the pack has no such file."""
        if name not in self.manifest.files:
            raise PackError(f"The pack {self.path} has no file {name!r}.")
        path = self.path / name
        stamp = self._verifier.check(path, self.manifest.files[name])
        if self.watch is not None and name not in self.used:
            self._was_truncated[name] = self.watch.watch(path)
        self.used[name] = stamp
        return path

    def once(self, name: str, read: Callable[[Path], ReadT]) -> ReadT:
        """What `read` makes of a small file of the pack: at the first call, and kept as long as the pack. Thread-safe.

        Each file has one reader. Raises what `read` raises, and PackError as `file`; then the next call reads again.
        """
        with self._reading:
            if name not in self._kept:
                self._kept[name] = read(self.file(name))
            kept: ReadT = self._kept[name]
            return kept

    def is_current(self) -> bool:
        """Whether the folder still holds the files that were loaded. A long-running process reopens the pack if not."""
        return all(Stamp.of(self.path / name) == stamp for name, stamp in self.used.copy().items())

    def check_unchanged(self) -> None:
        """Raise PackError if a file in use was overwritten in place. Replaced and deleted files keep their old
        content."""
        for name, stamp in self.used.copy().items():  # another thread may be opening files
            was_truncated = self._was_truncated.get(name)
            is_cut = was_truncated is not None and was_truncated()
            if is_cut or (stamp is not None and stamp.was_written_into(Stamp.of(self.path / name))):
                raise PackError(
                    f"{self.path / name} was overwritten while it was in use: load the pack again, and replace packs "
                    "by renaming a complete copy instead of copying over them."
                )

    def verify(self, progress: Callable[[str, int, int], None] | None = None) -> None:
        """Read every file and compare its sha256. `progress` gets file name, bytes done, total bytes."""
        done = 0
        for name, entry in self.manifest.files.items():
            if progress is not None:
                progress(name, done, self.manifest.total_bytes)
            self._verifier.check(self.path / name, entry, force=True)
            done += entry.bytes
        if progress is not None:
            progress("", done, self.manifest.total_bytes)

    def shapes(self, component: str) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor of a component, as its network sees them."""
        with _ComponentFile(self, component) as file:
            return {name: file.shape(name) for name in file.names}

    def stored(self, component: str) -> dict[str, Tensor | Quantized]:
        """Every tensor of a component as stored and mapped; nothing is read, dequantized or copied yet."""
        with _ComponentFile(self, component) as file:
            return {
                name: file.quantized(name, "cpu") if name in file.schemes else file.tensor(name, "cpu", None)
                for name in file.names
            }

    def state_dict(
        self,
        component: str,
        device: torch.device | str = "cpu",
        prefix: str = "",
        dtype: torch.dtype | None = torch.float32,
    ) -> dict[str, Tensor]:
        """Tensors of a component whose names begin with `prefix`; the prefix is removed.

        dtype: of floating-point tensors (None: as stored; quantized ones become float32). Integers stay.
        """
        with _ComponentFile(self, component) as file:
            names = [name for name in file.names if name.startswith(prefix)]
            if not names:
                raise PackError(f"Component {component} of {self.path} has no tensors under {prefix!r}.")
            return {name[len(prefix) :]: file.tensor(name, device, dtype) for name in names}

    def module(
        self,
        component: str,
        factory: Callable[[], ModuleT],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        prefix: str = "",
        replace: Replace | None = None,
    ) -> ModuleT:
        """The network that `factory` makes, filled with the component's tensors: eval mode, no gradients.

        The network is built on the meta device and gets the loaded tensors without a copy. Missing, unexpected
        and misshapen tensors are all listed in one PackError. `replace` may take quantized tensors as they
        are stored; those that it leaves are dequantized.
        """
        module = init_on_meta(factory)
        expected = {name: tuple(value.shape) for name, value in module.state_dict().items()}
        with _ComponentFile(self, component) as file:
            stored = {name[len(prefix) :]: file.shape(name) for name in file.names if name.startswith(prefix)}
            problems = compare_shapes(expected, stored)
            if problems:
                raise PackError(
                    f"{file.path} does not fit the dimensions in the manifest: {'; '.join(problems)}; "
                    "convert the pack again."
                )
            taken: Collection[str] = ()
            if replace is not None:
                quantized = [name for name in expected if prefix + name in file.schemes]
                parts = {name: file.quantized(prefix + name, device) for name in quantized}
                taken = frozenset(replace(module, parts))
            tensors = {name: file.tensor(prefix + name, device, dtype) for name in expected if name not in taken}
        module.load_state_dict(tensors, strict=True, assign=True)
        everything = (*module.named_parameters(), *module.named_buffers())
        unfilled = ", ".join(name for name, value in everything if value.is_meta)
        if unfilled:  # a buffer outside the state dict: a bug in the network, not a fault of the pack
            raise RuntimeError(f"{type(module).__name__} has tensors that no pack can fill: {unfilled}")
        logger.debug("loaded %s to %s: %d tensors, %d of them quantized", component, device, len(expected), len(taken))
        return module.eval().requires_grad_(False)


def compare_shapes(expected: dict[str, tuple[int, ...]], found: dict[str, tuple[int, ...]]) -> list[str]:
    """Every missing, unexpected and misshapen tensor, one phrase each."""
    problems = [f"missing tensor {name}" for name in expected if name not in found]
    problems += [f"unexpected tensor {name}" for name in found if name not in expected]
    problems += [
        f"tensor {name} has shape {list(found[name])} instead of {list(shape)}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    return problems


class _ComponentFile:
    """One component's mapped file. Shows the tensors that networks expect, not the parts that are stored."""

    def __init__(self, pack: Pack, component: str) -> None:
        if component not in pack.manifest.components:
            known = ", ".join(pack.manifest.components)
            raise PackError(f"The pack {pack.path} has no component {component!r}; there are {known}.")
        entry: ComponentEntry = pack.manifest.components[component]
        self.path = pack.file(entry.file)
        header = tensor_header(self.path)
        try:
            opened: Any = safe_open(str(self.path), framework="pt", device="cpu")
            self._tensors = MappedTensors(self.path, header)
        except (SafetensorError, OSError) as error:
            what = f"{self.path} is not a valid tensor file ({error})"
            raise PackError(f"{what}; convert the pack again.") from error
        self._file: Any = opened
        if (self._file.metadata() or {}).get("format") != FORMAT:
            raise PackError(f"{self.path} is a tensor file of another program; convert the pack again.")
        self._copied = 0  # bytes, since the pages of the file were last released
        self.schemes = entry.scheme_of()
        self._stored = {name: self._file.get_slice(name) for name in self._file.keys()}  # noqa: SIM118
        self.names = self._logical_names()

    def __enter__(self) -> _ComponentFile:
        return self

    def __exit__(self, *_: object) -> None:
        # Each tensor that was handed out keeps the whole mapping alive. Pages of converted tensors are no longer
        # needed; pages that are used in place are read again when they are used.
        if self._stored:
            give_back_whole(self._tensors.tensor(next(iter(self._stored))))
        self._stored.clear()
        del self._file, self._tensors

    def shape(self, name: str) -> tuple[int, ...]:
        if name in self.schemes:
            return SCHEMES[self.schemes[name].scheme].shape(tuple(self._stored[f"{name}.codes"].get_shape()))
        return tuple(self._stored[name].get_shape())

    def quantized(self, name: str, device: torch.device | str) -> Quantized:
        """The stored parts of a quantized tensor."""
        group = self.schemes[name]
        parts = {part: self._tensors.tensor(f"{name}.{part}").to(device) for part in SCHEMES[group.scheme].parts}
        return Quantized(group.scheme, group.group_size, self.shape(name), parts)

    def tensor(self, name: str, device: torch.device | str, dtype: torch.dtype | None) -> Tensor:
        if name in self.schemes:
            return self.quantized(name, device).decode(dtype or torch.float32)
        tensor = self._tensors.tensor(name)
        moved = tensor.to(device)
        if dtype is not None and tensor.is_floating_point():
            moved = moved.to(dtype)  # after the move: less to transfer if the stored dtype is narrower
        if moved is not tensor:
            self._copied += tensor.nbytes
            if self._copied >= _RELEASE_EVERY_BYTES:
                self._copied = 0
                give_back_whole(tensor)
        return moved

    def _logical_names(self) -> list[str]:
        problems: list[str] = []
        parts: set[str] = set()
        for name, group in self.schemes.items():
            found = len(problems)
            for part, dtype in SCHEMES[group.scheme].parts.items():
                stored = f"{name}.{part}"
                parts.add(stored)
                if stored not in self._stored:
                    problems.append(f"missing tensor {stored}")
                elif DTYPES.get(self._stored[stored].get_dtype()) != dtype:
                    problems.append(f"tensor {stored} is not {dtype}")
            if len(problems) == found:
                problems += self._misfits(name, group)
        for name, stored_slice in self._stored.items():
            if stored_slice.get_dtype() not in DTYPES:
                problems.append(f"tensor {name} has the unknown number format {stored_slice.get_dtype()}")
        if problems:
            listed = "; ".join(problems)
            raise PackError(f"{self.path} does not fit its manifest: {listed}; convert the pack again.")
        return [name for name in self._stored if name not in parts] + list(self.schemes)

    def _misfits(self, name: str, group: SchemeGroup) -> list[str]:
        """Contradictions between the parts of a quantized tensor."""
        shape = self.shape(name)
        problem = layout_problem(group.scheme, group.group_size, shape)
        if problem is not None:
            return [f"tensor {name} {problem}"]
        return [
            f"tensor {name}.{part} has shape {list(found)} instead of {list(wanted)}"
            for part, wanted in SCHEMES[group.scheme].layout(shape, group.group_size).items()
            if (found := tuple(self._stored[f"{name}.{part}"].get_shape())) != wanted
        ]
