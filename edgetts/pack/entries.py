"""What a manifest is made of, as dataclasses, and the names of a pack's files.

`edgetts.pack.manifest` reads and writes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgetts.files import TENSORS_SUFFIX
from edgetts.pack.config import ModelConfig

MANIFEST_FILE = "manifest.json"
TOKENIZER_FILE = "tokenizer.json"
GLOSSARY_FILE = "glossary.yaml"
LEXICON_FILE = "lexicon.txt"
PRONOUNCER_FILE = "pronouncer.safetensors"
CODE_SOUNDS_FILE = "code_sounds.json"  # which sound of the text each code is, for models whose codes tell
SPEECH_LEVEL_FILE = "speech_level.json"  # at which every voice speaks, for models that even it out
READY_VOICES = "voices/"  # prefix of the voice files that come with the pack
VOICE_SUFFIX = TENSORS_SUFFIX

EMOTION = "emotion"
FEATURES = (EMOTION,)  # that a model may lack: callers may ask for them, but its speech does not change
DTYPES = ("float32", "float16", "bfloat16")
SCHEMES = ("int8_channel", "int4_group", "nf4_group")  # besides unquantized storage; see `edgetts.pack.schemes`

MAKE_AGAIN = "make the pack again with `edgetts convert CHECKPOINT PACK`"


@dataclass(frozen=True)
class FileEntry:
    bytes: int
    sha256: str


@dataclass(frozen=True)
class SchemeGroup:
    """Tensors of one component that are stored with one scheme."""

    scheme: str  # one of SCHEMES
    group_size: int | None  # values that share a scale along the input; None: the whole row
    tensors: tuple[str, ...]


@dataclass(frozen=True)
class ComponentEntry:
    file: str
    dtype: str  # of the large unquantized tensors; small ones may be wider
    schemes: tuple[SchemeGroup, ...]

    def scheme_of(self) -> dict[str, SchemeGroup]:
        """Scheme by name, for quantized tensors."""
        return {name: group for group in self.schemes for name in group.tensors}


@dataclass(frozen=True)
class Manifest:
    """A valid manifest. `edgetts.pack.manifest` describes the fields."""

    family: str
    name: str
    description: str
    created_by: str
    recipe: str
    license: str
    encoder_id: str
    model: ModelConfig
    text: Mapping[str, Any]
    defaults: Mapping[str, Any]
    components: Mapping[str, ComponentEntry]
    files: Mapping[str, FileEntry]
    quality: Mapping[str, Any] | None = field(default=None)
    without: tuple[str, ...] = ()

    @property
    def total_bytes(self) -> int:
        return sum(entry.bytes for entry in self.files.values())

    @property
    def s2mel_id(self) -> str:
        """Identifies the S2Mel that an adapted voice belongs to: the sha256 of its file."""
        return self.files[self.components["s2mel"].file].sha256

    def ready_voices(self) -> dict[str, str]:
        """Voices that came with the pack: name to file, in order."""
        files = sorted(f for f in self.files if f.startswith(READY_VOICES) and f.endswith(VOICE_SUFFIX))
        return {f[len(READY_VOICES) : -len(VOICE_SUFFIX)]: f for f in files}
