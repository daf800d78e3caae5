"""`Family`: the description of a family of models. Knows no particular family and no network."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType

from edgetts.pack.config import ModelConfig


@dataclass(frozen=True)
class Family:
    """One family.

    name: in manifests and voice files. title: for people. folder: its package, with a file for each part (the
    package's docstring lists them). model: the dataclass of its dimensions.
    enroll_components: loaded to enroll a voice. run_components: resident while speaking. Both in the order in which a
    pack is written.
    voice_reference: the field of a voice from which the prompt condition is computed, "reference_codes" or
    "reference_features".
    """

    name: str
    title: str
    folder: str
    model: type[ModelConfig]
    enroll_components: tuple[str, ...]
    run_components: tuple[str, ...]
    voice_reference: str

    @property
    def components(self) -> tuple[str, ...]:
        """All components of a pack, each once."""
        return tuple(dict.fromkeys(self.enroll_components + self.run_components))

    def part(self, name: str) -> ModuleType:
        """A module of the family's folder, imported when it is needed."""
        return importlib.import_module(f"{self.folder}.{name}")
