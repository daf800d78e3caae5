"""A seeded synthetic checkpoint of the published layout at mini size, made on the fly.

`component_tensors` gives one component's tensors as upstream stores them (weight norm not folded,
GPT-2 matrices not transposed). Values depend only on seed, component, name and shape, and are those
that the golden tensors beside these tests were computed with.
"""

from __future__ import annotations

import json

import numpy as np
import torch

from helpers import synth
from helpers.paths import DATA


def component_tensors(component: str, seed: int = 0) -> dict[str, torch.Tensor]:
    """Tensors of one of synth.COMPONENTS by upstream name."""
    manifest = json.loads((DATA / "manifest" / f"mini-{component}.json").read_text())
    done: dict[str, np.ndarray] = {}
    for name in sorted(manifest, key=lambda n: (n.endswith("weight_g"), n)):
        done[name] = synth.tensor(component, name, manifest[name], seed, done)
    return {name: torch.from_numpy(np.ascontiguousarray(done[name])) for name in manifest}
