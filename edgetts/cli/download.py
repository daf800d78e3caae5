"""`edgetts download`: fetches a published checkpoint, by `edgetts.quant.download`.

Here are the question about the licenses, the progress bar and the messages.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgetts.cli.common import (
    JsonOption,
    QuietOption,
    TerminalBar,
    environment,
    print_json,
    print_line,
    print_notice,
    stopping,
)
from edgetts.cli.hubs import HUGGING_FACE, MirrorOption, hubs
from edgetts.cli.setup.ask import tell
from edgetts.cli.setup.licenses import agree
from edgetts.errors import UsageError, one_line
from edgetts.pack.locate import DEFAULT_PACK, data_folder, packs_folder

if TYPE_CHECKING:
    from edgetts.quant.download import Plan

DESCRIPTION_WIDTH = 24
_GIB = 1 << 30


def download(
    context: typer.Context,
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR",
            help="Target folder; an incomplete one is completed. Default: checkpoints/ and the model's name in the "
            "user's data folder.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="NAME",
            help="IndexTTS-2.5 or IndexTTS-2. Default: what the folder is called or holds, else IndexTTS-2.5.",
            show_default=False,
        ),
    ] = None,
    source: Annotated[
        str, typer.Option("--source", metavar="huggingface|modelscope", help="Whose hub to download from.")
    ] = HUGGING_FACE,
    mirror: MirrorOption = None,
    revision: Annotated[
        str, typer.Option("--revision", metavar="REV", help="Branch, tag or commit of the model's repository.")
    ] = "main",
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Agree to the licenses of the models without being asked.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace files in the folder that differ from the published ones.")
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Fetch a published checkpoint, of IndexTTS-2.5 or IndexTTS-2, and the models it needs, for `edgetts convert`.

    The same command resumes an interrupted download. Every file is checked against its publisher's checksum.

    Example:

        edgetts download IndexTTS-2.5
    """
    if not revision.strip():
        raise UsageError("--revision is empty: give a branch, a tag or a commit, or leave it out.")
    found = environment(context)
    from edgetts.quant.download import choose_family, plan_download
    from edgetts.quant.download import download as fetch

    family = choose_family(folder, model)
    hub, other_hub = hubs(source, mirror, found)
    target = folder if folder is not None else data_folder(found.home) / "checkpoints" / family.title

    with stopping("nothing was downloaded"):
        with ByteProgressBar(enabled=not quiet) as progress:
            plan = plan_download(
                target,
                family,
                hub=hub,
                other_hub=other_hub,
                reuse=[found.hub_cache],
                revision=revision,
                replace=force,
                progress=progress,
            )
        if not plan.agreed:
            tell(amount(plan))
            agree(plan.licenses, accepted=yes, flag="--yes")
        elif plan.missing and not quiet:
            print_notice(amount(plan))
    resumes = "the same command resumes the download"
    with stopping(resumes), ByteProgressBar(enabled=not quiet, lines=not quiet) as progress:
        done = fetch(plan, progress=progress)
    command = shlex.join(["edgetts", "convert", str(target), str(_pack_to_make(found.home))])
    if as_json:
        print_json(
            {
                "folder": done.folder,
                "bytes": done.n_bytes,
                "fetched": done.fetched,
                "commits": done.commits,
                "licenses": plan.licenses,
                "next": command,
            }
        )
    elif not quiet:
        what = f"{len(done.fetched)} files fetched" if done.fetched else "nothing was missing"
        print_line(f"{target}: complete and checked, {done.n_bytes / _GIB:.2f} GiB, {what}. Convert it with:")
        print_line(f"    {command}")


def amount(plan: Plan) -> str:
    """What is to be fetched from where, a sentence."""
    others = "".join(f" ({name} from {address})" for name, address in plan.elsewhere.items())
    copied = f" {plan.copy_bytes / _GIB:.2f} GiB are on this machine already and are copied." if plan.copies else ""
    return (
        f"{plan.fetch_bytes / _GIB:.2f} of {plan.total_bytes / _GIB:.2f} GiB are to be fetched from "
        f"{plan.hub.endpoint}{others} into {plan.folder}.{copied}"
    )


def _pack_to_make(home: Path | None) -> Path:
    """The default pack's folder, or another one if it exists."""
    packs = packs_folder(home)
    return packs / ("indextts2" if (packs / DEFAULT_PACK).exists() else DEFAULT_PACK)


class ByteProgressBar(TerminalBar):
    """Progress in bytes: a bar on a terminal; elsewhere, if `lines`, a line for each file."""

    def __init__(self, *, enabled: bool, lines: bool = False) -> None:
        super().__init__(enabled=enabled)
        self._prints_lines = lines and not (sys.stderr is not None and sys.stderr.isatty())
        self._what = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        if self._prints_lines and what != self._what:
            print_notice(f"Fetching {what}.")
        self._what = what
        file = one_line(what).partition(" of ")[0]  # without the repository, one line of a terminal is enough
        self._show(file[:DESCRIPTION_WIDTH], done, total)

    def _columns(self) -> list[Any]:
        from rich.progress import DownloadColumn, TimeRemainingColumn, TransferSpeedColumn

        return [DownloadColumn(binary_units=True), TransferSpeedColumn(), TimeRemainingColumn()]
