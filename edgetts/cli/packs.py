"""`edgetts packs`: the model packs of this machine, and which one is the default. Imports no torch.

A pack is removed only if this program wrote all of it; `quant.staging` does that with handles of the folders, so that
nothing else is removed even if another program changes them meanwhile.
"""

from __future__ import annotations

import difflib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from edgetts.cli import complete
from edgetts.cli.common import JsonOption, ProgressBar, QuietOption, environment, print_error, print_json, print_line
from edgetts.cli.environment import Environment
from edgetts.cli.pack_use import users_of
from edgetts.errors import PackError, UsageError, one_line
from edgetts.pack.default_pack import forget_default, read_default, write_default
from edgetts.pack.locate import (
    BUILTIN,
    DEFAULT_PACK,
    MANIFEST,
    builtin_pack,
    data_folder,
    known_packs,
    locate_pack,
    packs_folder,
)

app = typer.Typer(
    help="Keep model packs under names, and choose the one that speaks by default.",
    invoke_without_command=True,
    rich_markup_mode="markdown",
)

_MB = 1_000_000
_DATE = "%Y-%m-%d"
_BROKEN = "broken"

PackName = Annotated[str, typer.Argument(metavar="PACK", autocompletion=complete.packs)]
OwnNames = Annotated[list[str], typer.Argument(metavar="NAME...", autocompletion=complete.own_packs)]


@dataclass(frozen=True)
class Entry:
    """A pack of the list. date: when its manifest was written, in seconds since 1970."""

    name: str
    path: Path
    is_default: bool
    model: str = ""
    family: str = ""
    recipe: str = ""
    n_bytes: int = 0
    date: float = 0.0
    problem: str = ""  # why it cannot be used, a sentence

    @property
    def day(self) -> str:
        return time.strftime(_DATE, time.localtime(self.date))


@app.callback()
def packs(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command("list")
def list_packs(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the packs: name, model, recipe, size, date; `*` marks the one that speaks by default.

    Example:

        edgetts packs list
    """
    known = environment(context)
    entries, problem = _entries(known)
    if as_json:
        print_json(
            {
                "folder": packs_folder(known.home),
                "packs": [
                    {
                        "name": entry.name,
                        "path": entry.path.absolute(),
                        "default": entry.is_default,
                        "model": entry.model or None,
                        "family": entry.family or None,
                        "recipe": entry.recipe or None,
                        "bytes": entry.n_bytes,
                        "date": None if entry.problem else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(entry.date)),
                        "problem": entry.problem or None,
                    }
                    for entry in entries
                ],
                "problem": problem,
            }
        )
        return
    width = max((len(one_line(entry.name)) for entry in entries), default=0)
    for entry in entries:
        mark = "*" if entry.is_default else " "
        if entry.problem:
            print_line(f"{mark} {one_line(entry.name):<{width}}  {_BROKEN}: {entry.problem}")
            continue
        size = f"{entry.n_bytes / _MB:.0f} MB"
        about = f"{one_line(entry.model):<14}  {one_line(entry.recipe):<18}  {size:>8}  {entry.day}"
        print_line(f"{mark} {one_line(entry.name):<{width}}  {about}")
    if problem is not None:
        print_error(problem)


@app.command("use")
def use(context: typer.Context, pack: PackName, as_json: JsonOption = False, quiet: QuietOption = False) -> None:
    """Make a pack the default: a name of `edgetts packs list`, a folder, or builtin.

    A running daemon that was started without a pack of its own takes this one within seconds, once nobody speaks.

    Example:

        edgetts packs use indextts-2.5
    """
    from edgetts.pack.manifest import read_manifest

    known = environment(context)
    located = locate_pack(pack, known.home)
    manifest = read_manifest(located.path)
    write_default(data_folder(known.home), reference_of(located.path, known.home))
    if as_json:
        print_json({"default": located.path.absolute(), "name": manifest.name, "recipe": manifest.recipe})
    elif not quiet:
        print_line(f"{manifest.name} ({located.path}) speaks from now on where no other pack is named.")
        if known.pack is not None:
            print_line(f"EDGETTS_PACK is set to {known.pack} and comes before that.")


@app.command("remove")
def remove(
    context: typer.Context,
    names: OwnNames,
    force: Annotated[bool, typer.Option("--force", help="Also a pack that a program has open.")] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Delete packs by name. Checkpoints and voices stay.

    Example:

        edgetts packs remove indextts-2-cpu-x86
    """
    from edgetts.quant.staging import finish_removal, is_torn, remove_pack
    from edgetts.quant.target import own_pack

    known = environment(context)
    folders = {name: _removable(name, known.home, is_torn) for name in dict.fromkeys(names)}
    for name, folder in folders.items():  # all are checked before any is removed
        if not (folder / MANIFEST).exists():  # a removal that was interrupted
            continue
        own_pack(folder)
        users = users_of(folder, known.daemon_socket)
        if users and not force:
            raise UsageError(
                f"The pack {name} is in use by {', '.join(users)}: stop that first (the daemon: `edgetts service "
                "uninstall`, or where it was started), or remove the pack all the same with --force."
            )
    chosen = None
    for name, folder in folders.items():
        chosen = read_default(data_folder(known.home)) if chosen is None else chosen
        if (folder / MANIFEST).exists():
            remove_pack(folder)
        else:
            finish_removal(folder)
        if chosen in (name, str(folder.absolute())):
            forget_default(data_folder(known.home))
    if as_json:
        print_json({"removed": list(folders.values())})
    elif not quiet:
        for name, folder in folders.items():
            print_line(f"Removed {name} ({folder}).")
        if chosen in folders:
            print_line(f"It was the default; {_default_now(known.home)}")


@app.command("verify")
def verify(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PACK...]", help="Default: all of the list.", autocompletion=complete.packs),
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Read every file of packs and compare it with its checksum; exit code 1 if one differs.

    Example:

        edgetts packs verify
    """
    known = environment(context)
    if names:
        folders = {name: locate_pack(name, known.home).path for name in names}
    else:
        folders = {entry.name: entry.path for entry in _entries(known)[0]}
    problems: dict[str, str | None] = {}
    for name, folder in folders.items():
        with ProgressBar(enabled=not quiet) as progress:
            problems[name] = _problem_of(folder, known, progress)
        if not as_json:
            _print_verdict(name, folder, problems[name], quiet=quiet)
    if as_json:
        print_json({"packs": [{"name": n, "path": folders[n].absolute(), "problem": p} for n, p in problems.items()]})
    if any(problems.values()):
        raise typer.Exit(1)


@app.command("path")
def path(
    context: typer.Context,
    pack: Annotated[
        str | None,
        typer.Argument(metavar="[PACK]", help="Default: the folder of all packs.", autocompletion=complete.packs),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print where packs are kept, or the folder of one.

    Example:

        edgetts packs path builtin
    """
    known = environment(context)
    folder = packs_folder(known.home) if pack is None else locate_pack(pack, known.home).path
    if as_json:
        print_json({"path": folder.absolute()})
    else:
        print(os.fspath(folder.absolute()))


def reference_of(folder: Path, home: Path | None) -> str:
    """The stored reference to a pack: its name if it has one, else its absolute path."""
    resolved = folder.resolve()
    if resolved == builtin_pack():
        return BUILTIN if not (packs_folder(home) / BUILTIN).exists() else str(resolved)
    names = [name for name, path in known_packs(home).items() if path.resolve() == resolved]
    return names[0] if names else str(resolved)


def entry_of(name: str, folder: Path, *, is_default: bool) -> Entry:
    """The list's entry of a pack; an unreadable pack has a `problem`."""
    from edgetts.pack.manifest import read_manifest
    from edgetts.pack.verify import check_size

    try:
        manifest = read_manifest(folder)
        for file, about in manifest.files.items():
            check_size(folder / file, about)
        date = (folder / MANIFEST).stat().st_mtime
    except (PackError, OSError) as error:
        text = str(error) if isinstance(error, PackError) else f"{folder}: {(error.strerror or str(error)).lower()}."
        return Entry(name, folder, is_default, problem=text)
    return Entry(
        *(name, folder, is_default, manifest.name, manifest.family, manifest.recipe, manifest.total_bytes, date)
    )


def _entries(known: Environment) -> tuple[list[Entry], str | None]:
    """All packs: those with a name, the default if it has none, the built-in one; and why there is no default."""
    folders = known_packs(known.home)
    default, problem = None, None
    try:
        default = locate_pack(None, known.home).path
    except PackError as error:
        problem = str(error)
    resolved = None if default is None else default.resolve()
    found = dict(folders)
    if (builtin_pack() / MANIFEST).is_file() and BUILTIN not in found:
        found[BUILTIN] = builtin_pack()
    if default is not None and resolved not in {folder.resolve() for folder in found.values()}:
        found[str(default)] = default
    return [entry_of(n, folder, is_default=folder.resolve() == resolved) for n, folder in found.items()], problem


def _removable(name: str, home: Path | None, is_torn: Callable[[Path], bool]) -> Path:
    """The folder of a pack with this name, or of one whose removal was interrupted. Raises UsageError for others."""
    folder = packs_folder(home) / name if name and Path(name).name == name else None
    if name == BUILTIN and (folder is None or not folder.exists()):
        raise UsageError("The built-in pack is a part of edgetts and cannot be removed.")
    if folder is not None and folder.is_symlink():
        raise UsageError(f"{folder} is a link to {os.readlink(folder)}, which stays: remove the link yourself.")  # noqa: PTH115
    names = known_packs(home)
    if folder is None or (name not in names and not is_torn(folder)):
        close = difflib.get_close_matches(name, names, n=1)
        there = f"there are {', '.join(names)}" if names else "there are none"
        hint = f"did you mean {close[0]}?" if close else f"{there}."
        raise UsageError(f"{name[:80]!r} is not the name of a pack in {packs_folder(home)}: {hint}")
    return folder


def _default_now(home: Path | None) -> str:
    try:
        located = locate_pack(None, home)
    except PackError as error:
        return str(error)
    name = "the built-in pack" if located.is_builtin else str(located.path)
    rule = f" (the one called {DEFAULT_PACK})" if located.path.name == DEFAULT_PACK else ""
    return f"{name}{rule} speaks now. Choose another with `edgetts packs use NAME`."


def _problem_of(folder: Path, known: Environment, progress: ProgressBar) -> str | None:
    """The first file that is not as it was written; None for an intact pack."""
    from edgetts.pack.locate import cache_folder
    from edgetts.pack.manifest import read_manifest
    from edgetts.pack.verify import Verifier

    verifier, done = Verifier(cache_folder(known.home)), 0
    try:
        manifest = read_manifest(folder)
        for name, entry in manifest.files.items():
            progress(f"checking {name}", done / max(manifest.total_bytes, 1))
            verifier.check(folder / name, entry, force=True)
            done += entry.bytes
    except PackError as error:
        return str(error)
    except OSError as error:
        return f"{folder} cannot be read ({(error.strerror or str(error)).lower()})."
    return None


def _print_verdict(name: str, folder: Path, problem: str | None, *, quiet: bool) -> None:
    if problem is not None:
        print_error(problem)
    elif not quiet:
        print_line(f"{one_line(name)}: intact ({folder})")
