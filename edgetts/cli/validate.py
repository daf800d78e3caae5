"""`edgetts validate`: compares the stages of a pack with golden tensors or with plain fp32."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgetts.cli.common import (
    ComputeOption,
    DeviceOption,
    JsonOption,
    ProgressBar,
    compute_name,
    environment,
    print_json,
)

if TYPE_CHECKING:
    from edgetts.parity import Row

EXIT_FAILED = 1


def validate(
    context: typer.Context,
    pack: Annotated[str, typer.Argument(metavar="PACK", help="Pack folder or name.")],
    golden: Annotated[
        str | None,
        typer.Option(
            "--golden",
            metavar="DIR",
            help="Folder with the golden tensors of every stage. Default: compare with plain fp32 on this machine.",
        ),
    ] = None,
    component: Annotated[
        str | None, typer.Option("--component", metavar="NAME", help="Only this stage, such as gpt or vocoder.")
    ] = None,
    compute: ComputeOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run every stage of a pack on given inputs and compare the outputs with expected ones.

    With --golden, inputs and outputs are those of the upstream implementation. Without it, inputs are noise, and the
    expected outputs are computed in plain fp32 without compiled kernels, with the same weights. Errors are in units
    of the expected tensor's standard deviation; tolerances depend on the compute dtype; codes and texts must be
    equal. The exit code is 1 if anything fails.

    Examples:

        edgetts validate my.pack --compute fast

        edgetts validate full.pack --golden golden/full --component gpt
    """
    from edgetts import parity
    from edgetts.backends.device import choose_device
    from edgetts.backends.kernels import AUTO
    from edgetts.compute import DEFAULT_COMPUTE
    from edgetts.pack.load import open_pack
    from edgetts.pack.locate import locate_pack

    compute_mode = compute_name(compute) or DEFAULT_COMPUTE
    known = environment(context)
    located = locate_pack(pack, known.home)
    chosen = choose_device(device or known.device or "auto")
    with ProgressBar() as progress:
        opened = open_pack(located.path, home=known.home)
        how: dict[str, Any] = {
            "device": chosen,
            "compute": compute_mode,
            "kernel": known.kernel or AUTO,
            "progress": progress,
        }
        if golden is None:
            rows = parity.compare_paths(opened, component, **how)
        else:
            rows = parity.validate(opened, golden, component, **how)
    failed = [row for row in rows if not row.passed]
    if as_json:
        print_json(
            {
                "pack": located.path.absolute(),
                "passed": not failed,
                "rows": [
                    {
                        "stage": row.stage,
                        "tensor": row.tensor,
                        "error": row.error,
                        "tolerance": row.tolerance,
                        "passed": row.passed,
                        "detail": row.detail,
                    }
                    for row in rows
                ],
            }
        )
    else:
        _print_table(rows)
        verdict = f"{len(failed)} of {len(rows)} failed" if failed else f"all {len(rows)} passed"
        print(f"\n{verdict}")
    if failed:
        raise typer.Exit(EXIT_FAILED)


def _print_table(rows: list[Row]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for title in ("stage", "tensor", "max error", "tolerance", "verdict", "detail"):
        table.add_column(title, justify="right" if title in ("max error", "tolerance") else "left")
    for row in rows:
        verdict = Text("ok", style="green") if row.passed else Text("FAILED", style="bold red")
        table.add_row(
            Text(row.stage), Text(row.tensor), _number(row.error), _number(row.tolerance), verdict, Text(row.detail)
        )
    # A file or pipe gets all columns.
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 160).print(table)


def _number(value: float) -> str:
    return f"{value:.3g}"
