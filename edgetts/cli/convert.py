"""`edgetts convert`: a published checkpoint becomes a model pack. The work is done by `quant.convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgetts.cli.common import JsonOption, Progress, QuietOption, environment, print_json
from edgetts.errors import UsageError

DTYPES = ("fp32", "fp16")


def convert(
    context: typer.Context,
    checkpoint: Annotated[
        str, typer.Argument(metavar="CHECKPOINT_DIR", help="Folder of the published checkpoint, as downloaded.")
    ],
    pack: Annotated[str, typer.Argument(metavar="PACK_DIR", help="Folder to make.")],
    dtype: Annotated[str, typer.Option("--dtype", metavar="fp32|fp16", help="Number type of the weights.")] = "fp32",
    force: Annotated[bool, typer.Option("--force", help="Replace a pack that is there.")] = False,
    hub_cache: Annotated[
        list[Path] | None,
        typer.Option(
            "--hub-cache",
            metavar="DIR",
            help="Hugging Face cache to look for the auxiliary models in, after the checkpoint's own folder; "
            "may be repeated. Default: $HF_HUB_CACHE, or where Hugging Face keeps it.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Turn a downloaded IndexTTS-2 checkpoint into a model pack.

    The pack appears whole or not at all; an interrupted conversion can be run again.

    Example:

        edgetts convert IndexTTS-2 indextts2.pack --dtype fp16
    """
    if dtype not in DTYPES:
        raise UsageError(f"--dtype is {dtype!r}; allowed are {' and '.join(DTYPES)}.")
    from quant.convert import convert as make_pack

    caches = hub_cache if hub_cache else [environment(context).hub_cache]
    with Progress(enabled=not quiet) as progress:
        made = make_pack(
            Path(checkpoint),
            Path(pack),
            dtype=dtype,
            force=force,
            hub_caches=[folder for folder in caches if folder.is_dir()],
            progress=lambda what, done, total: progress(what, done / max(total, 1)),
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
            }
        )
    elif not quiet:
        print(f"{pack}: {made.n_bytes / 2**20:.0f} MiB in {made.seconds:.0f} s, ready for `edgetts say --pack {pack}`.")
