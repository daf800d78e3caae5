"""`edgetts quantize`: quantizes a checkpoint or a pack for a machine, by `edgetts.quant.quantize`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from edgetts.cli import complete
from edgetts.cli.common import JsonOption, ProgressBar, QuietOption, environment, print_json, print_line, print_notice
from edgetts.cli.pack_options import ForceOption, HubCacheOption, PackFolderArgument, hub_caches, print_ready, shares
from edgetts.cli.text_input import read_text_file
from edgetts.pack.locate import BUILTIN, builtin_pack


def quantize(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            metavar="CHECKPOINT_OR_PACK",
            help="Folder of the published checkpoint or of a pack; `builtin`: the built-in pack.",
        ),
    ],
    pack: PackFolderArgument,
    recipe: Annotated[
        str,
        typer.Option(
            "--recipe",
            "-r",
            metavar="NAME|FILE",
            help="Name of a recipe, a TOML file, or auto for this machine.",
            autocompletion=complete.recipes,
        ),
    ] = "auto",
    force: ForceOption = False,
    report: Annotated[
        bool, typer.Option("--report/--no-report", help="Compare the result with its source: takes minutes.")
    ] = True,
    texts: Annotated[
        str | None,
        typer.Option("--texts", metavar="FILE", help="Texts to calibrate and measure with, one a line. [built-in]"),
    ] = None,
    voice: Annotated[
        Path | None,
        typer.Option("--voice", metavar="FILE", help="Recording or voice file to calibrate and measure with."),
    ] = None,
    hub_cache: HubCacheOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make a smaller, faster model pack for a machine, and measure the loss of quality.

    The pack is written atomically; an interrupted run is resumed by the same command.

    Example:

        edgetts quantize IndexTTS-2.5 indextts25.pack --recipe laptop-4gb
    """
    lines = None if texts is None else [line.strip() for line in read_text_file(texts).splitlines() if line.strip()]
    folder = Path(source)
    if source == BUILTIN and not folder.exists():
        folder = builtin_pack()
    from edgetts.quant.quantize import quantize as make_pack
    from edgetts.quant.quantize import resolve_recipe

    recipe, reason = resolve_recipe(recipe)
    if reason and not quiet:
        print_notice(f"Recipe {recipe}: {reason}.")
    with ProgressBar(enabled=not quiet) as progress:
        made = make_pack(
            folder,
            Path(pack),
            recipe,
            force=force,
            measure=report,
            texts=lines,
            voice=voice,
            hub_caches=hub_caches(context, hub_cache),
            home=environment(context).home,
            progress=shares(progress),
        )
    if as_json:
        print_json(
            {
                "pack": made.path,
                "recipe": made.recipe,
                "reason": reason,
                "bytes": made.n_bytes,
                "seconds": round(made.seconds, 3),
                "reused": made.reused,
                "quality": made.quality,
                "kept": made.kept,
                "notice": made.notice,
            }
        )
    elif not quiet:
        if made.notice:
            print_notice(made.notice)
        if made.kept:
            print_notice(
                f"{_listed(made.kept)} are already quantized in {source}, or have fewer bits than the recipe "
                f"{made.recipe} asks for, and stay unchanged: quantizing them again would lose quality."
            )
        print_ready(pack, made.n_bytes, made.seconds)
        if made.quality is not None:
            gpt = made.quality["gpt"]
            print_line(
                f"The GPT's most likely code equals the original's in {100 * gpt['top1']:.1f} % of cases (KL "
                f"{gpt['kl_mean']:.3g} nats); all figures and plots are in {Path(pack) / 'report.html'}."
            )


def _listed(kept: Mapping[str, int]) -> str:
    """The numbers of unchanged tensors by component, as the beginning of a sentence."""
    *before, last = (f"{count} of {component}" for component, count in kept.items())
    return f"Tensors ({', '.join(before)} and {last})" if before else f"Tensors ({last})"
