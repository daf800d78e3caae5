"""Finding and opening the files of a published checkpoint.

In: the folder that upstream's downloader fills, or a Hugging Face hub cache. Out: the path of every file
that conversion needs, and tensors by name, read lazily from memory-mapped files. Pickles are opened with
`weights_only=True` and nowhere else in the project. Knows no network and no dimension.

Source: upstream indextts/utils/model_download.py (where files lie), infer_v2.py (how they are wrapped).
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from edgetts.errors import CheckpointError
from edgetts.pack import mapped
from quant.lazy import LazyTensor

CONFIG_FILE = "config.yaml"
GLOSSARY_FILE = "glossary.yaml"
CACHE_FOLDER = "hf_cache"
_ZIP_MAGIC = b"PK\x03\x04"  # the archive that torch has written since 1.6; only that can be mapped


@dataclass(frozen=True)
class AuxiliaryFile:
    """A file of a model that upstream takes from another publisher."""

    repo: str  # on the Hugging Face hub
    inside: str  # path within that repository
    flat: tuple[str, ...]  # where upstream's downloader may have put it under hf_cache


W2V_BERT = AuxiliaryFile("facebook/w2v-bert-2.0", "model.safetensors", ("w2v-bert-2.0/model.safetensors",))
W2V_BERT_CONFIG = AuxiliaryFile("facebook/w2v-bert-2.0", "config.json", ("w2v-bert-2.0/config.json",))
SEMANTIC_CODEC = AuxiliaryFile(
    "amphion/MaskGCT",
    "semantic_codec/model.safetensors",
    ("semantic_codec_model.safetensors", "semantic_codec/model.safetensors"),
)
CAMPPLUS = AuxiliaryFile("funasr/campplus", "campplus_cn_common.bin", ("campplus_cn_common.bin",))
BIGVGAN_REPO = "nvidia/bigvgan_v2_22khz_80band_256x"
BIGVGAN = AuxiliaryFile(BIGVGAN_REPO, "bigvgan_generator.pt", ("bigvgan/bigvgan_generator.pt",))
BIGVGAN_CONFIG = AuxiliaryFile(BIGVGAN_REPO, "config.json", ("bigvgan/config.json",))
AUXILIARY_FILES = {
    "w2vbert": W2V_BERT,
    "w2vbert_config": W2V_BERT_CONFIG,
    "codec": SEMANTIC_CODEC,
    "campplus": CAMPPLUS,
    "bigvgan": BIGVGAN,
    "bigvgan_config": BIGVGAN_CONFIG,
}


def checkpoint_folder(path: Path) -> Path:
    """The folder that holds `config.yaml`: `path` itself, or the snapshot inside a hub repository folder.

    Raises CheckpointError when there is none, naming what the folder seems to be.
    """
    if not path.is_dir():
        what = "is a file, not a folder" if path.exists() else "does not exist"
        raise CheckpointError(f"The checkpoint {path} {what}: give the folder that holds {CONFIG_FILE}.")
    snapshots = _snapshots(path)
    folder = snapshots[0] if snapshots and not (path / CONFIG_FILE).is_file() else path
    if (folder / CONFIG_FILE).is_file():
        return folder
    if (folder / "manifest.json").is_file():
        raise CheckpointError(f"{path} is a model pack already: use it as it is.")
    if (folder / "dvae.pth").is_file() or (folder / "bigvgan_generator.pth").is_file():
        raise CheckpointError(
            f"{path} is an IndexTTS 1.x checkpoint, which is another model: download IndexTeam/IndexTTS-2."
        )
    if (folder / "codec.pth").is_file():
        raise CheckpointError(
            f"{path} is an IndexTTS-2.5 checkpoint, which cannot be converted yet: download IndexTeam/IndexTTS-2."
        )
    raise CheckpointError(
        f"{path} is not a published checkpoint: it holds no {CONFIG_FILE}; give the folder that "
        "IndexTeam/IndexTTS-2 was downloaded to."
    )


def locate_files(folder: Path, own: Mapping[str, str], hub_caches: Sequence[Path] = ()) -> dict[str, Path]:
    """Path of every file of a checkpoint by key: `own` (key -> name inside `folder`) and AUXILIARY_FILES.

    `hub_caches`: further Hugging Face cache folders to look into. Raises CheckpointError listing every
    missing file and where it is published.
    """
    found: dict[str, Path] = {}
    missing: list[str] = []
    for key, name in own.items():
        if (folder / name).is_file():
            found[key] = folder / name
        else:
            missing.append(f"{name} (from IndexTeam/IndexTTS-2)")
    roots = [folder / CACHE_FOLDER, folder, *hub_caches]
    if folder.parent.name == "snapshots":  # the checkpoint lies in a hub cache: its neighbours may too
        roots.append(folder.parent.parent.parent)
    for key, auxiliary in AUXILIARY_FILES.items():
        path = _find(auxiliary, roots)
        if path is None:
            missing.append(f"{CACHE_FOLDER}/{auxiliary.flat[0]} ({auxiliary.inside} from {auxiliary.repo})")
        else:
            found[key] = path
    if missing:
        raise CheckpointError(
            f"The checkpoint {folder} lacks {len(missing)} file(s): {'; '.join(missing)}. Fetch them with "
            f"`edgetts download {folder}`, or let upstream's own download fill {folder / CACHE_FOLDER}."
        )
    return found


def open_safetensors(path: Path) -> dict[str, LazyTensor]:
    """Tensors of a safetensors file by name. Raises CheckpointError."""
    try:
        file: Any = safe_open(str(path), framework="pt", device="cpu")
        return {name: _lazy_slice(file, name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}): download it again.") from error


def open_pickled(path: Path, unwrap: Sequence[str] = ()) -> dict[str, LazyTensor]:
    """Tensors of a file written by `torch.save`, by dotted name.

    `unwrap`: keys to descend into first, each where present. Raises CheckpointError, also when the file
    holds anything that is not a tensor.
    """
    value = load_pickled(path)
    for key in unwrap:
        if isinstance(value, dict) and key in value:
            value = value[key]
    tensors: dict[str, LazyTensor] = {}
    strange: list[str] = []
    _flatten(value, "", tensors, strange)
    if strange or not tensors:
        what = "; ".join(strange[:10]) or "no tensors"
        raise CheckpointError(f"{path} is not the checkpoint file it should be: it holds {what}.")
    return tensors


def load_pickled(path: Path) -> Any:
    """What `torch.save` wrote, mapped where the format allows. Raises CheckpointError."""
    try:
        with path.open("rb") as file:
            can_map = file.read(len(_ZIP_MAGIC)) == _ZIP_MAGIC
        return torch.load(path, map_location="cpu", weights_only=True, mmap=can_map)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} cannot be read: it is damaged or holds more than tensors, and such a file is never run; "
            "download it again."
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path} cannot be read ({reason}): download it again.") from error


def _flatten(value: Any, prefix: str, tensors: dict[str, LazyTensor], strange: list[str]) -> None:
    if isinstance(value, torch.Tensor):
        tensors[prefix] = LazyTensor.of_file(value.detach())
    elif isinstance(value, dict):
        for key, item in value.items():
            # Checkpoints of distributed training carry one "module." more.
            name = str(key).removeprefix("module.")
            _flatten(item, f"{prefix}.{name}" if prefix else name, tensors, strange)
    else:
        strange.append(f"{prefix or 'the file'}, a {type(value).__name__}")


def _lazy_slice(file: Any, name: str) -> LazyTensor:
    view = file.get_slice(name)
    dtype = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64}.get(
        view.get_dtype(), torch.int64
    )
    return LazyTensor(
        tuple(view.get_shape()),
        dtype,
        lambda: file.get_tensor(name),
        lambda: mapped.give_back(file.get_tensor(name)),  # the mapping, again: nothing is read
    )


def _find(auxiliary: AuxiliaryFile, roots: Sequence[Path]) -> Path | None:
    for root in roots:
        for name in auxiliary.flat:
            if (root / name).is_file():
                return root / name
        repository = root / ("models--" + auxiliary.repo.replace("/", "--"))
        holding = [s / auxiliary.inside for s in _snapshots(repository) if (s / auxiliary.inside).is_file()]
        if holding:
            return holding[0]
    return None


def _snapshots(repository: Path) -> list[Path]:
    """Snapshot folders of a hub repository, the one that `refs/main` names first."""
    folder = repository / "snapshots"
    if not folder.is_dir():
        return []
    main = repository / "refs" / "main"
    current = main.read_text().strip() if main.is_file() else ""
    return sorted((s for s in folder.iterdir() if s.is_dir()), key=lambda s: (s.name != current, s.name))
