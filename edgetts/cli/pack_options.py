"""What the verbs that make a pack share: where to, what may be replaced, where auxiliary models lie, progress."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from edgetts.cli.common import ProgressBar, environment, mib, print_line

PackFolderArgument = Annotated[str, typer.Argument(metavar="PACK_DIR", help="Folder to make.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace a pack that is there.")]
HubCacheOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--hub-cache",
        metavar="DIR",
        help="Hugging Face cache to look for the auxiliary models in, after the checkpoint's own folder; "
        "may be repeated. Default: $HF_HUB_CACHE, or where Hugging Face keeps it.",
        show_default=False,
    ),
]


def hub_caches(context: typer.Context, given: Sequence[Path] | None) -> list[Path]:
    """The folders to look into, of those that there are."""
    return [folder for folder in given or [environment(context).hub_cache] if folder.is_dir()]


def shares(progress: ProgressBar) -> Callable[[str, int, int], None]:
    """What `quant` reports, bytes done of bytes in all, as the progress bar takes it."""
    return lambda what, done, total: progress(what, done / max(total, 1))


def print_ready(pack: str, n_bytes: int, seconds: float) -> None:
    print_line(f"{pack}: {mib(n_bytes)} in {seconds:.0f} s, ready for `edgetts say --pack {pack}`.")
