"""The header of a voice file: its description, and the names, shapes and types of its tensors.

In: a header, from outside. Out: the fields of a `Voice`, checked, or a VoiceError that names the file. Loads no tensor.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgetts.distribution import UPGRADE
from edgetts.errors import UsageError, VoiceError
from edgetts.families import FAMILIES, UNNAMED_FAMILY, Family
from edgetts.pack.header import METADATA, read_header
from edgetts.pack.plain_json import InvalidJSON, read_json, shown
from edgetts.text.config import ALL_LANGUAGES

# Of voices with a map of their spectrum; others are still written as versions 1 and 2, by their offsets, 3, with their
# family, and 4, with a language.
FORMAT_VERSION = 5
_MAX_FRAMES = 20_000  # of the reference mel: about four minutes, far above the 15 s that enrollment uses
METADATA_KEY = "edgetts_voice"
MAX_REFERENCE_SECONDS = 30.0  # enrollment uses 15; the flow's time grows with the square
_FLOAT_FORMATS, _WHOLE_FORMATS = ("F32", "F16", "BF16", "F64"), ("I64", "I32")
_MAX_ABOUT_BYTES, _MAX_ABOUT_DEPTH = 256 << 10, 8
_MAX_ID, _MAX_NAME, _MAX_NOTICE, _MAX_NOTICES = 128, 200, 2_000, 50
_MAX_ADAPT_STEPS = 100_000
_LOWEST_LEVEL_DB, _HIGHEST_LEVEL_DB = -120.0, 20.0  # of full scale; speech is near -20
_MAX_OFFSETS = 1 << 20  # numbers; the published model has 37 056
# Name, number of dimensions, integer?
TENSORS = (
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


def read_about(text: str | None, source: Path) -> dict[str, Any]:
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
        about = read_about((read_header(path).get(METADATA) or {}).get(METADATA_KEY), path)
    except (InvalidJSON, OSError) as error:
        raise VoiceError(f"{path} is damaged or not a voice file ({error}).") from error
    language: str | None = about["language"]
    return language


def _is_text(value: Any, longest: int) -> bool:
    return isinstance(value, str) and len(value) <= longest


def _is_number(value: Any, kind: type[float], most: float, least: float = 0.0) -> bool:
    return isinstance(value, (int, kind)) and not isinstance(value, bool) and least <= value <= most


def declared_problems(header: dict[str, Any], family: Family, *, may_lack: set[str]) -> list[str]:
    """Problems of the declared names, shapes and dtypes of the tensors. may_lack: names that need not be there."""
    tensors = [each for each in TENSORS if each[0] not in _REFERENCES or each[0] == family.voice_reference]
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
