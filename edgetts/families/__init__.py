"""The model families, as data: one folder each, and this list of them.

A family's folder holds everything that only that family has, in files that each belong to one layer:

  dims.py          its `ModelConfig`, its relations, and its `Family`: components by phase
  networks.py      component -> network, with classes of its own where no other family has them
  features.py, frontend.py, parity.py, voice.py, work.py: the family's own part of these layers
  checkpoint.py    the published files: names, wrappers, keys of `config.yaml`, where each component's tensors lie

No other module branches on the family: each asks the model's `Family`, or one of the files above by name. Importing
this package does not import torch.
"""

from __future__ import annotations

from edgetts.families.family import Family
from edgetts.families.indextts2.dims import INDEXTTS_2
from edgetts.families.indextts25.dims import INDEXTTS_25
from edgetts.pack.config import ModelConfig

FAMILIES: dict[str, Family] = {family.name: family for family in (INDEXTTS_2, INDEXTTS_25)}
UNNAMED_FAMILY = INDEXTTS_2.name  # family of packs, voices and encoders from before there were two families
UNKNOWN_FAMILIES = {
    "indextts-1.5": "IndexTTS-1.5",
    "indextts-1": "IndexTTS 1",
}  # older families; edgetts cannot run them

ALL_COMPONENTS = tuple(dict.fromkeys(name for family in FAMILIES.values() for name in family.components))


def family_of(config: ModelConfig) -> Family:
    """The family of a model."""
    return FAMILIES[config.family]


__all__ = ["ALL_COMPONENTS", "FAMILIES", "UNKNOWN_FAMILIES", "UNNAMED_FAMILY", "Family", "family_of"]
