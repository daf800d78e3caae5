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

from edgetts.distribution import UPGRADE
from edgetts.errors import UsageError, VoiceError
from edgetts.families import FAMILIES, UNNAMED_FAMILY, Family
from edgetts.files import create_file, replace_file
from edgetts.pack.header import METADATA, read_header
from edgetts.pack.plain_json import InvalidJSON, listed, read_json, shown
from edgetts.text.config import ALL_LANGUAGES

if TYPE_CHECKING:
    import torch

    from edgetts.pack.config import ModelConfig

# Of voices with a map of their spectrum; others are still written as versions 1 and 2, by their offsets, 3, with their
# family, and 4, with a language.
FORMAT_VERSION = 5
_MAX_FILE_BYTES = 64 * 2**20
_MAX_FRAMES = 20_000  # of the reference mel: about four minutes, far above the 15 s that enrollment uses
_OWNER_ONLY = 0o600  # a voice is private
METADATA_KEY = "edgetts_voice"
MAX_REFERENCE_SECONDS = 30.0  # enrollment uses 15; the flow's time grows with the square
_LARGEST = 1e6  # of any number
_FLOAT_FORMATS, _WHOLE_FORMATS = ("F32", "F16", "BF16", "F64"), ("I64", "I32")
_MAX_ABOUT_BYTES, _MAX_ABOUT_DEPTH = 256 << 10, 8
_MAX_ID, _MAX_NAME, _MAX_NOTICE, _MAX_NOTICES = 128, 200, 2_000, 50
_MAX_ADAPT_STEPS = 100_000
_LOWEST_LEVEL_DB, _HIGHEST_LEVEL_DB = -120.0, 20.0  # of full scale; speech is near -20
_MAX_OFFSETS = 1 << 20  # numbers; the published model has 37 056
# Name, number of dimensions, integer?
_TENSORS = (
    ("conditioning_latents", 3, False),
    ("emotion_vector", 2, False),
    ("emotion_base", 2, False),
    ("style", 2, False),
    ("reference_codes", 2, True),  # of these two the one that the family has
    ("reference_features", 3, False),
    ("reference_mel", 3, False),
    ("offsets", 2, False),  # only of adapted voices
    ("mel_map", 3, False),  # only of voices with a matched spectrum
)
_REFERENCES = ("reference_codes", "reference_features")


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
        held = {name: getattr(self, name) for name, _, _ in _TENSORS}
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
            about = _read_about((header.pop(METADATA, None) or {}).get(METADATA_KEY), source)
            missing = {"offsets"} if not about["adapt_steps"] else set()
            missing |= {"mel_map"} if not about.pop("matched") else set()
            problems = _declared_problems(header, FAMILIES[about["family"]], may_lack=missing)
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
        for name, _, whole in _TENSORS:
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


def _read_about(text: str | None, source: Path) -> dict[str, Any]:
    """The fields that are not tensors, each checked."""
    if text is None:
        raise VoiceError(
            f"{source} is a safetensors file but not a voice: make one with `edgetts voices add NAME RECORDING`."
        )
    try:
        about = read_json(text.encode(), max_bytes=_MAX_ABOUT_BYTES, max_depth=_MAX_ABOUT_DEPTH)
    except InvalidJSON as error:
        raise VoiceError(f"{source} is damaged: its description is not usable ({error}).") from error
    version = about.get("format_version") if isinstance(about, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise VoiceError(f"{source} is damaged: its description has no format version.")
    if version > FORMAT_VERSION:
        raise VoiceError(
            f"{source} has voice format {shown(version)}; this version reads up to {FORMAT_VERSION}: "
            f"upgrade with `{UPGRADE}`."
        )
    encoder_id, seconds, name = about.get("encoder_id"), about.get("seconds"), about.get("name")
    notices = about.get("notices")
    adapted_to, adapt_steps = about.get("adapted_to", ""), about.get("adapt_steps", 0)
    family, language = about.get("family", UNNAMED_FAMILY), about.get("language")
    level_db, matched = about.get("level_db"), about.get("matched", False)
    sound = (
        isinstance(family, str)
        and family in FAMILIES
        and (language is None or language in ALL_LANGUAGES)
        and _is_text(encoder_id, _MAX_ID)
        and _is_text(name, _MAX_NAME)
        and _is_number(seconds, float, MAX_REFERENCE_SECONDS)
        and isinstance(notices, list)
        and len(notices) <= _MAX_NOTICES
        and all(_is_text(notice, _MAX_NOTICE) for notice in notices)
        and _is_text(adapted_to, _MAX_ID)
        and _is_number(adapt_steps, int, _MAX_ADAPT_STEPS)
        and isinstance(matched, bool)
        and (level_db is None or _is_number(level_db, float, _HIGHEST_LEVEL_DB, _LOWEST_LEVEL_DB))
    )
    if not sound:
        raise VoiceError(f"{source} is damaged: its description has missing or wrong fields.")
    return {
        "encoder_id": encoder_id,
        "family": family,
        "seconds": float(seconds),
        "name": name,
        "notices": tuple(notices),
        "adapted_to": adapted_to,
        "adapt_steps": adapt_steps,
        "matched": matched,
        "language": language,
        "level_db": None if level_db is None else float(level_db),
    }


def check_language(language: str) -> str:
    """The language. Raises UsageError if no model speaks it."""
    if language not in ALL_LANGUAGES:
        raise UsageError(f"language is {shown(language)}; allowed is one of {', '.join(ALL_LANGUAGES)}.")
    return language


def language_in(path: Path) -> str | None:
    """The language of a voice file, from its header. Raises VoiceError, naming the file, if that is not usable."""
    try:
        about = _read_about((read_header(path).get(METADATA) or {}).get(METADATA_KEY), path)
    except (InvalidJSON, OSError) as error:
        raise VoiceError(f"{path} is damaged or not a voice file ({error}).") from error
    language: str | None = about["language"]
    return language


def _is_text(value: Any, longest: int) -> bool:
    return isinstance(value, str) and len(value) <= longest


def _is_number(value: Any, kind: type[float], most: float, least: float = 0.0) -> bool:
    return isinstance(value, (int, kind)) and not isinstance(value, bool) and least <= value <= most


def _declared_problems(header: dict[str, Any], family: Family, *, may_lack: set[str]) -> list[str]:
    """Problems of the declared names, shapes and dtypes of the tensors. may_lack: names that need not be there."""
    tensors = [each for each in _TENSORS if each[0] not in _REFERENCES or each[0] == family.voice_reference]
    known = {name for name, _, _ in tensors}
    problems = [f"{shown(name)} is unknown" for name in header if name not in known]
    for name, dimensions, whole in tensors:
        if name not in header:
            problems += [f"{name} is missing"] if name not in may_lack else []
            continue
        shape, dtype = header[name]["shape"], header[name]["dtype"]
        longest = _MAX_OFFSETS if name == "offsets" else _MAX_FRAMES
        if len(shape) != dimensions or shape[0] != 1 or 0 in shape or max(shape) > longest:
            problems.append(f"{name} has shape {tuple(shape)}")
        elif dtype not in (_WHOLE_FORMATS if whole else _FLOAT_FORMATS):
            problems.append(f"{name} holds unusable values ({shown(dtype)})")
    return problems


def _same(one: Any, other: Any) -> bool:
    import torch

    tensors = [isinstance(each, torch.Tensor) for each in (one, other)]
    return torch.equal(one, other) if all(tensors) else not any(tensors) and bool(one == other)
