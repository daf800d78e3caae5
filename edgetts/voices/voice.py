"""A voice: the result of enrollment, as one `.safetensors` file of a few hundred KB.

The encoders are needed once, at enrollment. What the prompt condition is made of depends on the family of models:
codes of the recording, which the run phase looks up in the codebook that it has loaded anyway, for 1/1000 of the space;
or the recording's features themselves.

Shapes: `B` is 1 throughout, `C` the GPT's width, `T` codes or features at 50 Hz, `M` mel bands, `F` mel frames.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetts.errors import VoiceError
from edgetts.families import FAMILIES, UNNAMED_FAMILY
from edgetts.files import create_file, replace_file
from edgetts.pack.header import METADATA, read_header
from edgetts.pack.plain_json import InvalidJSON, listed
from edgetts.voices.description import (
    MAX_REFERENCE_SECONDS,
    METADATA_KEY,
    TENSORS,
    check_language,
    declared_problems,
    read_about,
)

if TYPE_CHECKING:
    import torch

    from edgetts.pack.config import ModelConfig

_MAX_FILE_BYTES = 64 * 2**20
_OWNER_ONLY = 0o600  # a voice is private
_LARGEST = 1e6  # of any number


@dataclass(frozen=True, eq=False)
class Voice:
    """An enrolled voice.

    conditioning_latents (1, N, C): the speaker, for the GPT.
    emotion_vector (1, C): the recording's own emotion.
    emotion_base (1, C): the same from the speaker path; the starting point when another emotion is mixed in.
    style (1, D): speaker embedding for S2Mel.
    reference_codes (1, T): semantic codes of the recording, int64; or None, and
    reference_features (1, T, W): its semantic features.
    reference_mel (1, M, F): its log-mel spectrogram, the prompt of S2Mel.
    encoder_id: identifies the encoders that made it; a pack with others refuses the voice.
    family: of the model that they belong to.
    seconds: length of the recording used.
    name, notices: for people.
    offsets (1, N): of an adapted voice, added to S2Mel's conditions (`edgetts.voices.adapt`), else None.
    mel_map (1, M, M + 1): of a voice with a matched spectrum (`edgetts.voices.spectrum`), else None.
    adapted_to, adapt_steps: the S2Mel that the offsets and the map were made with, and the offsets in how many steps.
    language: of texts for which none is given, one of `ALL_LANGUAGES`; None: found for each sentence.
    level_db: of its speech as the networks make it, in dB relative to full scale (`edgetts.voices.level`); None: not
      measured, and its speech gets no gain.
    """

    conditioning_latents: torch.Tensor
    emotion_vector: torch.Tensor
    emotion_base: torch.Tensor
    style: torch.Tensor
    reference_mel: torch.Tensor
    encoder_id: str
    seconds: float
    reference_codes: torch.Tensor | None = None
    reference_features: torch.Tensor | None = None
    family: str = UNNAMED_FAMILY
    name: str = ""
    notices: tuple[str, ...] = field(default=())
    offsets: torch.Tensor | None = None
    mel_map: torch.Tensor | None = None
    adapted_to: str = ""
    adapt_steps: int = 0
    language: str | None = None
    level_db: float | None = None

    def __eq__(self, other: object) -> bool:
        """Whether all fields and all values of tensors are equal."""
        if not isinstance(other, Voice):
            return NotImplemented
        return all(_same(getattr(self, each.name), getattr(other, each.name)) for each in fields(self))

    def __hash__(self) -> int:
        return hash((self.encoder_id, self.name, self.seconds))

    def __repr__(self) -> str:
        adapted = f", adapted in {self.adapt_steps} steps" if self.offsets is not None else ""
        adapted += ", spectrum matched" if self.mel_map is not None else ""
        return f"Voice({self.name!r}, {self.seconds:.1f} s of speech{adapted}, encoders {self.encoder_id[:12]})"

    def save(self, path: str | Path, *, replace: bool = True) -> Path:
        """Write the voice file atomically.

        replace: overwrite an existing file; otherwise FileExistsError, also if it appears during the write. Raises
        VoiceError if the file cannot be written.
        """
        from safetensors.torch import save

        target = Path(path)
        held = {name: getattr(self, name) for name, _, _ in TENSORS}
        tensors = {name: value.detach().cpu().contiguous() for name, value in held.items() if value is not None}
        about: dict[str, Any] = {
            "format_version": 1,
            "encoder_id": self.encoder_id,
            "seconds": self.seconds,
            "name": self.name,
            "notices": list(self.notices),
        }
        if self.level_db is not None:  # a reader that does not know it speaks without the gain
            about["level_db"] = self.level_db
        if self.offsets is not None:
            about |= {"format_version": 2, "adapted_to": self.adapted_to, "adapt_steps": self.adapt_steps}
        if self.mel_map is not None:
            about["adapted_to"] = self.adapted_to
        if self.family != UNNAMED_FAMILY:
            about |= {"format_version": 3, "family": self.family}
        if self.language is not None:
            about |= {"format_version": 4, "language": check_language(self.language)}
        if self.mel_map is not None:
            about |= {"format_version": 5, "matched": True}
        data = save(tensors, metadata={METADATA_KEY: json.dumps(about, ensure_ascii=False)})
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            (replace_file if replace else create_file)(target, data, mode=_OWNER_ONLY)
        except FileExistsError:
            raise
        except OSError as error:
            raise VoiceError(f"Cannot write the voice file {target}: {error.strerror or error}.") from error
        return target

    @classmethod
    def load(cls, path: str | Path) -> Voice:
        """Read a voice file. Raises VoiceError, naming the file, if it is not a valid one."""
        import torch
        from safetensors import SafetensorError, safe_open

        from edgetts.pack.mapped_tensors import MappedTensors

        source = Path(path)
        try:
            size = source.stat().st_size
        except OSError as error:
            raise VoiceError(f"Cannot read the voice file {source}: {error.strerror or error}.") from error
        if not source.is_file() or size > _MAX_FILE_BYTES:
            raise VoiceError(
                f"{source} is not a voice file: it must be a file of at most {_MAX_FILE_BYTES // 2**20} MB. "
                "Make one with `edgetts voices add NAME RECORDING`."
            )
        try:
            header = read_header(source)  # checked before safetensors reads it
            about = read_about((header.pop(METADATA, None) or {}).get(METADATA_KEY), source)
            matched = about.pop("matched")
            adapted = about["adapt_steps"] > 0 or (about["adapted_to"] and not matched)
            optional = {name for name, made in (("offsets", adapted), ("mel_map", matched)) if not made}
            problems = declared_problems(header, FAMILIES[about["family"]], may_lack=optional)
            if problems:
                raise VoiceError(f"{source} is not a usable voice file: {listed(problems)}.")
            with safe_open(source, framework="pt"):  # raises if it is not valid
                file = MappedTensors(source, header)
                tensors: dict[str, Any] = {name: file.tensor(name) for name in header}
        except (InvalidJSON, SafetensorError, OSError) as error:
            raise VoiceError(
                f"{source} is damaged or not a voice file ({error}). "
                "Make it again with `edgetts voices add NAME RECORDING`."
            ) from error
        for name, _, whole in TENSORS:
            if name in tensors:
                value = tensors[name] = tensors[name].to(torch.int64 if whole else torch.float32)
                # False for NaN. Real values stay below a hundred; far larger ones would overflow.
                if not bool((value.abs() <= _LARGEST).all()):
                    problems.append(f"{name} holds unusable values")
                elif whole and int(value.min()) < 0:
                    problems.append(f"{name} holds negative codes")
        if problems:
            raise VoiceError(f"{source} is not a usable voice file: {listed(problems)}.")
        return cls(**tensors, **about)

    def check(self, encoder_id: str, family: str) -> None:
        """Raise VoiceError unless the encoders named by `encoder_id`, of a model of this family, made this voice."""
        if self.family != family:
            raise VoiceError(
                f"Voice {self.name or '(unnamed)'} is one of {FAMILIES[self.family].title}, and this pack is "
                f"{FAMILIES[family].title}: enroll the recording again: `edgetts voices add NAME RECORDING`."
            )
        if self.encoder_id != encoder_id:
            raise VoiceError(
                f"Voice {self.name or '(unnamed)'} was made with other encoders ({self.encoder_id[:12]}) than those "
                f"of this pack ({encoder_id[:12]}): enroll the recording again: `edgetts voices add NAME RECORDING`."
            )

    def check_fits(self, model: ModelConfig) -> None:
        """Raise VoiceError unless the tensors fit a model of these dimensions."""
        width, frames = model.gpt.model_dim, math.ceil(MAX_REFERENCE_SECONDS * model.audio.frame_rate)
        wanted: dict[str, tuple[int, int]] = {  # the last two sizes; of time axes the maximum
            "conditioning_latents": (model.gpt.n_conditioning_latents, width),
            "emotion_vector": (1, width),
            "emotion_base": (1, width),
            "style": (1, model.s2mel.dit.style_dim),
            "reference_mel": (model.audio.n_mels, frames),
        }
        n_features = math.ceil(MAX_REFERENCE_SECONDS * model.feature_rate)
        shapes = {name: tuple(getattr(self, name).shape) for name in wanted}
        if self.reference_codes is not None:
            wanted["reference_codes"], shapes["reference_codes"] = (1, n_features), tuple(self.reference_codes.shape)
        if self.reference_features is not None:
            wanted["reference_features"] = (model.semantic_codec.hidden_size, n_features)
            shapes["reference_features"] = tuple(self.reference_features.mT.shape)
        if self.mel_map is not None:
            wanted["mel_map"] = (model.audio.n_mels, model.audio.n_mels + 1)
            shapes["mel_map"] = tuple(self.mel_map.shape)
        problems = []
        for name, (rows, columns) in wanted.items():
            shape = shapes[name]
            is_time = name.startswith("reference")
            fits = shape[-2] == rows and (0 < shape[-1] <= columns if is_time else shape[-1] == columns)
            if not fits:
                most = "up to " if is_time else ""
                problems.append(f"{name} has shape {list(shape)}, but this pack takes {rows} x {most}{columns}")
        if self.reference_codes is not None and int(self.reference_codes.max()) >= model.semantic_codec.codebook_size:
            problems.append(f"reference_codes are outside the codebook of {model.semantic_codec.codebook_size}")
        if problems:
            raise VoiceError(
                f"Voice {self.name or '(unnamed)'} does not fit this pack: {'; '.join(problems)}; enroll the recording "
                "again with `edgetts voices add NAME RECORDING`."
            )

    def check_adaptation(self, s2mel_id: str, n_offsets: int) -> None:
        """Raise VoiceError unless offsets, of which there must be `n_offsets`, and map were made with this S2Mel."""
        depends = self.offsets is not None or self.mel_map is not None
        wrong = self.offsets is not None and self.offsets.shape[1] != n_offsets
        if wrong or (depends and self.adapted_to != s2mel_id):
            raise VoiceError(
                f"Voice {self.name or '(unnamed)'} was adapted to another S2Mel ({self.adapted_to[:12]}) than that of "
                f"this pack ({s2mel_id[:12]}): enroll the recording again: `edgetts voices add NAME RECORDING`."
            )


def _same(one: Any, other: Any) -> bool:
    import torch

    tensors = [isinstance(each, torch.Tensor) for each in (one, other)]
    return torch.equal(one, other) if all(tensors) else not any(tensors) and bool(one == other)
