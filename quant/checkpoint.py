"""Finding the files of a published checkpoint.

In: the folder that upstream's downloader fills, or a Hugging Face hub cache. Out: the path of every file
that conversion needs, checked not to be a Git LFS pointer or a web page. `weights` reads them. It does not know
networks or dimensions.

Source: upstream indextts/utils/model_download.py (where files lie), infer_v2.py (how they are wrapped).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from edgetts.errors import CheckpointError, UsageError
from edgetts.pack.plain_json import shown
from edgetts.quant.upstream_config import UpstreamConfig, alternatives
from edgetts.text.glossary import MAX_FILE_BYTES, Glossary

CONFIG_FILE = "config.yaml"
GLOSSARY_FILE = "glossary.yaml"
CACHE_FOLDER = "hf_cache"
_LFS_POINTER = b"version https://git-lfs"  # start of a Git LFS pointer
_WEB_PAGE = (b"<!doctype html", b"<html")
_HEAD_BYTES = 64
_TORCH_SUFFIXES = (".pth", ".pt")
TWIN_SUFFIX = ".safetensors"
_SUFFIXES = (".yaml", *_TORCH_SUFFIXES, TWIN_SUFFIX, ".model", ".tiktoken")
_OUTSIDE = "outside of the checkpoint"


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
            f"{path} is an IndexTTS 1.x checkpoint, which is another model: download {alternatives()}."
        )
    raise CheckpointError(
        f"{path} is not a published checkpoint: it holds no {CONFIG_FILE}; give the folder that "
        f"{alternatives()} was downloaded to."
    )


def locate_files(folder: Path, upstream: UpstreamConfig, hub_caches: Sequence[Path] = ()) -> dict[str, Path]:
    """Path of every file of a checkpoint by key: its own, and those of other publishers that its family needs.

    A file that torch wrote may have a `.safetensors` twin in its place. `hub_caches`: further Hugging Face cache
    folders to look into. Raises CheckpointError listing every missing file and where it is published.
    """
    own, published = upstream.files, upstream.published
    found: dict[str, Path] = {}
    missing: list[str] = []
    strange = [name for name in own.values() if not _is_plain(name)]
    if strange:
        raise CheckpointError(
            f"{CONFIG_FILE} of {folder} names {', '.join(map(shown, strange))}, which is not a file in that folder: "
            "download it again."
        )
    for key, name in own.items():
        there = next((path for path in _twins(folder / name) if path.is_file()), None)
        if there is not None:
            found[key] = there
        else:
            missing.append(f"{name} (from {published.repository})")
    roots = _roots(folder, hub_caches)
    for key in published.auxiliary:
        auxiliary = AUXILIARY_FILES[key]
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
    check_contents(folder, list(found.values()))
    return found


def _twins(path: Path) -> tuple[Path, ...]:
    """A file, and the same tensors in the other format."""
    return (path, path.with_suffix(TWIN_SUFFIX)) if path.suffix in _TORCH_SUFFIXES else (path,)


def present(folder: Path, hub_caches: Sequence[Path] = ()) -> list[Path]:
    """Existing files of a checkpoint, even if its configuration is unreadable."""
    own = [path for path in sorted(folder.iterdir()) if path.suffix in _SUFFIXES and path.is_file()]
    others = [_find(auxiliary, _roots(folder, hub_caches)) for auxiliary in AUXILIARY_FILES.values()]
    return own + [path for path in others if path is not None]


def check_contents(folder: Path, paths: Sequence[Path]) -> None:
    """Raises CheckpointError naming all Git LFS pointers and web pages among the files."""
    pointers, pages = [], []
    for path in dict.fromkeys(paths):
        try:
            with path.open("rb") as file:
                head = file.read(_HEAD_BYTES)
        except OSError as error:
            reason = error.strerror or str(error)
            raise CheckpointError(f"{path} cannot be read ({reason}): check its permissions.") from error
        if head.startswith(_LFS_POINTER):
            pointers.append(f"{path} ({path.stat().st_size} bytes)")
        elif head.lstrip().lower().startswith(_WEB_PAGE):
            pages.append(str(path))
    if pointers:
        raise CheckpointError(
            f"{len(pointers)} file(s) of the checkpoint are Git LFS pointers, not the files themselves: "
            f"{', '.join(pointers)}. Fetch the files with `git lfs pull` where the repository was cloned, or with "
            f"`edgetts download {folder} --force`."
        )
    if pages:
        raise CheckpointError(
            f"{len(pages)} file(s) of the checkpoint are web pages, perhaps ones to log in: {', '.join(pages)}. Fetch "
            f"the files with `edgetts download {folder} --force`."
        )


def glossary_of(folder: Path) -> bytes | None:
    """The checkpoint's glossary, validated; None if there is none. Raises CheckpointError."""
    path = folder / GLOSSARY_FILE
    if not os.path.lexists(path):
        return None
    # A hub cache links every file to its blobs; links to other places are refused.
    repository = folder.parent.parent if folder.parent.name == "snapshots" else folder
    try:
        meant = path.resolve(strict=True)
        if repository.resolve() not in meant.parents:
            raise UsageError(f"The glossary {path} is a link to {meant}, {_OUTSIDE}.")
        data = None
        if meant.is_file():  # opening a FIFO would block
            with meant.open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        if data is None or len(data) > MAX_FILE_BYTES:
            raise UsageError(f"The glossary {path} is not a file of at most {MAX_FILE_BYTES} bytes.")
        Glossary.parse(data, f"The glossary {path}")
    except (OSError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise CheckpointError(f"The glossary {path} cannot be read ({reason}): fix or remove it.") from error
    except UsageError as error:
        raise CheckpointError(f"{str(error).rstrip('.')}: fix or remove it, then convert again.") from error
    return data


def _roots(folder: Path, hub_caches: Sequence[Path]) -> list[Path]:
    """Where to look for the auxiliary models."""
    roots = [folder / CACHE_FOLDER, folder, *hub_caches]
    if folder.parent.name == "snapshots":  # in a hub cache: the auxiliary models may be there, too
        roots.append(folder.parent.parent.parent)
    return roots


def _is_plain(name: str) -> bool:
    """Whether a name stays inside the folder."""
    path = PurePath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and name.isprintable()


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
    current = main.read_text(errors="replace").strip() if main.is_file() else ""
    return sorted((s for s in folder.iterdir() if s.is_dir()), key=lambda s: (s.name != current, s.name))
