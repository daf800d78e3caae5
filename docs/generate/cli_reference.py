"""The reference of the command line, from the program's own commands. In: nothing. Out: Markdown."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from edgetts.cli.app import app


def markdown() -> str:
    root: Any = get_command(app)
    parts = ["## edgetts\n", _text(root.help), _options(root)]
    for name, command in root.commands.items():
        parts += _command(f"edgetts {name}", command, level=2)
    return "\n".join(parts)


def _command(path: str, command: Any, level: int) -> Iterator[str]:
    if command.hidden:
        return
    yield f"\n{'#' * level} {path}\n"
    yield _text(command.help or command.short_help)
    subcommands: dict[str, Any] = getattr(command, "commands", {})
    if not subcommands:
        arguments = " ".join(_argument(p) for p in command.params if p.param_type_name == "argument")
        yield f"```\n{path} [OPTIONS] {arguments}".rstrip() + "\n```\n"
        yield _arguments(command)
    yield _options(command)
    for name, below in subcommands.items():
        yield from _command(f"{path} {name}", below, level + 1)


def _argument(parameter: Any) -> str:
    shown: str = parameter.metavar or parameter.name.upper()
    return shown if parameter.required or shown.startswith("[") else f"[{shown}]"


def _arguments(command: Any) -> str:
    rows = [
        f"- `{_argument(p)}`: {_line(p.help)}" for p in command.params if p.param_type_name == "argument" and p.help
    ]
    return "\n".join(rows) + "\n" if rows else ""


def _options(command: Any) -> str:
    """A table for each panel of the help."""
    panels: dict[str, list[str]] = {}
    for parameter in command.params:
        if parameter.param_type_name != "option" or parameter.hidden:
            continue
        names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
        value = "" if parameter.is_flag or parameter.count else f" `{parameter.metavar or _type(parameter)}`"
        panel = getattr(parameter, "rich_help_panel", None) or "Options"
        panels.setdefault(panel, []).append(f"| {names}{value} | {_line(parameter.help)} |")
    tables = []
    for panel, rows in panels.items():
        title = f"**{panel}**\n\n" if len(panels) > 1 else ""
        tables.append(title + "| option | what it does |\n|---|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(tables)


def _type(parameter: Any) -> str:
    """What kind of value an option takes. Newer versions of Typer keep the Python type, older ones click's."""
    descriptor = getattr(parameter, "type_descriptor", None)
    name = str(parameter.type.name) if descriptor is None else getattr(descriptor.annotation, "__name__", "text")
    return "NUMBER" if name.lower() in ("int", "integer", "float") else "PATH" if name.lower() == "path" else "TEXT"


def _line(text: str | None) -> str:
    """One line of a table or list: bars would end a cell, except in code, where nothing is replaced."""
    parts = " ".join((text or "").split()).split("`")
    parts[::2] = [re.sub(r"<(\w)", r"&lt;\1", part).replace("|", "&#124;") for part in parts[::2]]
    return "`".join(parts)


def _text(help_text: str | None) -> str:
    """A help text as Markdown: it is written as such, and its indented lines are commands."""
    text = inspect.cleandoc(help_text or "").replace("\f", "")
    return re.sub(r"(?:^    .*\n?\n?)+", lambda code: _fenced(code[0]), text, flags=re.MULTILINE) + "\n"


def _fenced(code: str) -> str:
    lines = [line.strip() for line in code.splitlines() if line.strip()]
    return "```bash\n" + "\n".join(lines) + "\n```\n\n"
