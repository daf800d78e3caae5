"""Folders where a pack goes, and what lies in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgetts.pack.entries import MANIFEST_FILE
from edgetts.quant.staging import StagingFolder
from edgetts.quant.target import check_target

PLANNED = ("gpt.safetensors", "s2mel.safetensors", MANIFEST_FILE)


def tree(folder: Path) -> dict[str, object]:
    """Everything in a folder: content of files, where links lead, which folders there are."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        else:
            found[name] = path.read_bytes() if path.is_file() else None
    return found


def fill(path: Path, force: bool = True) -> None:
    """Put a pack of one file at `path`, as the writer does."""
    folder = StagingFolder(check_target(path, force=force), PLANNED)
    with folder.create("gpt.safetensors") as file:
        file.write(b"new")
    folder.publish(force=force)


def documents(folder: Path) -> Path:
    folder.mkdir()
    (folder / "thesis.tex").write_text("years of work")
    return folder


Make = Callable[[Path], Path]
