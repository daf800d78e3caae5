"""The command line: one file per verb, put together in `app`. Importing it brings in no torch and no numpy."""

from __future__ import annotations

from edgetts.cli.interrupt import end_quietly


def main() -> None:
    """Entry point of the `edgetts` command."""
    end_quietly()  # until `run` has something to unwind: the imports take a third of a second
    from edgetts.cli.app import run

    run()
