"""Shell completion of voices, packs, presets and recipes, from folders and tables.

In: the beginning of a word. Out: the names that begin with it. Does not import torch, opens no pack and raises no
errors: unreadable folders give no names.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from edgetts.cli.environment import Environment


def voices(incomplete: str) -> list[str]:
    """Voices of the user's folder, and those of the built-in pack."""
    from edgetts.pack.entries import VOICE_SUFFIX
    from edgetts.pack.locate import builtin_pack, data_folder

    own = _names(data_folder(_home()) / "voices", VOICE_SUFFIX)
    ready = _names(builtin_pack() / "voices", VOICE_SUFFIX)
    return _beginning([*own, *ready], incomplete)


def own_voices(incomplete: str) -> list[str]:
    """Voices of the user's folder alone."""
    from edgetts.pack.entries import VOICE_SUFFIX
    from edgetts.pack.locate import data_folder

    return _beginning(_names(data_folder(_home()) / "voices", VOICE_SUFFIX), incomplete)


def packs(incomplete: str) -> list[str]:
    """Packs with a name, the built-in one too."""
    from edgetts.pack.locate import BUILTIN, known_packs

    return _beginning([*known_packs(_home()), BUILTIN], incomplete)


def own_packs(incomplete: str) -> list[str]:
    """Packs of the user's folder alone."""
    from edgetts.pack.locate import known_packs

    return _beginning(known_packs(_home()), incomplete)


def presets(incomplete: str) -> list[str]:
    """Named sets of options."""
    from edgetts.options import PRESETS

    return _beginning(PRESETS, incomplete)


def recipes(incomplete: str) -> list[str]:
    """Recipes that come with the package, and `auto`."""
    from edgetts.distribution import recipes_folder

    return _beginning(["auto", *_names(recipes_folder(), ".toml")], incomplete)


def emotions(incomplete: str) -> list[str]:
    """`NAME=` for the last emotion of a comma-separated list."""
    from edgetts.voices.emotion import EMOTIONS

    done, comma, begun = incomplete.rpartition(",")
    return [f"{done}{comma}{name}=" for name in EMOTIONS if name.startswith(begun)]


def _home() -> Path | None:
    return Environment.read(os.environ).home


def _names(folder: Path, suffix: str = "") -> list[str]:
    try:
        found = sorted(path.name for path in folder.iterdir() if path.name.endswith(suffix))
    except OSError:
        return []
    return [name.removesuffix(suffix) for name in found if not name.startswith(".")]


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return list(dict.fromkeys(name for name in names if name.startswith(incomplete)))
