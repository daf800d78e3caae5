"""Shared by the verbs that make a pack: target folder, --force, Hugging Face cache, progress."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from edgetts.cli.common import ProgressBar, environment, mib, print_line

PackFolderArgument = Annotated[str, typer.Argument(metavar="PACK_DIR", help="Folder to make.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace an existing pack.")]
HubCacheOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--hub-cache",
        metavar="DIR",
        help="Hugging Face cache with the auxiliary models, searched after the checkpoint's own folder; "
        "may be repeated. Default: $HF_HUB_CACHE, or Hugging Face's default.",
        show_default=False,
    ),
]


def hub_caches(context: typer.Context, given: Sequence[Path] | None) -> list[Path]:
    """The existing cache folders."""
    return [folder for folder in given or [environment(context).hub_cache] if folder.is_dir()]


def shares(progress: ProgressBar) -> Callable[[str, int, int], None]:
    """A callback for `quant`, which reports bytes done and bytes in all, that updates the progress bar."""
    return lambda what, done, total: progress(what, done / max(total, 1))


def print_ready(pack: str, n_bytes: int, seconds: float) -> None:
    print_line(f"{pack}: {mib(n_bytes)} in {seconds:.0f} s, ready for `edgetts say --pack {pack}`.")
