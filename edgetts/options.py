"""The options of one synthesis call, checked when constructed.

Defaults are upstream's (IndexTTS-2, `infer_v2.py`). The ranges of the decoding and flow settings are those of
`decoding.settings`, whose classes are built here. Does not import torch.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, TypedDict

from edgetts.compute import COMPUTE, check_compute
from edgetts.decoding.settings import DecodeSettings, FlowSettings, Solver
from edgetts.errors import PackError, UsageError
from edgetts.pack.plain_fields import coerce_types
from edgetts.pack.plain_json import shown
from edgetts.text.config import ALL_LANGUAGES

SampleType: TypeAlias = Literal["float32", "int16"]
SAMPLE_TYPES: tuple[SampleType, ...] = ("float32", "int16")
MAX_SEED = 2**53 - 1  # the largest integer that all JSON readers keep exactly
MAX_RETRIES = 5
_LONGEST_NAME = 40  # of an unknown option, to look for similar names
MIN_PROMPT_S = 0.5  # shorter prompts do not determine a voice
MAX_PROMPT_S = 15.0  # the length of an enrolled recording
MAX_ADAPT_STEPS = 2000
MAX_TAIL_S = 1.0
AUTO_LANGUAGE = "auto"
MIN_LOOKAHEAD_S, MAX_LOOKAHEAD_S = 0.07, 2.0  # what two chunks are cross-faded over; more than any network reaches
MIN_DURATION_FACTOR, MAX_DURATION_FACTOR = 0.5, 2.0  # as upstream's web page allows
# Named sets of options, from upstream's values to the least work, chosen from the table of solvers in
# recipes/README.md, measured with the built-in model: 8 steps of `ab2`, shorter ones first, come closer to 25 Euler
# steps than 12 equal ones do. The loss with the published weights was not measured.
PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "best": {"n_beams": 3, "n_steps": 25, "solver": "euler", "cfg_rate": 0.7},
        "balanced": {"n_beams": 1, "n_steps": 8, "solver": "ab2", "sway": -0.5, "cfg_rate": 0.7, "prompt_s": 6.0},
        "fast": {
            "n_beams": 1,
            "n_steps": 5,
            "solver": "ab2",
            "sway": -0.5,
            "cfg_rate": 0.7,
            "cfg_until": 0.5,
            "prompt_s": 3.0,
        },
    }
)
MIN_SEGMENT_TOKENS, MAX_SEGMENT_TOKENS = 20, 600  # fewer would split words; 600 exceeds the model's positions


@dataclass(frozen=True)
class SynthesisOptions:
    """Per-call settings. Raises UsageError, naming value and range, for an invalid one."""

    # Codes: sampling and beam search of the GPT.
    do_sample: bool = True  # False: greedy, or deterministic beams
    temperature: float = 0.8
    top_k: int = 30  # 0: off
    top_p: float = 0.8
    repetition_penalty: float = 10.0
    length_penalty: float = 0.0  # only with beams
    n_beams: int = 3
    max_codes: int = 1500  # per segment; also bounded by the model's positions
    tail_s: float = 0.0  # minimum silence at the end of a segment, in which its last sound decays
    # Mel: flow matching.
    n_steps: int = 25
    solver: Solver = "euler"
    cfg_rate: float = 0.7  # classifier-free guidance at a scale of 1.7; 0: one branch, twice as fast
    cfg_until: float = 1.0  # flow time up to which guidance is used; less is faster
    sway: float = 0.0  # 0: equal steps; below 0: shorter steps first
    noise_scale: float = 1.0  # of the flow's initial noise; below 1: plainer speech, clearer with a small model
    first_steps: int | None = None  # n_steps of a stream's urgent chunks; None: n_steps
    duration_factor: float = 1.0  # of the speech; above 1 slower
    # Seconds at the end of a stream's chunk that are computed again with the next one, which knows what follows. More:
    # seams closer to speech in one piece, and a later first sound.
    lookahead_s: float = 0.14
    prompt_s: float | None = None  # seconds of the voice's recording used as prompt of the flow; None: all
    # Voice.
    adapt_steps: int = 0  # training steps that adapt S2Mel to a recording; 0: no adaptation
    match_spectrum: bool = False  # a voice's mels get the spectrum of its recording (`voices.spectrum`)
    # Text.
    max_segment_tokens: int = 120  # 20 to 600
    # Of the text, one that the model speaks; "auto": found for each sentence; None: the voice's own, else "auto".
    language: str | None = None
    # Reproducibility: None draws a random seed, which the result reports. In a stream without a seed and without chunk
    # sizes timing decides the chunks, so that the reported seed may give another sound.
    seed: int | None = None
    # Guards against failures of the model.
    guards: bool = True  # cap codes by text length, detect silence runs and repeat loops
    retries: int = 1  # 0 to 5: further attempts with another seed if a guard fires

    def __post_init__(self) -> None:
        coerce_types(self)
        self.decode_settings(self.max_codes)
        self.flow_settings()
        self.first_flow_settings()
        if self.prompt_s is not None and not MIN_PROMPT_S <= self.prompt_s <= MAX_PROMPT_S:
            raise UsageError(f"prompt_s is {shown(self.prompt_s)}; allowed is {MIN_PROMPT_S:g} to {MAX_PROMPT_S:g} s.")
        if not 0 <= self.tail_s <= MAX_TAIL_S:
            raise UsageError(f"tail_s is {shown(self.tail_s)}; allowed is 0 to {MAX_TAIL_S:g} s.")
        if not MIN_DURATION_FACTOR <= self.duration_factor <= MAX_DURATION_FACTOR:
            raise UsageError(
                f"duration_factor is {shown(self.duration_factor)}; allowed is {MIN_DURATION_FACTOR:g} (twice as fast) "
                f"to {MAX_DURATION_FACTOR:g} (half as fast)."
            )
        if not MIN_LOOKAHEAD_S <= self.lookahead_s <= MAX_LOOKAHEAD_S:
            allowed = f"{MIN_LOOKAHEAD_S:g} to {MAX_LOOKAHEAD_S:g} s"
            raise UsageError(f"lookahead_s is {shown(self.lookahead_s)}; allowed is {allowed}.")
        _check("adapt_steps", self.adapt_steps, 0, MAX_ADAPT_STEPS)
        _check("max_segment_tokens", self.max_segment_tokens, MIN_SEGMENT_TOKENS, MAX_SEGMENT_TOKENS)
        if self.language not in (None, AUTO_LANGUAGE, *ALL_LANGUAGES):
            allowed = ", ".join((*ALL_LANGUAGES, AUTO_LANGUAGE))
            raise UsageError(f"language is {shown(self.language)}; allowed is one of {allowed}.")
        _check("retries", self.retries, 0, MAX_RETRIES)
        if self.seed is not None:
            _check("seed", self.seed, 0, MAX_SEED)

    @property
    def n_attempts(self) -> int:
        """Maximum number of attempts at a segment: 1 without guards."""
        return self.retries + 1 if self.guards else 1

    def decode_settings(self, max_codes: int) -> DecodeSettings:
        """Settings to generate at most `max_codes` codes."""
        return DecodeSettings(
            do_sample=self.do_sample,
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            repetition_penalty=self.repetition_penalty,
            length_penalty=self.length_penalty,
            n_beams=self.n_beams,
            max_codes=max_codes,
        )

    def flow_settings(self) -> FlowSettings:
        """Settings of the flow solver."""
        return FlowSettings(
            n_steps=self.n_steps,
            solver=self.solver,
            cfg_rate=self.cfg_rate,
            cfg_until=self.cfg_until,
            sway=self.sway,
            noise_scale=self.noise_scale,
        )

    def first_flow_settings(self) -> FlowSettings:
        """Settings of the flow solver for an urgent chunk."""
        n_steps = self.n_steps if self.first_steps is None else self.first_steps
        return dataclasses.replace(self.flow_settings(), n_steps=n_steps)

    @classmethod
    def of(cls, pack_defaults: Mapping[str, Any], given: Mapping[str, Any]) -> SynthesisOptions:
        """The given options over the pack's defaults over upstream's.

        A pack's defaults may have a compute mode, which is not an option of a call. Raises UsageError for an invalid
        given option, PackError for an invalid default of the pack.
        """
        own = {name: value for name, value in pack_defaults.items() if name != COMPUTE}
        try:
            if COMPUTE in pack_defaults:
                check_compute(pack_defaults[COMPUTE])
            cls._of(own)
        except UsageError as error:
            raise PackError(f"The default options of this pack are not usable: {error}") from None
        return cls._of({**own, **given})

    @classmethod
    def _of(cls, options: Mapping[str, Any]) -> SynthesisOptions:
        known = [f.name for f in dataclasses.fields(cls)]
        for name in options:
            if name not in known:
                if name == "preset":
                    raise UsageError(
                        "preset is not an option but a set of them: pass **edgetts.options.preset_options('fast')."
                    )
                close = difflib.get_close_matches(name, known, n=1) if len(name) <= _LONGEST_NAME else []
                hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}."
                raise UsageError(f"Unknown synthesis option {shown(name)}: {hint}")
        return cls(**options)


class OptionKeywords(TypedDict, total=False):
    """The fields of `SynthesisOptions` as keyword arguments of the public calls, for type checkers."""

    do_sample: bool
    temperature: float
    top_k: int
    top_p: float
    repetition_penalty: float
    length_penalty: float
    n_beams: int
    max_codes: int
    n_steps: int
    solver: Solver
    cfg_rate: float
    cfg_until: float
    sway: float
    noise_scale: float
    tail_s: float
    first_steps: int | None
    duration_factor: float
    lookahead_s: float
    prompt_s: float | None
    adapt_steps: int
    match_spectrum: bool
    max_segment_tokens: int
    language: str | None
    seed: int | None
    guards: bool
    retries: int


def preset_options(name: str | None) -> dict[str, Any]:
    """The options of a preset; None: no options. Raises UsageError for an unknown name."""
    if name is None:
        return {}
    if name not in PRESETS:
        raise UsageError(f"Unknown preset {shown(name)}; choose one of {', '.join(PRESETS)}.")
    return dict(PRESETS[name])


def _check(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise UsageError(f"{name} is {shown(value)}; allowed is {least} to {most}.")
