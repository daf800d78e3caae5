"""Types of progress callbacks."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, float], None]  # current stage, progress (0 to 1)
CountedProgress = Callable[[str, int, int], None]  # current stage, units done, units in all (bytes, texts)


def no_progress(_what: str, _share: float) -> None:
    """The default: does nothing."""
