"""What a family of models is made of. Knows no family, and no network."""

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
    enroll_components, run_components: what is loaded to learn a voice, and what is resident while speaking, in the
    order in which a pack is written.
    voice_reference: the field of a voice that the prompt condition is made of, "reference_codes" or
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
