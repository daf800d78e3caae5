"""The command line: one file per verb, put together in `app`. Importing it brings in no torch and no numpy."""

from __future__ import annotations


def main() -> None:
    """Entry point of the `edgetts` command."""
    from edgetts.cli.app import run

    run()
