"""`edgetts convert`: converts a published checkpoint to a model pack, by `edgetts.quant.convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgetts.cli.common import JsonOption, ProgressBar, QuietOption, print_json, print_notice
from edgetts.cli.pack_options import ForceOption, HubCacheOption, PackFolderArgument, hub_caches, print_ready, shares
from edgetts.errors import UsageError

DTYPES = ("fp32", "fp16")


def convert(
    context: typer.Context,
    checkpoint: Annotated[
        str, typer.Argument(metavar="CHECKPOINT_DIR", help="Folder of the published checkpoint, as downloaded.")
    ],
    pack: PackFolderArgument,
    dtype: Annotated[str, typer.Option("--dtype", metavar="fp32|fp16", help="Number type of the weights.")] = "fp32",
    force: ForceOption = False,
    hub_cache: HubCacheOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Convert a downloaded checkpoint of IndexTTS-2.5 or IndexTTS-2 to a model pack.

    The pack is written atomically; an interrupted conversion can be run again.

    Example:

        edgetts convert IndexTTS-2.5 indextts25.pack --dtype fp16
    """
    if dtype not in DTYPES:
        raise UsageError(f"--dtype is {dtype!r}; allowed are {' and '.join(DTYPES)}.")
    from edgetts.quant.convert import convert as make_pack

    with ProgressBar(enabled=not quiet) as progress:
        made = make_pack(
            Path(checkpoint),
            Path(pack),
            dtype=dtype,
            force=force,
            hub_caches=hub_caches(context, hub_cache),
            progress=shares(progress),
        )
    if as_json:
        print_json(
            {
                "pack": made.path,
                "dtype": dtype,
                "bytes": made.n_bytes,
                "seconds": round(made.seconds, 3),
                "reused": made.reused,
                "left_out": made.left_out,
                "notice": made.notice,
            }
        )
    elif not quiet:
        if made.notice:
            print_notice(made.notice)
        print_ready(pack, made.n_bytes, made.seconds)
