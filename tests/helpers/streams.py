"""Streams on the mini pack."""

from __future__ import annotations

import threading

QUICK = {"n_beams": 1, "n_steps": 2, "max_codes": 45, "guards": False, "seed": 3}


TEXT = "One two three. Four five six!"


def own_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("edgetts-")]
