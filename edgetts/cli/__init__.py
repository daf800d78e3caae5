"""The command line: one file per verb, registered in `app`. Importing it does not import torch or numpy."""

from __future__ import annotations

from edgetts.cli.interrupt import exit_on_interrupt


def main() -> None:
    """Entry point of the `edgetts` command."""
    exit_on_interrupt()  # during the imports, which take a third of a second
    from edgetts.cli.app import run

    run()
