"""Running `edgetts` inside the tests."""

from __future__ import annotations

from collections.abc import Callable

from typer.testing import CliRunner, Result

Edgetts = Callable[..., Result]


def run_edgetts(*arguments: object, input: str | bytes | None = None) -> Result:
    """`edgetts ARGUMENTS` in this process."""
    from edgetts.cli.app import app

    return CliRunner().invoke(app, [str(a) for a in arguments], input=input, prog_name="edgetts")
