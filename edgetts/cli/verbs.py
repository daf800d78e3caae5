"""The verbs of `edgetts`, in the order of its help. Each is imported when it is used: `edgetts say` pays for no other.

In: names. Out: Typer's commands.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

import typer
from typer.main import get_group

# Name to module and attribute: a function, or a Typer with verbs of its own.
VERBS = {
    "say": "edgetts.cli.say.verb:say",
    "voices": "edgetts.cli.voices:app",
    "setup": "edgetts.cli.setup.verb:setup",
    "packs": "edgetts.cli.packs:app",
    "download": "edgetts.cli.download:download",
    "convert": "edgetts.cli.convert:convert",
    "quantize": "edgetts.cli.quantize:quantize",
    "doctor": "edgetts.cli.doctor.verb:doctor",
    "info": "edgetts.cli.info:info",
    "validate": "edgetts.cli.validate:validate",
    "serve": "edgetts.cli.serve:serve",
    "service": "edgetts.cli.service:app",
    "bench": "edgetts.cli.bench:bench",
    "warmup": "edgetts.cli.warmup:warmup",
}


class Verbs(Mapping[str, Any]):
    """Commands by name; each is made when it is first asked for."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            module, _, attribute = VERBS[name].partition(":")
            self._made[name] = _command(name, getattr(importlib.import_module(module), attribute))
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in VERBS

    def __iter__(self) -> Iterator[str]:
        return iter(VERBS)

    def __len__(self) -> int:
        return len(VERBS)


def _command(name: str, verb: Any) -> Any:
    """As Typer makes it for an app that has this verb alone."""
    alone = typer.Typer(add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False)
    if isinstance(verb, typer.Typer):
        alone.add_typer(verb, name=name)
    else:
        alone.command(name)(verb)
    return get_group(alone).commands[name]
