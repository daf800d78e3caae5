"""Folders of packs, voices and caches on this machine, and the pack to use by default.

In: a path, a pack's name or None, and optionally a home folder. Out: paths. Reads no environment variables: the
command line reads them once and passes the home folder. Opens no pack.

Under the home folder (or, without one, platformdirs' data and cache folders): `packs/`, `voices/`,
`cache/`. The default pack is the one that was chosen (`edgetts.pack.default_pack`), else `packs/default`, else the one
that comes with the package.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from edgetts.errors import PackError
from edgetts.pack.default_pack import read_default

APP_NAME = "edgetts"
DEFAULT_PACK = "default"
BUILTIN = "builtin"  # name of the pack that comes with the package, unless a pack of the user has that name
MANIFEST = "manifest.json"
BUILTIN_NOTICE = (
    "This is the small built-in demonstration model: `edgetts setup` fetches a published one, IndexTTS-2.5 or "
    "IndexTTS-2, and makes it ready for this machine."
)


@dataclass(frozen=True)
class LocatedPack:
    """A pack folder that exists; its contents are checked when it is opened."""

    path: Path
    is_builtin: bool

    @property
    def notice(self) -> str | None:
        """What to tell the user once about this choice of pack."""
        return BUILTIN_NOTICE if self.is_builtin else None


def data_folder(home: Path | None = None) -> Path:
    """The folder of data that cannot be made again: packs and named voices."""
    return home if home is not None else platformdirs.user_data_path(APP_NAME, appauthor=False)


def cache_folder(home: Path | None = None) -> Path:
    """The folder of data that can be made again, such as cached voices of recordings."""
    return home / "cache" if home is not None else platformdirs.user_cache_path(APP_NAME, appauthor=False)


def packs_folder(home: Path | None = None) -> Path:
    """The folder of packs with a name, one subfolder each."""
    return data_folder(home) / "packs"


def builtin_pack() -> Path:
    """The folder of the demonstration pack in the installed package; it may be absent."""
    return Path(__file__).resolve().parents[1] / "builtin" / "tiny"


def known_packs(home: Path | None = None) -> dict[str, Path]:
    """The packs with a name, in alphabetical order: folders in `packs/` with a manifest, whatever is in it."""
    folder = packs_folder(home)
    try:
        names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return {}
    return {name: folder / name for name in names if (folder / name / MANIFEST).is_file()}


def locate_pack(given: str | os.PathLike[str] | None = None, home: Path | None = None) -> LocatedPack:
    """The pack that `given` names: a folder, the name of a folder in `packs/`, `builtin`, or None for the default.

    Raises PackError when there is none.
    """
    if given is not None:
        return _named(os.fspath(given), home)
    chosen = read_default(data_folder(home))
    if chosen is not None:
        return _chosen(chosen, home)
    default = packs_folder(home) / DEFAULT_PACK
    if default.exists():
        return LocatedPack(default, is_builtin=False)
    builtin = builtin_pack()
    if (builtin / MANIFEST).is_file():
        return LocatedPack(builtin, is_builtin=True)
    raise PackError(
        "There is no model pack on this machine yet: make one with `edgetts setup`, or give a pack folder with pack=."
    )


def _chosen(chosen: str, home: Path | None) -> LocatedPack:
    """The default pack that the user chose. Raises PackError if it is gone."""
    path = packs_folder(home) / chosen  # an absolute path stays itself
    if (path / MANIFEST).is_file():
        return LocatedPack(path, is_builtin=path.resolve() == builtin_pack())
    if chosen == BUILTIN and (builtin_pack() / MANIFEST).is_file():
        return LocatedPack(builtin_pack(), is_builtin=True)
    raise PackError(
        f"The default pack {chosen} is not there anymore (no pack at {path}): choose another with "
        f"`edgetts packs use NAME`{_there_are(home)}."
    )


def _named(given: str, home: Path | None) -> LocatedPack:
    packs = packs_folder(home)
    try:
        path = Path(given).expanduser()
        is_name = bool(given) and Path(given).name == given and given not in (os.curdir, os.pardir)
        # A folder here with the same name takes precedence only if it is a pack.
        is_known = is_name and (packs / given / MANIFEST).is_file() and not (path / MANIFEST).is_file()
        if given and path.exists() and not is_known:
            return LocatedPack(path, is_builtin=path.resolve() == builtin_pack())
        if is_name and (packs / given).exists():
            return LocatedPack(packs / given, is_builtin=False)
        if given == BUILTIN and (builtin_pack() / MANIFEST).is_file():
            return LocatedPack(builtin_pack(), is_builtin=True)
    except (OSError, ValueError, RuntimeError) as error:  # too long, a zero byte, no such user in ~user
        reason = error.strerror if isinstance(error, OSError) else error
        raise PackError(
            f"{given[:80]!r} is not a possible path of a pack ({reason}); give a folder with pack=."
        ) from None
    import difflib

    close = difflib.get_close_matches(given, known_packs(home), n=1) if is_name else []
    hint = f" (did you mean {close[0]}?)" if close else _there_are(home)
    raise PackError(
        f"There is no model pack at {given if given else repr(given)}; give a folder that `edgetts convert` wrote, "
        f"or the name of one in {packs}{hint}."
    )


def _there_are(home: Path | None) -> str:
    names = list(known_packs(home))
    return f" (there are {', '.join(names)})" if names else ""
