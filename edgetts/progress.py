"""How long work tells how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, float], None]  # what is being done, and how far it is (0 to 1)
CountedProgress = Callable[[str, int, int], None]  # what is being done, how much of it, of how much (bytes, texts)


def no_progress(_what: str, _share: float) -> None:
    """For callers that do not want to know."""
