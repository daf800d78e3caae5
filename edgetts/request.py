"""A request for speech: a text, a voice and everything that affects the sound.

In: the arguments of `TTS.say` and `TTS.stream`, the flags of `edgetts say`, or JSON. Out: a frozen `SpeechRequest`,
checked as far as possible without a pack. Does not import torch, so that clients of a daemon can make one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from edgetts.errors import UsageError
from edgetts.options import SAMPLE_TYPES, SampleType, SynthesisOptions
from edgetts.pack.plain_json import shown
from edgetts.streaming.schedule import SEEDED_S, Fixed, FixedSeconds, Schedule, Whole
from edgetts.text.glossary import Glossary
from edgetts.text.normalizers import DEFAULT_NORMALIZER, NormalizerName, check_normalizer
from edgetts.voices.emotion import Emotion, as_emotion

if TYPE_CHECKING:
    from edgetts.voices.voice import Voice

WHOLE: Final = "whole"  # one chunk per segment

_SHOWN_TEXT = 80  # characters of the text in `repr`
_TYPES: Mapping[str, tuple[type, str]] = {
    "text": (str, "a string"),
    "options": (Mapping, "a mapping"),
    "glossary": (Glossary, "a Glossary, from `Glossary.load(path)`"),
    "markup": (bool, "True or False"),
    "markdown": (bool, "True, False or None"),
}

ChunkSizes: TypeAlias = "tuple[int, ...] | Literal['whole'] | None"


@dataclass(frozen=True, repr=False)
class SpeechRequest:
    """One request. Raises UsageError, naming the field, for an invalid value.

    text: to speak; None: it arrives in pieces, which are passed to `TTS.start`.
    voice: a stored name, a voice file, a recording, or a Voice; None: the pack's first ready voice.
    emotion: an `Emotion`, weights by name, or "happy=0.4".
    options: fields of `SynthesisOptions` that differ from the pack's defaults.
    glossary: terms and their readings; None: the pack's own.
    markup: read `[pause:1.5]` and `<break time="500ms"/>` as pauses.
    markdown: remove Markdown markup; None: only from a text in pieces.
    normalizer: of numbers, signs and abbreviations, "edgetts" or "upstream".
    chunks: codes (25 or 50 a second, by the model) per chunk, the last size repeating; "whole": one chunk per segment;
    None: 0.6, 1.2, 2.4 s with a seed, else by the measured latency of this machine.
    dtype: of the samples, float32 in [-1, 1] or int16.
    """

    text: str | None = None
    voice: str | Path | Voice | None = None
    emotion: Emotion | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    glossary: Glossary | None = None
    markup: bool = False
    markdown: bool | None = None
    normalizer: NormalizerName = DEFAULT_NORMALIZER
    chunks: ChunkSizes = None
    dtype: SampleType = "float32"

    def __post_init__(self) -> None:
        for name, (kind, allowed) in _TYPES.items():
            value = getattr(self, name)
            if value is not None and not isinstance(value, kind):
                raise UsageError(f"{name} is of type {type(value).__name__}; give {allowed}, or None.")
        if not (self.voice is None or isinstance(self.voice, (str, Path)) or hasattr(self.voice, "encoder_id")):
            raise UsageError(f"voice is of type {type(self.voice).__name__}; give a name, a path or a Voice, or None.")
        object.__setattr__(self, "emotion", as_emotion(self.emotion))
        check_normalizer(self.normalizer)
        object.__setattr__(self, "chunks", chunk_sizes(self.chunks))
        self.schedule()
        if self.dtype not in SAMPLE_TYPES:
            raise UsageError(f"dtype is {self.dtype!r}; allowed is {' or '.join(SAMPLE_TYPES)}.")

    def __repr__(self) -> str:
        text = self.text if self.text is None or len(self.text) <= _SHOWN_TEXT else f"{self.text[:_SHOWN_TEXT]}…"
        table = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)[1:]}
        given = [f"{name}={value!r}" for name, value in table.items() if value != _DEFAULTS[name]]
        return f"SpeechRequest({', '.join([repr(text), *given])})"

    def schedule(self) -> Schedule | FixedSeconds | None:
        """The chunk sizes; None: adaptive. With a seed they are fixed, because they affect the sound."""
        if self.chunks == WHOLE:
            return Whole()
        if self.chunks is not None:
            return Fixed(self.chunks)
        return FixedSeconds(SEEDED_S) if self.options.get("seed") is not None else None

    def to_json(self) -> dict[str, Any]:
        """The request as plain JSON values for `from_json`, without fields at their defaults.

        Raises UsageError if the voice is in memory only.
        """
        table = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        plain = {name: value for name, value in table.items() if value != _DEFAULTS[name]}
        if self.voice is not None:
            if not isinstance(self.voice, (str, Path)):
                raise UsageError("The voice is in memory only: save it, and give its file or its name.")
            plain["voice"] = str(self.voice)
        if self.emotion is not None:
            recording = self.emotion.recording
            plain["emotion"] = {
                "weights": dict(self.emotion.weights),
                "recording": None if recording is None else str(recording),
                "alpha": self.emotion.alpha,
                "cap": self.emotion.cap,
            }
        if self.glossary is not None:
            plain["glossary"] = self.glossary.to_dict()
        if self.options:
            plain["options"] = dict(self.options)
        if isinstance(self.chunks, tuple):
            plain["chunks"] = list(self.chunks)
        return plain

    @classmethod
    def from_json(cls, table: Any) -> SpeechRequest:
        """The request from plain JSON values. Raises UsageError, naming the field, for unknown fields and values."""
        if not isinstance(table, dict):
            raise UsageError(f"A request is a JSON object, not {shown(table)}.")
        unknown = [name for name in table if name not in _DEFAULTS]
        if unknown:
            raise UsageError(f"Unknown field {shown(unknown[0])} in the request; known are {', '.join(_DEFAULTS)}.")
        fields = dict(table)
        if isinstance(fields.get("emotion"), dict):
            fields["emotion"] = _emotion(fields["emotion"])
        if fields.get("glossary") is not None:
            fields["glossary"] = Glossary.from_dict(fields["glossary"])
        request = cls(**fields)
        SynthesisOptions.of({}, request.options)
        return request


_DEFAULTS: Mapping[str, Any] = {
    f.name: {} if f.default is dataclasses.MISSING else f.default for f in dataclasses.fields(SpeechRequest)
}


def _emotion(table: dict[str, Any]) -> Emotion:
    """From JSON: the fields of `Emotion`, or weights alone."""
    names = {f.name for f in dataclasses.fields(Emotion)}
    if not names & table.keys():
        return Emotion(weights=table)
    if not table.keys() <= names:
        raise UsageError(f"Unknown field {shown(min(table.keys() - names))} in emotion; known are {', '.join(names)}.")
    return Emotion(**table)


def chunk_sizes(chunks: Iterable[int] | str | None) -> ChunkSizes:
    """Chunk sizes in the form of a request's field. Raises UsageError for other types."""
    if chunks is None or chunks == WHOLE:
        return chunks  # type: ignore[return-value]
    if isinstance(chunks, str) or not isinstance(chunks, Iterable):
        raise UsageError(f"chunks is {chunks!r}; give numbers of codes such as (30, 60, 120), or {WHOLE!r}.")
    return tuple(chunks)
