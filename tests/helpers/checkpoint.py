"""A seeded synthetic checkpoint of the published layout at mini size, made on the fly.

`component_tensors` gives one component's tensors as upstream stores them (weight norm not folded,
GPT-2 matrices not transposed). Values depend only on seed, component, name and shape, and are those
that the golden tensors beside these tests were computed with.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from helpers import synth
from helpers.paths import DATA

_TEXT_TABLES = ("text_embedding.weight", "text_head.weight", "text_head.bias")


def component_tensors(
    component: str, seed: int = 0, folder: Path = DATA, n_text_rows: int | None = None
) -> dict[str, torch.Tensor]:
    """Tensors of one of synth.COMPONENTS by upstream name. folder: of the family's manifests.

    n_text_rows: of the tables of text; None: as in the manifest.
    """
    manifest = json.loads((folder / "manifest" / f"mini-{component}.json").read_text())
    for name in _TEXT_TABLES if n_text_rows is not None else ():
        if name in manifest:
            manifest[name]["shape"][0] = n_text_rows
    done: dict[str, np.ndarray] = {}
    for name in sorted(manifest, key=lambda n: (n.endswith("weight_g"), n)):
        done[name] = synth.tensor(component, name, manifest[name], seed, done)
    return {name: torch.from_numpy(np.ascontiguousarray(done[name])) for name in manifest}
