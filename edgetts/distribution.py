"""What is installed: the distribution's name, how its extras are installed, and where the recipes lie.

The distribution cannot be called `edgetts`: package indexes take that for `edge-tts`. Command and import are `edgetts`.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

DISTRIBUTION = "edgetts-runtime"  # as in pyproject.toml
UPGRADE = f"pip install -U {DISTRIBUTION}"
REINSTALL = f"pip install --force-reinstall --no-deps {DISTRIBUTION}"


def install(extra: str) -> str:
    """The command that installs an extra, such as "serve"."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"


def recipes_folder() -> Path:
    """The folder of the built-in recipes: `recipes/` of a checkout, `edgetts/recipes` where it is installed."""
    found = importlib.util.find_spec("edgetts.recipes")
    places = list(found.submodule_search_locations or ()) if found is not None else []
    return Path(places[0]).resolve() if places else Path(__file__).parent / "recipes"
